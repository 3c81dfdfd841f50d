"""rq: Redis lists and hashes, one job at a time; its client blocks, and pipelines a bulk call."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from redis import Redis
from rq import Queue

from bench.peers import kit


async def noop() -> None:
    kit.ran()


def plain() -> None:
    kit.ran()


def burn() -> None:
    kit.spin()


async def nap() -> None:
    await asyncio.sleep(kit.NAP_S)
    kit.ran()


def swallow(text: str) -> None:
    kit.ran()


def stamp(called_ns: int) -> None:
    kit.note_start(called_ns)


def echo(text: str) -> str:
    return text


class Producer(kit.Producer):
    ways = ("sync", "many")

    def __init__(self) -> None:
        self._queue = Queue("bench", connection=Redis.from_url(kit.URL))

    def send_sync(self, task: str, *args: Any) -> Any:
        return self._queue.enqueue(globals()[task], *args)

    async def many(self, task: str, count: int, *args: Any) -> None:
        one = globals()[task]
        self._queue.enqueue_many([Queue.prepare_data(one, args) for _ in range(count)])

    async def request(self, text: str) -> Any:
        job = self._queue.enqueue(echo, text)
        end = time.monotonic() + 10
        while (latest := job.latest_result()) is None:
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.001)
        return latest.return_value
