"""saq: Redis lists; the client is asynchronous."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from saq import Queue

from bench.peers import kit

uvloop.install()

queue = Queue.from_url(kit.URL, name="bench")


async def noop(ctx: Any) -> None:
    kit.ran()


def plain(ctx: Any) -> None:
    kit.ran()


async def burn(ctx: Any) -> None:
    kit.spin()


async def nap(ctx: Any) -> None:
    await asyncio.sleep(kit.NAP_S)
    kit.ran()


async def swallow(ctx: Any, *, a0: str) -> None:
    kit.ran()


async def stamp(ctx: Any, *, a0: int) -> None:
    kit.note_start(a0)


async def echo(ctx: Any, *, a0: str) -> str:
    return a0


settings = {
    "queue": queue,
    "functions": [noop, plain, burn, nap, swallow, stamp, echo],
    "concurrency": kit.SLOTS,
}


class Producer(kit.Producer):
    ways = ("async",)

    async def open(self) -> None:
        await queue.connect()

    async def close(self) -> None:
        await queue.disconnect()

    async def send(self, task: str, *args: Any) -> Any:
        return await queue.enqueue(task, **{f"a{place}": arg for place, arg in enumerate(args)})

    async def request(self, text: str) -> Any:
        return await queue.apply("echo", timeout=10, poll_interval=0.001, a0=text)
