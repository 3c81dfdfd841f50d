"""Unique jobs on real servers: one live job for each key, and what becomes of a second."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from taskq import JobCancelled, TaskQ
from taskq.keys import QueueKeys
from tests.helpers import eventually
from tests.integration.conftest import MakeApp
from tests.integration.workers import working


def locks(app: TaskQ, raw: redis.Redis) -> list[str]:
    prefix = f"{app.settings.namespace}:{{default}}:unique:"
    return [key.decode().removeprefix(prefix) for key in raw.scan_iter(f"{prefix}*")]


async def test_a_queued_job_is_kept_and_its_handle_given(app: TaskQ, raw: redis.Redis) -> None:
    runs: list[int] = []

    @app.task(key="report:{day}", unique="queued")
    async def report(day: int, by: str = "") -> int:
        runs.append(day)
        return day

    async with app:
        first = await report.enqueue(1, by="a")
        second, other = await report.enqueue(1, by="b"), await report.enqueue(2)

        assert (first.duplicate, second.duplicate, other.duplicate) == (False, True, False)
        assert second == first
        assert locks(app, raw) != []
        async with working(app):
            assert await app.results([first, second, other], timeout=5) == [1, 1, 2]
            again = await report.enqueue(1)
            assert not again.duplicate
            await again.result(timeout=5)

    assert sorted(runs) == [1, 1, 2]
    assert locks(app, raw) == []


async def test_queued_lets_one_wait_while_one_runs_and_running_does_not(
    app: TaskQ, raw: redis.Redis
) -> None:
    gate, started = asyncio.Event(), asyncio.Event()

    @app.task
    async def work() -> None:
        started.set()
        await gate.wait()

    async with app, working(app):
        for mode in ("queued", "running"):
            gate.clear()
            started.clear()
            unique = work.options(key="k", unique=mode)  # type: ignore[arg-type]
            first = await unique.enqueue()
            await started.wait()

            second = await unique.enqueue()
            assert second.duplicate is (mode == "running")
            assert (second == first) is (mode == "running")
            gate.set()
            await app.results([first, second], timeout=5)
        assert locks(app, raw) == []


async def test_the_same_task_and_arguments_are_the_key_when_none_is_given(app: TaskQ) -> None:
    @app.task(unique="queued")
    async def work(n: int) -> int:
        return n

    async with app:
        jobs = await asyncio.gather(*(work.enqueue(n % 3) for n in range(30)))
        assert len({job.id for job in jobs}) == 3
        assert sum(not job.duplicate for job in jobs) == 3
        async with working(app):
            assert set(await app.results(jobs, timeout=5)) == {0, 1, 2}


@pytest.mark.parametrize("how", ["gathered", "many", "many at once, blocking", "one by one"])
async def test_the_newest_replaces_those_that_wait(app: TaskQ, how: str) -> None:
    ran: list[int] = []

    @app.task(key="k", unique="queued", on_duplicate="replace")
    async def work(n: int) -> None:
        ran.append(n)

    async with app:
        if how == "gathered":
            jobs = list(await asyncio.gather(*(work.enqueue(n) for n in range(5))))
        elif how == "many":
            jobs = await app.enqueue_many([work.s(n) for n in range(5)])
        elif how == "one by one":
            jobs = [await work.enqueue(n) for n in range(5)]
        else:
            jobs = await asyncio.to_thread(app.enqueue_many_sync, [work.s(n) for n in range(5)])
        assert not any(job.duplicate for job in jobs)
        async with working(app):
            await jobs[-1].result(timeout=5)
            for job in jobs[:-1]:
                with pytest.raises(JobCancelled, match="gave way to a newer one"):
                    await job.result(timeout=5)

    assert ran == [4]


async def test_the_newest_waits_for_the_run_of_its_key_to_end(app: TaskQ, raw: redis.Redis) -> None:
    ran: list[int] = []
    gate = asyncio.Event()

    @app.task(key="doc:{doc}", unique="running", on_duplicate="replace")
    async def save(doc: str, version: int) -> None:
        ran.append(version)
        await gate.wait()

    async with app, working(app):
        first = await save.enqueue("a", 1)
        await eventually(lambda: ran == [1])
        jobs = [await save.enqueue("a", version) for version in (2, 3)]
        other = await save.enqueue("b", 9)
        await eventually(lambda: ran == [1, 9])
        keys = QueueKeys(app.settings.namespace, "default")
        await eventually(lambda: raw.hget(keys.job(jobs[1].id), "state") == b"blocked")

        gate.set()
        await app.results([first, jobs[1], other], timeout=5)
        with pytest.raises(JobCancelled):
            await jobs[0].result(timeout=5)
    assert ran == [1, 9, 3]
    assert locks(app, raw) == []


async def test_a_throttle_keeps_for_its_seconds_even_when_the_job_has_ended(app: TaskQ) -> None:
    ran: list[int] = []

    @app.task(key="k", unique=0.6)
    async def work(n: int) -> int:
        ran.append(n)
        return n

    async with app, working(app):
        first = await work.enqueue(1)
        assert await first.result(timeout=5) == 1
        second = await work.enqueue(2)
        assert second == first
        assert await second.result(timeout=5) == 1

        async def free() -> bool:
            return not (await work.enqueue(3)).duplicate

        await eventually(free)
        await eventually(lambda: ran == [1, 3])


async def test_a_debounce_moves_the_job_away_from_each_new_call(
    app: TaskQ, raw: redis.Redis
) -> None:
    @app.task(key="k", unique="queued", on_duplicate="extend")
    async def work() -> None: ...

    async with app:
        first = await work.options(delay=30).enqueue()
        scheduled = QueueKeys(app.settings.namespace, "default").scheduled
        before: Any = raw.zscore(scheduled, first.id)
        second = await work.options(delay=60).enqueue()
        after: Any = raw.zscore(scheduled, first.id)

        assert second == first
        assert 29_000 < after - before < 40_000
        await first.cancel()
    assert locks(app, raw) == []


async def test_no_lock_outlives_its_job_however_that_ends(app: TaskQ, raw: redis.Redis) -> None:
    started = asyncio.Event()

    @app.task(key="{end}", unique="running", retries=0)
    async def work(end: str) -> None:
        started.set()
        if end == "dead":
            raise ValueError(end)
        if end == "cancelled running":
            await asyncio.Event().wait()

    async with app:
        cancelled = await work.options(key="c").enqueue("cancelled")
        await cancelled.cancel()
        expired = await work.options(key="e", deadline=0.01).enqueue("expired")
        async with working(app):
            await work.options(key="d").enqueue("dead")
            runs = await work.options(key="r").enqueue("cancelled running")
            await started.wait()
            await runs.cancel()
            await eventually(lambda: locks(app, raw) == [])
            assert not (await work.options(key="e").enqueue("expired")).duplicate
            assert expired.id
            await eventually(lambda: locks(app, raw) == [])


async def test_a_producer_without_the_code_may_use_keys_too(make_app: MakeApp) -> None:
    app = make_app()
    task = app.named("elsewhere").options(key="u:{user}", unique="queued")

    async with app:
        first, second = await task.enqueue(user=7), await task.enqueue(user=7)
        third = task.enqueue_sync(user=8)

        assert first == second != third
        for job in (first, third):
            await job.cancel()
