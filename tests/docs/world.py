"""A queue in use on a server of its own, in the default namespace: what the recipes look at."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from taskq import Discard, TaskQ
from taskq.errors import JobFailed
from taskq.keys import QueueKeys, SharedKeys
from taskq.worker.worker import Worker
from tests.helpers import eventually
from tests.servers import Server


class World:
    """Jobs of most states, one worker that holds one, and plain looks at their keys."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client: Any = server.client()
        self.queue = QueueKeys("taskq", "default")
        self.shared = SharedKeys("taskq")
        self.job_id = ""
        self.worker_id = ""

    def names(self, pattern: str) -> list[str]:
        escaped = self.queue.prefix + pattern
        return sorted(key.decode() for key in self.client.scan_iter(match=escaped, count=1000))

    def worker_names(self) -> list[str]:
        pattern = self.shared.worker_prefix + "*"
        return [key.decode() for key in self.client.scan_iter(match=pattern, count=1000)]

    def all_keys(self) -> list[tuple[str, str, bool]]:
        """(name, type, has a TTL) of every key on the server."""
        return [
            (key.decode(), self.client.type(key).decode(), self.client.pttl(key) >= 0)
            for key in self.client.scan_iter(count=1000)
        ]

    def hash(self, name: str) -> dict[str, str]:
        fields = self.client.hgetall(name).items()
        return {field.decode(): value.decode("latin-1") for field, value in fields}

    def ended(self, name: str) -> bool:
        return self.hash(name)["state"] in ("completed", "dead", "expired", "cancelled")


async def fill(world: World, app: TaskQ) -> tuple[Worker, asyncio.Task[None], asyncio.Event]:
    """Make the jobs. Returns what keeps the worker running: set the event, then stop the worker."""
    app.queue("default", horizon=30)
    finish = asyncio.Event()

    @app.task(retries=1, backoff=3600)
    async def break_down(reason: str) -> None:
        if reason == "discard":
            raise Discard("no use")
        raise ValueError(reason)

    @app.task
    async def hold() -> None:
        await finish.wait()

    @app.task
    async def nothing() -> str:
        return "done"

    worker = Worker(app, queues=["default"])
    running = asyncio.create_task(worker.run())
    dead = await break_down.enqueue("discard")
    again = await break_down.enqueue("closed")
    held = await hold.options(priority=9, headers={"trace": "1"}, timeout=60).enqueue()
    done = await nothing.options(retries=2, retry_on=OSError, backoff=2).enqueue()
    try:
        await dead.result(timeout=10)
    except JobFailed:
        world.job_id = dead.id
    await done.result(timeout=10)
    await eventually(lambda: world.client.zcard(world.queue.retry) == 1)
    await eventually(lambda: world.client.zcard(world.queue.running(worker.id)) == 1)
    await eventually(lambda: bool(world.client.hget(world.queue.meta, "reaped_ms")))
    await app.named("elsewhere.task").enqueue()  # given back: no worker here has it
    await eventually(lambda: world.client.scard(world.queue.classes) == 1)
    cancelled = await nothing.options(delay=3600).enqueue()
    await cancelled.cancel()
    await nothing.options(delay=3600, deadline=7200, on_miss="run", result_ttl=5).enqueue()
    assert (await again.info()).attempt == 1
    assert (await held.info()).state == "running"
    world.client.hset(world.queue.meta, "paused", str(round(time.time() * 1000)))
    for _ in range(3):
        await nothing.enqueue()
    world.worker_id = worker.id
    return worker, running, finish
