"""Cancelling: at once while a job waits, by asking its worker while it runs, never after its
end.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from taskq import Job, JobCancelled, JobNotFound, TaskQ
from taskq.errors import WrongState
from taskq.keys import QueueKeys
from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.workers import idle, working


@pytest.fixture
def waiting(app: TaskQ) -> Any:
    @app.task(retries=1, backoff=60)
    async def work(fail: bool = False) -> None:
        if fail:
            raise ValueError("no")
        await take(30)

    return work


@pytest.mark.parametrize("kind", ["ready", "scheduled", "retry"])
@pytest.mark.parametrize("blocking", [False, True])
async def test_a_waiting_job_is_cancelled_at_once(
    app: TaskQ, waiting: Any, kind: str, blocking: bool
) -> None:
    async with app:
        job: Job[None] = await waiting.options(delay=60 if kind == "scheduled" else 0).enqueue(True)
        if kind == "retry":
            async with working(app):
                await eventually(lambda: _state(job, "retry"))

        cancelled = await (asyncio.to_thread(job.cancel_sync) if blocking else job.cancel())

        assert cancelled is True
        assert await _state(job, "cancelled")
        with pytest.raises(JobCancelled):
            await job.result(timeout=1)


async def _state(job: Job[Any], state: str) -> bool:
    return (await job.info()).state == state


async def test_a_running_coroutine_is_stopped_within_a_heartbeat(
    app: TaskQ, raw: redis.Redis, namespace: str
) -> None:
    seen = []

    @app.task
    async def work() -> None:
        try:
            await take(30)
        except asyncio.CancelledError:
            seen.append("stopped")
            raise

    async with app, working(app) as worker:
        job = await work.enqueue()
        await eventually(lambda: worker.runner.running)

        assert await job.cancel() is False
        assert (await job.info()).cancel_requested

        with pytest.raises(JobCancelled):
            await job.result(timeout=1)
        assert seen == ["stopped"]
        assert await _state(job, "cancelled")
        assert raw.zcard(QueueKeys(namespace, "default").running(worker.id)) == 0


async def test_an_ended_or_unknown_job_cannot_be_cancelled(app: TaskQ) -> None:
    @app.task
    async def one() -> int:
        return 1

    async with app, working(app):
        job = await one.enqueue()
        await job.result(timeout=5)

        with pytest.raises(WrongState, match="it is completed") as caught:
            await job.cancel()
        with pytest.raises(JobNotFound):
            await app.job("nobody").cancel()

        assert caught.value.state == "completed"
        assert await job.result(timeout=5) == 1


async def test_a_job_that_fails_after_its_cancellation_was_asked_for_is_not_tried_again(
    app: TaskQ,
) -> None:
    go = asyncio.Event()

    @app.task(retries=5, backoff=0)
    def work() -> None:
        while not go.is_set():
            pass
        raise ValueError("no")

    async with app, working(app) as worker:
        job = await work.enqueue()
        await eventually(lambda: worker.runner.running)
        await job.cancel()

        go.set()

        with pytest.raises(JobCancelled):
            await job.result(timeout=5)


async def test_a_cancelled_job_can_be_brought_back(app: TaskQ) -> None:
    @app.task
    async def one() -> int:
        return 1

    async with app:
        job = await one.options(delay=60).enqueue()
        await job.cancel()

        await job.retry()

        async with working(app):
            assert await job.result(timeout=5) == 1


async def test_cancelling_one_of_many_leaves_the_others_alone(app: TaskQ) -> None:
    go = asyncio.Event()

    @app.task
    async def work(n: int) -> int:
        await go.wait()
        return n

    async with app, working(app) as worker:
        jobs = [await work.enqueue(n) for n in range(5)]
        await eventually(lambda: len(worker.runner.running) == 5)

        await jobs[2].cancel()
        with pytest.raises(JobCancelled):
            await jobs[2].result(timeout=2)
        go.set()

        rest = [job for n, job in enumerate(jobs) if n != 2]
        assert await app.results(rest, timeout=5) == [0, 1, 3, 4]
        await idle(worker)
