"""Waiting for a job's end: pushed, free of charge when nobody waits, and one answer for each
way to end.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from taskq import (
    Job,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    ResultExpired,
    ResultTimeout,
    TaskQ,
)
from taskq.keys import QueueKeys
from taskq.task import AsyncTask
from tests.helpers import eventually
from tests.integration.conftest import MakeApp
from tests.integration.workers import calls, since, working


class Gate:
    """A task that waits until the test lets it end."""

    def __init__(self, app: TaskQ) -> None:
        self.open = asyncio.Event()

        async def gate(value: int = 1) -> int:
            await self.open.wait()
            return value

        self.task: AsyncTask[[int], int] = app.task(gate)


async def waited_for(job: Job[Any]) -> bool:
    return "waiters" in (await job.info()).fields


async def test_a_waiter_is_told_and_does_not_ask_again(app: TaskQ, raw: redis.Redis) -> None:
    gate = Gate(app)
    async with app, working(app) as worker:
        job = await gate.task.enqueue(5)
        waiting = asyncio.ensure_future(job.result(timeout=20))
        await eventually(lambda: waited_for(job))
        await eventually(lambda: len(worker.runner.running) == 1)
        before = calls(raw)

        with pytest.raises(ResultTimeout):
            await job.result(timeout=2)

        # The second waiter asked once; all the rest is the worker's heartbeat and upkeep.
        ran = since(raw, before)
        ran.pop("evalsha", None)
        assert ran.get("hgetall", 0) + ran.get("get", 0) + ran.get("subscribe", 0) == 0
        scripts = sum(ran.get(name, 0) for name in ("hmget",))
        assert scripts <= 2
        gate.open.set()
        assert await waiting == 5
        assert since(raw, before).get("publish", 0) == 1


async def test_a_job_nobody_waits_for_costs_no_waiting(
    app: TaskQ, raw: redis.Redis, namespace: str
) -> None:
    gate = Gate(app)
    keys = QueueKeys(namespace, "default")
    async with app, working(app) as worker:
        before = calls(raw)
        job = await gate.task.enqueue()
        await eventually(lambda: len(worker.runner.running) == 1)
        assert raw.hexists(keys.job(job.id), "waiters") is False

        gate.open.set()
        await eventually(lambda: raw.hget(keys.job(job.id), "state") == b"completed")

        ran = since(raw, before)
        assert "publish" not in ran
        assert "subscribe" not in ran


async def test_a_result_can_be_had_again_and_by_another_program(make_app: MakeApp) -> None:
    app, other = make_app(), make_app()
    gate = Gate(app)
    gate.open.set()
    async with app, other, working(app):
        job = await gate.task.enqueue(3)

        assert await job.result(timeout=5) == 3
        assert await job.result(timeout=5) == 3
        assert await other.job(job.id).result(timeout=5) == 3
        assert await asyncio.to_thread(other.job(job.id).result_sync, 5) == 3


async def test_many_waiters_of_several_programs_all_hear_the_end(make_app: MakeApp) -> None:
    app, other = make_app(), make_app()
    gate = Gate(app)
    async with app, other, working(app):
        job = await gate.task.enqueue(8)
        far = other.job(job.id)
        waits = [asyncio.ensure_future(j.result(timeout=10)) for j in [job] * 30 + [far] * 30]
        waits += [asyncio.ensure_future(asyncio.to_thread(far.result_sync, 10)) for _ in range(3)]

        async def all_wait() -> bool:
            waiters = (await job.info()).fields.get("waiters", b"")
            return len(waiters.split()) == 5

        await eventually(all_wait)
        gate.open.set()

        assert await asyncio.gather(*waits) == [8] * 63


async def test_more_waiting_programs_than_are_remembered_all_get_the_result_in_time(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.client.LOOK_AGAIN", 0.5)
    apps = [make_app() for _ in range(25)]
    gate = Gate(apps[0])
    async with working(apps[0]):
        job = await gate.task.enqueue(8)
        waits = [asyncio.ensure_future(app.job(job.id).result(timeout=10)) for app in apps]
        await eventually(lambda: all((job.queue, job.id) in app.client._waiting for app in apps))

        gate.open.set()

        assert await asyncio.gather(*waits) == [8] * 25


async def test_results_of_many_jobs_come_in_the_order_asked(app: TaskQ) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    async with app, working(app):
        jobs = await app.enqueue_many(double.s(n) for n in range(300))

        assert await app.results(jobs, timeout=10) == [2 * n for n in range(300)]


async def test_the_first_error_among_many_results_is_raised(app: TaskQ) -> None:
    @app.task(retries=0)
    async def even(n: int) -> int:
        if n % 2:
            raise ValueError(n)
        return n

    async with app, working(app):
        jobs = await app.enqueue_many(even.s(n) for n in (0, 1, 2))

        with pytest.raises(JobFailed, match="ValueError: 1"):
            await app.results(jobs, timeout=5)


async def test_each_way_to_have_no_result_has_its_own_answer(app: TaskQ) -> None:
    gate = Gate(app)

    @app.task(retries=0, result_ttl=0)
    async def gone() -> None: ...

    @app.task(retries=0)
    async def fail() -> None:
        raise ValueError("no")

    async with app, working(app):
        not_ready = await gate.task.enqueue()
        expired, failed = await gone.enqueue(), await fail.enqueue()
        cancelled = await gate.task.options(delay=60).enqueue()
        await cancelled.cancel()

        await eventually(lambda: _raises(expired, ResultExpired))
        answers = {
            app.job("nobody"): JobNotFound,
            not_ready: ResultTimeout,
            expired: ResultExpired,
            failed: JobFailed,
            cancelled: JobCancelled,
        }
        for job, kind in answers.items():
            for ask in (job.result(timeout=0.5), asyncio.to_thread(job.result_sync, 0.5)):
                with pytest.raises(kind) as caught:
                    await ask
                assert type(caught.value) is kind
                assert caught.value.job_id == job.id
                assert "\n" not in str(caught.value)
        gate.open.set()
        await not_ready.result(timeout=5)


async def _raises(job: Job[Any], kind: type[Exception]) -> bool:
    try:
        await job.result(timeout=0.2)
    except kind:
        return True
    except ResultTimeout:
        return False
    return False


async def test_a_waiter_learns_of_a_failure_a_cancellation_and_an_expiry(app: TaskQ) -> None:
    gate, fails = Gate(app), asyncio.Event()

    @app.task(retries=0)
    async def fail() -> None:
        await fails.wait()
        raise ValueError("two\nlines")

    async with app:
        scheduled = await gate.task.options(delay=60).enqueue()
        late = await gate.task.options(deadline=0.3).enqueue()
        failing = await fail.enqueue()
        jobs = [scheduled, late, failing]
        waits = [asyncio.ensure_future(job.result(timeout=10)) for job in jobs]
        for job in jobs:
            await eventually(lambda job=job: waited_for(job))  # type: ignore[misc]
        await eventually(lambda: _past(late))

        async with working(app):
            fails.set()
            await scheduled.cancel()
            ends = await asyncio.gather(*waits, return_exceptions=True)

    assert [type(end) for end in ends] == [JobCancelled, JobExpired, JobFailed]
    failure = ends[2]
    assert isinstance(failure, JobFailed)
    assert failure.error == "ValueError: two\nlines"
    assert "in fail" in failure.traceback


async def _past(job: Job[Any]) -> bool:
    deadline = (await job.info()).deadline
    return deadline is not None and datetime.now(UTC) > deadline


async def test_a_blocking_waiter_hears_the_end_in_its_thread(app: TaskQ) -> None:
    gate = Gate(app)
    async with app, working(app):
        job = await gate.task.enqueue(4)
        waiting = asyncio.ensure_future(asyncio.to_thread(job.result_sync, 10))
        await eventually(lambda: waited_for(job))

        gate.open.set()

        assert await waiting == 4
