"""arq: a Redis sorted set that is polled; the client is asynchronous."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import RedisSettings

from bench.peers import kit

uvloop.install()

SETTINGS = RedisSettings.from_dsn(kit.URL)


async def noop(ctx: Any) -> None:
    kit.ran()


async def burn(ctx: Any) -> None:
    kit.spin()


async def nap(ctx: Any) -> None:
    await asyncio.sleep(kit.NAP_S)
    kit.ran()


async def swallow(ctx: Any, text: str) -> None:
    kit.ran()


async def stamp(ctx: Any, called_ns: int) -> None:
    kit.note_start(called_ns)


async def echo(ctx: Any, text: str) -> str:
    return text


class WorkerSettings:
    functions = (noop, burn, nap, swallow, stamp, echo)
    redis_settings = SETTINGS
    max_jobs = kit.SLOTS
    poll_delay = 0.01


class Producer(kit.Producer):
    ways = ("async",)

    async def open(self) -> None:
        self._pool = await create_pool(SETTINGS)

    async def close(self) -> None:
        await self._pool.aclose()

    async def send(self, task: str, *args: Any) -> Any:
        return await self._pool.enqueue_job(task, *args)

    async def request(self, text: str) -> Any:
        # Looks every half second otherwise.
        job = await self._pool.enqueue_job("echo", text)
        return await job.result(timeout=10, poll_delay=0.001)
