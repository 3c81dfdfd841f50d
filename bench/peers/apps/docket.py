"""pydocket: Redis streams through Lua; the client is asynchronous, with a bulk call."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from docket import Docket

from bench.peers import kit


async def noop() -> None:
    kit.ran()


async def burn() -> None:
    kit.burn()


async def nap() -> None:
    await asyncio.sleep(kit.NAP_S)
    kit.ran()


async def swallow(text: str) -> None:
    kit.ran()


async def stamp(called_ns: int) -> None:
    kit.stamp(called_ns)


async def echo(text: str) -> str:
    return text


tasks = [noop, burn, nap, swallow, stamp, echo]


class Producer(kit.Producer):
    ways = ("async", "many")

    async def open(self) -> None:
        self._docket = Docket(name="bench", url=f"{kit.URL}?max_connections=500")
        await self._docket.__aenter__()
        for task in tasks:
            self._docket.register(task)

    async def close(self) -> None:
        await self._docket.__aexit__(None, None, None)

    async def send(self, task: str, *args: Any) -> Any:
        return await self._docket.add(globals()[task])(*args)

    async def many(self, task: str, count: int, *args: Any) -> None:
        one = globals()[task]
        await self._docket.add_many(self._docket.call(one)(*args) for _ in range(count))

    async def request(self, text: str) -> Any:
        job = await self._docket.add(echo)(text)
        return await job.get_result(timeout=timedelta(seconds=10))
