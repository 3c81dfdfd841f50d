"""A queue that is closed and run empty, and opened again."""

from __future__ import annotations

import asyncio

import pytest

from taskq import QueueClosed
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.workers import working


async def test_a_drained_queue_takes_no_jobs_and_runs_those_it_has(make_app: MakeApp) -> None:
    app, ran = make_app(), []

    @app.task
    async def work(n: int) -> int:
        await take(0.05)
        ran.append(n)
        return n

    async with app:
        await app.enqueue_many(work.s(n) for n in range(20))
        later = await work.options(delay=3600).enqueue(99)
        assert await app.drain_queue(timeout=0) is False
        with pytest.raises(QueueClosed, match="taskq queue open default"):
            await work.enqueue(1)
        with pytest.raises(QueueClosed):
            await asyncio.to_thread(work.enqueue_sync, 1)

        async with working(app):
            assert await app.drain_queue(timeout=20) is True
            assert await asyncio.to_thread(app.drain_queue_sync, "default", 20) is True
        assert sorted(ran) == [*range(20)]

        await app.open_queue()
        assert str((await later.info()).state) == "scheduled"
        for job in (later, await work.enqueue(1)):
            await job.cancel()


async def test_a_drain_waits_for_runs_and_retries(make_app: MakeApp) -> None:
    app, go, tries = make_app(), asyncio.Event(), []

    @app.task(retries=1, backoff=0.3)
    async def work() -> None:
        tries.append(1)
        await go.wait()
        if len(tries) == 1:
            raise ValueError("again")

    async with app, working(app):
        await work.enqueue()
        assert await app.drain_queue(timeout=0.5) is False
        go.set()
        assert await app.drain_queue(timeout=20) is True

    assert len(tries) == 2


async def test_all_partitions_are_closed(make_app: MakeApp) -> None:
    app = make_app()
    app.queue("default", partitions=3)

    @app.task
    async def work() -> None: ...

    async with app:
        await asyncio.to_thread(app.close_queue_sync)
        for _ in range(10):
            with pytest.raises(QueueClosed):
                await work.enqueue()
        await asyncio.to_thread(app.open_queue_sync)
        await (await work.enqueue()).cancel()
