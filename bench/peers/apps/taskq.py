"""taskq."""

from __future__ import annotations

from typing import Any

from bench.peers import kit
from taskq import TaskQ

app = TaskQ(kit.URL, namespace="bench", max_jobs=3_000_000)
TASKS: dict[str, Any] = {fn.__name__: app.task(fn) for fn in kit.ALL}


class Producer(kit.Producer):
    ways = ("async", "sync", "many")

    def __init__(self) -> None:
        self._tasks = TASKS

    async def open(self) -> None:
        await app.__aenter__()

    async def close(self) -> None:
        await app.close()

    async def send(self, task: str, *args: Any) -> Any:
        return await self._tasks[task].enqueue(*args)

    def send_sync(self, task: str, *args: Any) -> Any:
        return self._tasks[task].enqueue_sync(*args)

    async def many(self, task: str, count: int, *args: Any) -> None:
        one = self._tasks[task]
        await app.enqueue_many([one.s(*args) for _ in range(count)])

    async def request(self, text: str) -> Any:
        return await (await TASKS["echo"].enqueue(text)).result(timeout=10)
