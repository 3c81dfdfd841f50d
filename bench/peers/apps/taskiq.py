"""taskiq with taskiq-redis: a Redis stream, acknowledged; the client is asynchronous."""

from __future__ import annotations

import asyncio
from typing import Any

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from bench.peers import kit

broker = RedisStreamBroker(kit.URL)
if kit.RESULTS:
    broker = broker.with_result_backend(RedisAsyncResultBackend(kit.URL))


@broker.task(task_name="noop")
async def noop() -> None:
    kit.ran()


@broker.task(task_name="plain")
def plain() -> None:
    kit.ran()


@broker.task(task_name="burn")
async def burn() -> None:
    kit.spin()


@broker.task(task_name="nap")
async def nap() -> None:
    await asyncio.sleep(kit.NAP_S)
    kit.ran()


@broker.task(task_name="swallow")
async def swallow(text: str) -> None:
    kit.ran()


@broker.task(task_name="stamp")
async def stamp(called_ns: int) -> None:
    kit.note_start(called_ns)


@broker.task(task_name="echo")
async def echo(text: str) -> str:
    return text


class Producer(kit.Producer):
    ways = ("async",)

    def __init__(self) -> None:
        self._tasks: dict[str, Any] = {
            task.task_name: task for task in (noop, plain, burn, nap, swallow, stamp, echo)
        }

    async def open(self) -> None:
        await broker.startup()

    async def close(self) -> None:
        await broker.shutdown()

    async def send(self, task: str, *args: Any) -> Any:
        return await self._tasks[task].kiq(*args)

    async def request(self, text: str) -> Any:
        # The first look is after 0.2 s otherwise.
        job = await echo.kiq(text)
        return (await job.wait_result(check_interval=0.001, timeout=10)).return_value
