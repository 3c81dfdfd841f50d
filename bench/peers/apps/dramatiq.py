"""dramatiq: Redis lists and hashes through Lua, threads, coroutines on a loop beside them."""

from __future__ import annotations

import asyncio
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware.asyncio import AsyncIO
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from bench.peers import kit

broker = RedisBroker(url=kit.URL)
broker.add_middleware(AsyncIO())
if kit.RESULTS:
    broker.add_middleware(Results(backend=RedisBackend(url=kit.URL)))
dramatiq.set_broker(broker)


@dramatiq.actor
async def noop() -> None:
    kit.ran()


@dramatiq.actor
def plain() -> None:
    kit.ran()


@dramatiq.actor
def burn() -> None:
    kit.spin()


@dramatiq.actor
async def nap() -> None:
    await asyncio.sleep(kit.NAP_S)
    kit.ran()


@dramatiq.actor
def swallow(text: str) -> None:
    kit.ran()


@dramatiq.actor
def stamp(called_ns: int) -> None:
    kit.note_start(called_ns)


@dramatiq.actor(**({"store_results": True} if kit.RESULTS else {}))
def echo(text: str) -> str:
    return text


class Producer(kit.Producer):
    ways = ("sync",)

    def send_sync(self, task: str, *args: Any) -> Any:
        return broker.get_actor(task).send(*args)

    async def request(self, text: str) -> Any:
        return echo.send(text).get_result(block=True, timeout=10_000)
