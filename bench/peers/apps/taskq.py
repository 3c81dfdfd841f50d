"""taskq."""

from __future__ import annotations

import asyncio
from typing import Any

from bench.peers import kit
from taskq import TaskQ

app = TaskQ(kit.URL, namespace="bench", max_jobs=3_000_000)


@app.task
async def noop() -> None:
    kit.ran()


@app.task
def plain() -> None:
    kit.ran()


@app.task
async def burn() -> None:
    kit.burn()


@app.task
async def nap() -> None:
    await asyncio.sleep(kit.NAP_S)
    kit.ran()


@app.task
async def swallow(text: str) -> None:
    kit.ran()


@app.task
async def stamp(called_ns: int) -> None:
    kit.stamp(called_ns)


@app.task
async def echo(text: str) -> str:
    return text


TASKS = {task.name: task for task in (noop, plain, burn, nap, swallow, stamp, echo)}


class Producer(kit.Producer):
    ways = ("async", "sync", "many")

    def __init__(self) -> None:
        self._tasks: dict[str, Any] = {
            name.rpartition(".")[2]: task for name, task in TASKS.items()
        }

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
        return await (await echo.enqueue(text)).result(timeout=10)
