"""A queue in several partitions: it is one queue to those who use it."""

from __future__ import annotations

import asyncio
import random

import pytest
import redis

from taskq import Context, TaskQ
from taskq.errors import JobConflict, QueueFull
from taskq.keys import QueueKeys
from taskq.partition import partition_names, partition_of
from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.workers import idle, working

MAIL = partition_names("mail", 4)


@pytest.fixture
def app(make_app: MakeApp) -> TaskQ:
    """An app whose queue `mail` has four partitions."""
    app = make_app()
    app.queue("mail", partitions=4)
    return app


async def test_jobs_are_spread_run_and_found_again(app: TaskQ, raw: redis.Redis) -> None:
    @app.task(queue="mail")
    async def double(ctx: Context, number: int) -> tuple[str, int]:
        await ctx.progress(0.5)
        return ctx.queue, 2 * number

    async with app, working(app, queues=["mail"]):
        jobs = [await double.enqueue(number) for number in range(40)]

        assert await app.results(jobs, timeout=5) == [("mail", 2 * n) for n in range(40)]
        assert {job.queue for job in jobs} == set(MAIL)
        for job in jobs[:8]:
            assert job.queue == partition_of("mail", job.id, 4)
            assert await app.job(job.id, queue="mail").result(timeout=1) == await job.result()
            assert app.job(job.id, queue=job.queue) == job
            assert (await app.job(job.id, queue="mail").info()).progress == 0.5
    listed = raw.smembers(f"{app.settings.namespace}:queues")
    assert {name.decode() for name in listed} == set(MAIL)


async def test_many_calls_go_to_all_partitions_and_the_same_id_meets_itself(app: TaskQ) -> None:
    @app.task(queue="mail")
    async def add(a: int, b: int) -> int:
        return a + b

    async with app, working(app, queues=["mail"]):
        calls = [add.options(id=f"sum-{n}").s(n, 1) for n in range(300)]
        first = await app.enqueue_many(calls)
        again = await app.enqueue_many(calls)

        assert [job.id for job in first] == [f"sum-{n}" for n in range(300)]
        assert not any(job.duplicate for job in first)
        assert all(job.duplicate for job in again)
        assert await app.results(again, timeout=5) == [n + 1 for n in range(300)]
        with pytest.raises(JobConflict):
            await app.enqueue_many([add.options(id=f"sum-{n}").s(n, 2) for n in range(4)])


async def test_blocking_code_finds_the_same_partitions(app: TaskQ) -> None:
    @app.task(queue="mail")
    async def echo(word: str) -> str:
        return word

    async with app, working(app, queues=["mail"]):
        job = await asyncio.to_thread(echo.options(id="a-1").enqueue_sync, "hello")
        many = await asyncio.to_thread(
            app.enqueue_many_sync, [echo.options(id=f"a-{n}").s("hello") for n in range(9)]
        )

        assert [one.duplicate for one in many] == [n == 1 for n in range(9)]
        assert await asyncio.to_thread(job.result_sync, 5) == "hello"
        assert await app.results(many, timeout=5) == ["hello"] * 9


def set_up(raw: redis.Redis, place: str) -> dict[bytes, bytes]:
    """What was declared of a partition, without what heartbeats note there of the workers."""
    noted = (b"reaped_ms", b"slots")
    return {k: v for k, v in raw.hgetall(f"{place}:meta").items() if k not in noted}


async def test_each_partition_is_set_up_and_bounded(make_app: MakeApp, raw: redis.Redis) -> None:
    app = make_app(max_jobs=8)
    app.queue("mail", partitions=4, policy="aging", horizon=3)
    app.queue("post", partitions=3, max_jobs=10)

    @app.task
    async def nothing() -> None: ...

    async with app, working(app, queues=["mail", "post"]):
        prefix = f"{app.settings.namespace}:"
        for name in MAIL:
            assert set_up(raw, f"{prefix}{{{name}}}") == {
                b"policy": b"aging",
                b"horizon_ms": b"3000",
            }
        for name in partition_names("post", 3):
            assert set_up(raw, f"{prefix}{{{name}}}") == {b"max_jobs": b"4"}
        later = nothing.options(queue="mail", delay=60)
        sent = await asyncio.gather(*(later.enqueue() for _ in range(40)), return_exceptions=True)
        refused = [str(answer) for answer in sent if isinstance(answer, QueueFull)]
        assert all("2 may" in words for words in refused)
        assert refused
    await asyncio.to_thread(_purge, app, raw)


def _purge(app: TaskQ, raw: redis.Redis) -> None:
    for name in MAIL:
        keys = list(raw.scan_iter(f"{app.settings.namespace}:{{{name}}}:*"))
        raw.unlink(*keys)


async def test_one_slot_serves_four_partitions_in_the_order_of_the_whole_queue(
    app: TaskQ, make_app: MakeApp
) -> None:
    chance = random.Random(7)
    ran: list[int] = []

    @app.task(queue="mail")
    async def note(priority: int, deadline: int) -> None:
        ran.append((9 - priority) * 10_000 + deadline)

    async with app:
        calls = []
        for _ in range(400):
            priority, deadline = chance.randint(0, 9), chance.randint(1000, 9999)
            options = note.options(priority=priority, deadline=deadline)
            calls.append(options.s(priority, deadline))
        await app.enqueue_many(calls)
        app.configure(app.settings.replace(concurrency=1))
        async with working(app, queues=["mail"]):
            await eventually(lambda: len(ran) == 400)

    assert ran == sorted(ran)


async def test_an_idle_worker_has_no_partition_left_to_look_at(
    app: TaskQ,
) -> None:
    @app.task(queue="mail")
    async def nothing() -> None: ...

    async with app, working(app, queues=["mail"]) as worker:
        await app.results(await app.enqueue_many([nothing.s() for _ in range(20)]), timeout=5)
        await idle(worker)
        assert not any(line.hot for line in worker.lines)


async def test_one_fragile_job_runs_at_a_time_though_partitions_are_claimed_at_once(
    app: TaskQ, raw: redis.Redis
) -> None:
    running, most, done = 0, 0, 0

    @app.task(queue="mail")
    async def note() -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await take(0.02)
        running, done = running - 1, done + 1

    async with app:
        jobs = await app.enqueue_many([note.s() for _ in range(12)])
        for job in jobs:  # as reap leaves a job that has lost its worker twice
            keys = QueueKeys(app.settings.namespace, job.queue)
            raw.hset(keys.job(job.id), "class", "fragile")
            raw.zadd(keys.ready_of("fragile"), {job.id: raw.zscore(keys.ready, job.id) or 0})
            raw.zrem(keys.ready, job.id)
            raw.sadd(keys.classes, "fragile")
        async with working(app, queues=["mail"]):
            await eventually(lambda: done == 12, 20)

    assert len({job.queue for job in jobs}) > 1
    assert most == 1
