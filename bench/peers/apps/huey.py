"""huey: a Redis list, threads; it runs no coroutines, and its client blocks."""

from __future__ import annotations

import time
from typing import Any

from huey import RedisHuey

from bench.peers import kit

app = RedisHuey("bench", url=kit.URL)


@app.task()
def noop() -> None:
    kit.ran()


plain = noop


@app.task()
def burn() -> None:
    kit.spin()


@app.task()
def nap() -> None:
    time.sleep(kit.NAP_S)
    kit.ran()


@app.task()
def swallow(text: str) -> None:
    kit.ran()


@app.task()
def stamp(called_ns: int) -> None:
    kit.note_start(called_ns)


@app.task()
def echo(text: str) -> str:
    return text


class Producer(kit.Producer):
    ways = ("sync",)

    def send_sync(self, task: str, *args: Any) -> Any:
        return globals()[task](*args)

    async def request(self, text: str) -> Any:
        # The first look is after 0.1 s otherwise.
        return echo(text).get(blocking=True, timeout=10, backoff=1, max_delay=0.001)
