"""ardiq: Redis streams, a Rust core; the client is asynchronous, with a bulk call."""

from __future__ import annotations

import asyncio
from typing import Any

from ardiq import Ardiq

from bench.peers import kit

app = Ardiq(redis_url=kit.URL, concurrency=kit.SLOTS)


@app.task
async def noop() -> None:
    kit.ran()


@app.task
def plain() -> None:
    kit.ran()


@app.task
async def burn() -> None:
    kit.burn()


@app.task
async def nap() -> None:
    await asyncio.sleep(kit.NAP_S)
    kit.ran()


@app.task
async def swallow(text: str) -> None:
    kit.ran()


@app.task
async def stamp(called_ns: int) -> None:
    kit.stamp(called_ns)


@app.task
async def echo(text: str) -> str:
    return text


class Producer(kit.Producer):
    ways = ("async", "many")

    def __init__(self) -> None:
        self._tasks = {task.name: task for task in (noop, plain, burn, nap, swallow, stamp, echo)}

    async def send(self, task: str, *args: Any) -> Any:
        return await self._tasks[task].enqueue(*args)

    async def many(self, task: str, count: int, *args: Any) -> None:
        one = self._tasks[task]
        await app.enqueue_many([one.prepare(*args) for _ in range(count)])

    async def request(self, text: str) -> Any:
        return (await (await echo.enqueue(text)).result(timeout=10)).value
