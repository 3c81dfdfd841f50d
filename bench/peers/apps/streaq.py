"""streaq: Redis streams through Lua; the client is asynchronous, with a bulk call."""

from __future__ import annotations

from typing import Any

from streaq import Worker

from bench.peers import kit

worker: Any = Worker(
    redis_url=kit.URL,
    concurrency=kit.SLOTS,
    queue_name="bench",
    anyio_kwargs={"use_uvloop": True},
)
TASKS: dict[str, Any] = {fn.__name__: worker.task(fn) for fn in kit.ALL}


class Producer(kit.Producer):
    ways = ("async", "many")

    async def open(self) -> None:
        await worker.__aenter__()

    async def close(self) -> None:
        await worker.__aexit__(None, None, None)

    async def send(self, task: str, *args: Any) -> Any:
        return await TASKS[task].enqueue(*args)

    async def many(self, task: str, count: int, *args: Any) -> None:
        one = TASKS[task]
        await worker.enqueue_many([one.enqueue(*args) for _ in range(count)])

    async def request(self, text: str) -> Any:
        return (await (await TASKS["echo"].enqueue(text)).result(10)).result
