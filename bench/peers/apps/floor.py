"""No queue: redis-py sets one key of 20 bytes, which is the least an enqueue call could cost."""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio

from bench.peers import kit

_KEY, _VALUE = "bench:floor", b"x" * 20


class Producer(kit.Producer):
    ways = ("async", "sync")

    async def open(self) -> None:
        self._client = redis.asyncio.Redis.from_url(kit.URL)
        self._blocking: Any = redis.Redis.from_url(kit.URL)

    async def close(self) -> None:
        await self._client.aclose()

    async def send(self, task: str, *args: Any) -> Any:
        return await self._client.set(_KEY, _VALUE)

    def send_sync(self, task: str, *args: Any) -> Any:
        return self._blocking.set(_KEY, _VALUE)
