"""What workers take, in which order and how soon: free slots, rank, unknown tasks, pauses,
several queues, idleness.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from taskq import Context, TaskQ, commands
from taskq.errors import ConfigError
from taskq.keys import QueueKeys
from taskq.worker.worker import Worker
from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.test_processes import adopt
from tests.integration.workers import calls, idle, since, wait_for_lines, working


async def test_no_more_is_claimed_than_there_are_free_slots(
    make_app: MakeApp, raw: redis.Redis, namespace: str
) -> None:
    app, go = make_app(concurrency=3), asyncio.Event()
    keys = QueueKeys(namespace, "default")

    @app.task
    async def work() -> None:
        await go.wait()

    async with app, working(app) as worker:
        jobs = await app.enqueue_many(work.s() for _ in range(10))
        await eventually(lambda: raw.zcard(keys.running(worker.id)) >= 3)
        more = [await work.enqueue() for _ in range(3)]

        assert raw.zcard(keys.running(worker.id)) == 3
        assert raw.zcard(keys.ready) == 10
        go.set()
        await app.results([*jobs, *more], timeout=5)


async def test_one_slot_starts_2000_jobs_in_rank_order(
    make_app: MakeApp, raw: redis.Redis, namespace: str
) -> None:
    app = make_app(concurrency=1)
    started: list[str] = []

    @app.task
    async def mark(ctx: Context) -> None:
        started.append(ctx.job_id)

    calls_ = [
        mark.options(priority=n * 7 % 10, **({"deadline": 600 - n * 13 % 400} if n % 3 else {})).s()
        for n in range(2000)
    ]
    async with app:
        jobs = await app.enqueue_many(calls_)
        ready = raw.zrange(QueueKeys(namespace, "default").ready, 0, -1)
        expected = [job_id.decode() for job_id in ready]
        infos = dict(zip([job.id for job in jobs], calls_, strict=True))
        priorities = [infos[job_id].options.priority for job_id in expected]
        assert priorities == sorted(priorities, key=lambda priority: -(priority or 0))

        async with working(app, burst=True) as worker:
            await eventually(lambda: len(started) == 2000, timeout=30)

    assert started == expected
    assert worker.runner.done == 2000


async def test_jobs_of_equal_rank_start_first_come_first_served(make_app: MakeApp) -> None:
    app = make_app(concurrency=1)
    started: list[str] = []
    due = datetime.fromtimestamp(int(time.time()) + 600, UTC)

    @app.task
    async def mark(ctx: Context) -> None:
        started.append(ctx.job_id)

    async with app:
        jobs = await app.enqueue_many(mark.options(deadline=due).s() for _ in range(300))

        async with working(app):
            await app.results(jobs, timeout=10)

    assert started == [job.id for job in jobs]


async def test_a_task_the_worker_does_not_know_is_left_to_one_that_does_at_its_old_rank(
    make_app: MakeApp, raw: redis.Redis, namespace: str
) -> None:
    app, other = make_app(concurrency=1), make_app(concurrency=1)
    keys = QueueKeys(namespace, "default")
    ran: list[str] = []

    @app.task
    async def known(word: str) -> None:
        ran.append(word)

    @other.task(name="known")
    async def known_too(word: str) -> None:
        ran.append(word)

    @other.task
    async def foreign(word: str) -> None:
        ran.append(word)

    async with app, other:
        job = await app.named("foreign").options(priority=7).enqueue("foreign")
        rank = raw.zscore(keys.ready, job.id)
        async with working(app) as worker:
            await eventually(lambda: raw.zcard(keys.ready_of("task.foreign")) == 1)
            await (await known.enqueue("first")).result(timeout=5)
            await idle(worker)
            info = await job.info()
        assert raw.zscore(keys.ready_of("task.foreign"), job.id) == rank
        assert (info.state, info.attempt, info.crashes) == ("ready", 0, 0)

        low = await known.options(priority=1).enqueue("low")
        async with working(other):
            await job.result(timeout=5)
            await low.result(timeout=5)

    assert ran == ["first", "foreign", "low"]


async def test_of_two_workers_only_the_one_that_knows_a_task_runs_it(make_app: MakeApp) -> None:
    app, other = make_app(), make_app()

    @app.task
    async def ours(ctx: Context) -> str:
        return ctx.worker_id

    @other.task
    async def theirs(ctx: Context) -> str:
        return ctx.worker_id

    async with app, other, working(app) as one, working(other) as two:
        jobs = [await app.named(name).enqueue() for name in ("ours", "theirs") * 20]

        ids = await app.results(jobs, timeout=10)

    assert ids == [one.id, two.id] * 20


@pytest.mark.parametrize("server", ["valkey"], indirect=True)
async def test_a_process_job_starts_at_once_when_any_worker_has_a_process_free(
    make_app: MakeApp, tmp_path: Path
) -> None:
    one, two = make_app(process_slots=1), make_app(process_slots=2)
    tasks, waits = adopt(one, "hang", "pid"), []
    adopt(two, "hang", "pid")
    log = tmp_path / "pids"
    async with one, two, working(one) as worker:
        long = await tasks.hang.enqueue(str(log), 3.0)
        await asyncio.to_thread(wait_for_lines, log, 1)
        async with working(two) as free:
            await idle(free)
            for _ in range(6):
                began = time.monotonic()
                await (await tasks.pid.enqueue(1)).result(timeout=10)
                waits.append(time.monotonic() - began)
            assert (long.queue, long.id) in worker.runner.running
            await long.result(timeout=10)

    assert max(waits) < 1.0


async def test_an_idle_worker_asks_redis_at_most_once_a_second(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = make_app(heartbeat=30.0, heartbeat_ttl=90.0, grace=31.0)

    @app.task
    async def one() -> int:
        return 1

    async with app, working(app) as worker:
        await (await one.enqueue()).result(timeout=5)
        await idle(worker)
        before = calls(raw)

        await take(3.0)

        ran = since(raw, before)
    assert ran.get("evalsha", 0) + ran.get("blpop", 0) <= 3
    assert sum(ran.values()) <= 40


async def test_an_idle_worker_starts_a_new_job_at_once(app: TaskQ) -> None:
    starts: list[float] = []

    @app.task
    async def mark() -> None:
        starts.append(time.perf_counter())

    waits = []
    async with app, working(app) as worker:
        for _ in range(100):
            await idle(worker)
            sent = time.perf_counter()
            await mark.enqueue()
            await eventually(lambda: starts)
            waits.append(starts.pop() - sent)

    median = statistics.median(waits) * 1000
    print(
        f"enqueue to start, idle worker: median {median:.2f} ms, worst {max(waits) * 1000:.2f} ms"
    )
    assert median < 20


async def test_a_delayed_job_starts_on_time_with_an_idle_worker_and_no_other_traffic(
    app: TaskQ,
) -> None:
    starts: list[float] = []

    @app.task
    async def mark() -> None:
        starts.append(time.time())

    async with app, working(app) as worker:
        await idle(worker)
        job = await mark.options(delay=0.7).enqueue()
        enqueued = (await job.info()).enqueued_at
        await job.result(timeout=5)

    assert enqueued is not None
    late = starts[0] - enqueued.timestamp() - 0.7
    assert -0.005 <= late < 0.1


async def test_a_job_due_sooner_wakes_a_worker_that_sleeps_for_a_later_one(app: TaskQ) -> None:
    @app.task
    async def mark() -> float:
        return time.time()

    async with app, working(app) as worker:
        later = await mark.options(delay=1.0).enqueue()
        await idle(worker)
        sooner = await mark.options(delay=0.2).enqueue()
        due = (await sooner.info()).enqueued_at

        assert due is not None
        assert await sooner.result(timeout=5) - due.timestamp() < 0.35
        await later.result(timeout=5)


async def test_a_burst_ends_when_nothing_is_ready(make_app: MakeApp) -> None:
    app, done = make_app(concurrency=5), []

    @app.task(retries=1, backoff=60)
    async def work(n: int) -> None:
        await take(0.01)
        done.append(n)
        if n == 13:
            raise ValueError("later")

    async with app:
        jobs = await app.enqueue_many(work.s(n) for n in range(50))
        scheduled = await work.options(delay=60).enqueue(99)

        await asyncio.wait_for(Worker(app, burst=True).run(), 10)

        assert sorted(done) == [*range(50)]
        assert (await jobs[13].info()).state == "retry"
        for job in (jobs[13], scheduled):
            await job.cancel()


async def test_a_burst_on_an_empty_or_paused_queue_ends_at_once(app: TaskQ, namespace: str) -> None:
    @app.task
    async def one() -> None: ...

    async with app:
        await asyncio.wait_for(Worker(app, burst=True).run(), 5)

        job = await one.enqueue()
        await app.client.store.run(commands.pause(QueueKeys(namespace, "default")))
        await asyncio.wait_for(Worker(app, burst=True).run(), 5)

        assert (await job.info()).state == "ready"
        await job.cancel()


async def test_a_paused_queue_stands_still_and_goes_on_at_once_when_resumed(
    app: TaskQ, namespace: str
) -> None:
    keys, store = QueueKeys(namespace, "default"), app.client.store

    @app.task
    async def one() -> float:
        return time.monotonic()

    async with app, working(app) as worker:
        await idle(worker)
        await store.run(commands.pause(keys))
        jobs = [await one.enqueue() for _ in range(5)]
        await idle(worker)
        assert [(await job.info()).state for job in jobs] == ["ready"] * 5

        began = time.monotonic()
        assert await store.run(commands.resume(keys)) is True

        ran = await app.results(jobs, timeout=5)
        assert max(ran) - began < 0.5


async def test_one_worker_serves_several_queues_and_none_waits_for_another(
    make_app: MakeApp,
) -> None:
    app = make_app(concurrency=2)
    order: list[str] = []

    @app.task
    async def mark(ctx: Context) -> None:
        order.append(ctx.queue)
        await take(0.001)

    async with app:
        many = await app.enqueue_many(mark.options(queue="busy").s() for _ in range(200))
        few = await app.enqueue_many(mark.options(queue="quiet").s() for _ in range(5))

        async with working(app, queues=["busy", "quiet", "busy", "empty"]) as worker:
            assert [line.queue for line in worker.lines] == ["busy", "quiet", "empty"]
            await app.results([*many, *few], timeout=20)

    last = max(at for at, queue in enumerate(order) if queue == "quiet")
    assert last < 60


async def test_two_workers_share_the_jobs_and_run_each_once(make_app: MakeApp) -> None:
    one, two = make_app(concurrency=5), make_app(concurrency=5)
    ran: list[tuple[int, str]] = []

    async def mark(ctx: Context, n: int) -> None:
        ran.append((n, ctx.worker_id))
        await take(0.002)

    task = one.task(mark)
    two.task(mark)
    async with one, two:
        jobs = await one.enqueue_many(task.s(n) for n in range(400))
        async with working(one), working(two):
            await one.results(jobs, timeout=20)

    assert sorted(n for n, _ in ran) == [*range(400)]
    shares = [sum(1 for _, worker in ran if worker == name) for name in {w for _, w in ran}]
    assert len(shares) == 2
    assert min(shares) > 50


async def test_no_worker_starts_for_an_app_without_tasks(app: TaskQ) -> None:
    with pytest.raises(ConfigError, match="no tasks"):
        Worker(app)


async def test_two_workers_of_one_name_have_two_ids(app: TaskQ) -> None:
    @app.task
    async def one() -> None: ...

    async with app, working(app, name="alpha") as first, working(app, name="alpha") as second:
        assert first.id != second.id
        assert first.id.startswith("alpha-")


async def test_queue_settings_of_the_app_are_in_force_once_its_worker_runs(
    make_app: MakeApp, raw: redis.Redis, namespace: str
) -> None:
    app, keys = make_app(), QueueKeys(namespace, "orders")
    app.queue("orders", policy="aging", max_jobs=7, horizon=5)

    @app.task(queue="orders")
    async def one() -> None: ...

    async with app, working(app, queues=["orders"]):
        meta: Any = raw.hgetall(keys.meta)

    assert meta[b"policy"] == b"aging"
    assert meta[b"max_jobs"] == b"7"
    assert meta[b"horizon_ms"] == b"5000"
