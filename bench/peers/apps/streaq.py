"""streaq: Redis streams through Lua; the client is asynchronous, with a bulk call."""

from __future__ import annotations

from typing import Any

import anyio
from streaq import Worker

from bench.peers import kit

worker: Any = Worker(
    redis_url=kit.URL,
    concurrency=kit.SLOTS,
    queue_name="bench",
    anyio_kwargs={"use_uvloop": True},
)


@worker.task
async def noop() -> None:
    kit.ran()


@worker.task
def plain() -> None:
    kit.ran()


@worker.task
async def burn() -> None:
    kit.burn()


@worker.task
async def nap() -> None:
    await anyio.sleep(kit.NAP_S)
    kit.ran()


@worker.task
async def swallow(text: str) -> None:
    kit.ran()


@worker.task
async def stamp(called_ns: int) -> None:
    kit.stamp(called_ns)


@worker.task
async def echo(text: str) -> str:
    return text


class Producer(kit.Producer):
    ways = ("async", "many")

    async def open(self) -> None:
        await worker.__aenter__()

    async def close(self) -> None:
        await worker.__aexit__(None, None, None)

    async def send(self, task: str, *args: Any) -> Any:
        return await globals()[task].enqueue(*args)

    async def many(self, task: str, count: int, *args: Any) -> None:
        one = globals()[task]
        await worker.enqueue_many([one.enqueue(*args) for _ in range(count)])

    async def request(self, text: str) -> Any:
        return (await (await echo.enqueue(text)).result(10)).result
