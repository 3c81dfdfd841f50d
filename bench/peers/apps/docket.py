"""pydocket: Redis streams through Lua; the client is asynchronous, with a bulk call."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from docket import Docket

from bench.peers import kit


class Producer(kit.Producer):
    ways = ("async", "many")

    async def open(self) -> None:
        self._docket = Docket(name="bench", url=f"{kit.URL}?max_connections=500")
        await self._docket.__aenter__()
        for task in kit.COROUTINES:
            self._docket.register(task)

    async def close(self) -> None:
        await self._docket.__aexit__(None, None, None)

    async def send(self, task: str, *args: Any) -> Any:
        return await self._docket.add(getattr(kit, task))(*args)

    async def many(self, task: str, count: int, *args: Any) -> None:
        one = getattr(kit, task)
        await self._docket.add_many(self._docket.call(one)(*args) for _ in range(count))

    async def request(self, text: str) -> Any:
        job = await self._docket.add(kit.echo)(text)
        return await job.get_result(timeout=timedelta(seconds=10))
