"""celery: Redis lists through kombu, a pool of threads; no coroutines, and its client blocks."""

from __future__ import annotations

import time
from typing import Any

from celery import Celery

from bench.peers import kit

app = Celery("bench", broker=kit.URL, backend=kit.URL if kit.RESULTS else None)
app.conf.worker_prefetch_multiplier = max(4, 128 // kit.SLOTS)
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = False


@app.task(name="noop")
def noop() -> None:
    kit.ran()


plain = noop


@app.task(name="burn")
def burn() -> None:
    kit.spin()


@app.task(name="nap")
def nap() -> None:
    time.sleep(kit.NAP_S)
    kit.ran()


@app.task(name="swallow")
def swallow(text: str) -> None:
    kit.ran()


@app.task(name="stamp")
def stamp(called_ns: int) -> None:
    kit.note_start(called_ns)


@app.task(name="echo")
def echo(text: str) -> str:
    return text


class Producer(kit.Producer):
    ways = ("sync",)

    def send_sync(self, task: str, *args: Any) -> Any:
        return globals()[task].delay(*args)

    async def request(self, text: str) -> Any:
        return echo.delay(text).get(timeout=10)
