"""`await app.signals()`: what an autoscaler is told, of a real queue with real workers."""

from __future__ import annotations

import asyncio

import pytest
import redis

from taskq import TaskQ
from taskq.errors import InvalidName
from taskq.keys import QueueKeys
from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.workers import working

pytestmark = pytest.mark.keeps_keys("looks at jobs that wait")


async def test_a_queue_nobody_has_used_needs_nobody(app: TaskQ) -> None:
    async with app:
        found = await app.signals("mail")
        assert (found.queue, found.ready, found.workers_needed, found.exact) == ("mail", 0, 0, True)
        with pytest.raises(InvalidName):
            await app.signals("no queue")


async def test_the_blocking_side_says_the_same(app: TaskQ) -> None:
    @app.task
    async def noop() -> None: ...

    async with app:
        await noop.options(deadline=60).enqueue()
        found = await asyncio.to_thread(app.signals_sync)
        assert (found.ready, found.workers, found.workers_needed) == (1, 0, 1)
        assert found.time_to_drain is None
        assert found.least_slack is not None
        assert 0 < found.least_slack <= 60


async def test_deadlines_ask_for_workers_and_work_drains(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = make_app(concurrency=1)

    @app.task
    async def nap(seconds: float) -> None:
        await take(seconds)

    async with app:
        for _ in range(150):
            await nap.options(deadline=60).enqueue(0.2)
        raw.hset(QueueKeys(app.settings.namespace, "default").averages, "nap", "2000")
        found = await app.signals()
        assert (found.work, found.late) == (300, 0)
        # 300 s of work is due in 60 s, and the more workers the later this is looked at.
        assert 5 <= found.workers_needed <= 20

        async with working(app):
            busy = await eventually(lambda: _working(app))
            assert (busy.workers, busy.slots) == (1, 1)


async def _working(app: TaskQ) -> object:
    found = await app.signals()
    return found if found.running and found.utilisation else None


async def test_partitions_are_one_queue(make_app: MakeApp, raw: redis.Redis) -> None:
    app = make_app()
    app.queue("default", partitions=3)

    @app.task
    async def noop() -> None: ...

    async with app:
        for _ in range(30):
            await noop.enqueue()
        found = await app.signals()
        assert (found.queue, found.ready, found.exact) == ("default", 30, True)
        part = await app.signals("default~1")
        assert 0 < part.ready < 30
        async with working(app) as worker:
            assert (await app.signals()).slots == worker.settings.concurrency
