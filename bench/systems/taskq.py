"""taskq as a system under test."""

from __future__ import annotations

import sys
import time

from taskq import TaskQ, commands
from taskq.keys import QueueKeys, SharedKeys

_WORKER = "bench-claims"


class System:
    """The operator's side, on the blocking client."""

    name = "taskq"

    def __init__(self, url: str, namespace: str) -> None:
        self._app = TaskQ(url, namespace=namespace)
        self._store = self._app.sync_client.store
        self._keys = QueueKeys(namespace, "default")
        self._shared = SharedKeys(namespace)

    def worker_command(self, concurrency: int) -> list[str]:
        """As a user would start it."""
        worker = ["-m", "taskq", "worker", "bench.systems.taskq_app:app"]
        return [sys.executable, *worker, "-c", str(concurrency)]

    def worker_is_up(self) -> bool:
        """A worker is on the roster; it has beaten for its queue by then."""
        return self._store.run(commands.plain("ZCARD", self._shared.workers, parse=int)) > 0

    def hold(self) -> None:
        self._store.run(commands.pause(self._keys))

    def go(self) -> None:
        self._store.run(commands.resume(self._keys))

    def finished(self) -> int:
        return self._store.run(
            commands.plain("HGET", self._keys.stats, "completed", parse=lambda n: int(n or 0))
        )

    def close(self) -> None:
        self._app.close_sync()


class Producer:
    """The sending side, through the public calls."""

    def __init__(self) -> None:
        from bench.systems import taskq_app

        self._tasks = taskq_app
        self._app = taskq_app.app
        self._kinds = {"noop": taskq_app.noop, "gone": taskq_app.gone, "plain": taskq_app.plain}

    async def open(self) -> None:
        await self._app.__aenter__()

    async def close(self) -> None:
        await self._app.close()

    async def one(self) -> None:
        await self._tasks.noop.enqueue()

    def one_sync(self) -> None:
        self._tasks.noop.enqueue_sync()

    async def bulk(self, kind: str, count: int) -> None:
        task = self._kinds[kind]
        await self._app.enqueue_many([task.s() for _ in range(count)])

    async def stamped(self) -> None:
        await self._tasks.stamp.enqueue(time.monotonic_ns())

    async def request(self) -> None:
        job = await self._tasks.echo.enqueue("hello")
        if await job.result(timeout=10) != "hello":
            raise AssertionError("another result than was asked for")

    async def waiting(self, count: int, payload: int) -> None:
        text = "x" * payload
        while len(self._app.codec.encode_call((text,), {}, limit=2**20)) > payload:
            text = text[1:]
        assert len(self._app.codec.encode_call((text,), {}, limit=2**20)) == payload
        later = self._tasks.echo.options(delay=86_400)
        for start in range(0, count, 20_000):
            await self._app.enqueue_many([later.s(text) for _ in range(min(20_000, count - start))])

    async def claim_one_by_one(self, count: int) -> list[int]:
        store = self._app.client.store
        keys = QueueKeys(self._app.settings.namespace, "default")
        await store.run(commands.heartbeat(keys, _WORKER, ttl_ms=600_000))
        claim = commands.claim(keys, _WORKER, keep_ms=600_000, limit=1, slots={"": 1})
        times = []
        for _ in range(count):
            began = time.perf_counter_ns()
            claims = await store.run(claim)
            times.append(time.perf_counter_ns() - began)
            if len(claims.jobs) != 1:
                raise AssertionError(f"a claim took {len(claims.jobs)} jobs")
        return times
