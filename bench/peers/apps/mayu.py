"""mayu: Redis streams, a Rust core; the client blocks and sends one job a call."""

from __future__ import annotations

import asyncio
from typing import Any

from mayu import App

from bench.peers import kit

app = App(broker=kit.URL, result_ttl=3600 if kit.RESULTS else None)


@app.task(name="noop")
async def noop() -> None:
    kit.ran()


@app.task(name="plain")
def plain() -> None:
    kit.ran()


@app.task(name="burn")
def burn() -> None:
    kit.spin()


@app.task(name="nap")
async def nap() -> None:
    await asyncio.sleep(kit.NAP_S)
    kit.ran()


@app.task(name="swallow")
async def swallow(text: str) -> None:
    kit.ran()


@app.task(name="stamp")
async def stamp(called_ns: int) -> None:
    kit.note_start(called_ns)


@app.task(name="echo")
async def echo(text: str) -> str:
    return text


class Producer(kit.Producer):
    ways = ("sync",)

    def send_sync(self, task: str, *args: Any) -> Any:
        return app.registry[task].send(*args)

    async def request(self, text: str) -> Any:
        return echo.send(text).result(timeout=10)
