"""ardiq: Redis streams, a Rust core; the client is asynchronous, with a bulk call."""

from __future__ import annotations

from typing import Any

from ardiq import Ardiq

from bench.peers import kit

app = Ardiq(redis_url=kit.URL, concurrency=kit.SLOTS)
TASKS = {fn.__name__: app.task(fn) for fn in kit.ALL}


class Producer(kit.Producer):
    ways = ("async", "many")

    def __init__(self) -> None:
        self._tasks = TASKS

    async def send(self, task: str, *args: Any) -> Any:
        return await self._tasks[task].enqueue(*args)

    async def many(self, task: str, count: int, *args: Any) -> None:
        one = self._tasks[task]
        await app.enqueue_many([one.prepare(*args) for _ in range(count)])

    async def request(self, text: str) -> Any:
        return (await (await TASKS["echo"].enqueue(text)).result(timeout=10)).value
