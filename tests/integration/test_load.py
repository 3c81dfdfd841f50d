"""Workers and how loaded they are: who takes the next job, and how many run at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import redis

from taskq import Context, TaskQ
from taskq.inspect import Inspector
from taskq.worker.worker import Worker
from tests.helpers import eventually
from tests.integration.chores import block, take
from tests.integration.conftest import MakeApp
from tests.integration.workers import calls, idle, since, working


def unwell(worker: Worker, score: float) -> None:
    """As if it had been found so; nothing is measured any more."""
    health = worker.health
    health._aware = False
    health.score, health.delay = score, (1 - score) * 0.02
    health.slots = max(1, round(health.slots * score))


def who(app: TaskQ) -> None:
    @app.task(name="who")
    async def who(ctx: Context, seconds: float = 0.0) -> str:
        if seconds:
            await take(seconds)
        return ctx.worker_id


@contextlib.asynccontextmanager
async def fleet(*apps: TaskQ) -> AsyncIterator[list[Worker]]:
    async with contextlib.AsyncExitStack() as stack:
        workers = []
        for app in apps:
            await stack.enter_async_context(app)
            workers.append(await stack.enter_async_context(working(app)))
        yield workers


async def run_some(app: TaskQ, workers: list[Worker], count: int) -> Counter[str]:
    """Who ran `count` jobs, each enqueued while all workers rest."""
    ran: Counter[str] = Counter()
    for _ in range(count):
        await asyncio.gather(*map(idle, workers))
        ran[await (await app.named("who").enqueue()).result(timeout=10)] += 1
    return ran


async def test_the_next_job_goes_to_the_worker_that_is_well(make_app: MakeApp) -> None:
    apps = [make_app() for _ in range(3)]
    for app in apps:
        who(app)

    async with fleet(*apps) as workers:
        unwell(workers[0], 0.5)
        unwell(workers[2], 0.6)
        ran = await run_some(apps[0], workers, 30)

    assert ran[workers[1].id] >= 27


async def test_of_workers_that_are_all_unwell_none_leaves_a_job_to_nobody(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    apps = [make_app() for _ in range(3)]
    for app in apps:
        who(app)

    async with fleet(*apps) as workers:
        for worker in workers:
            unwell(worker, 0.5)
        before = calls(raw)
        ran = await run_some(apps[0], workers, 20)
        await asyncio.gather(*map(idle, workers))
        await take(1.0)  # an offer that nobody takes must not go round for ever
        pushed = since(raw, before).get("rpush", 0)

    assert ran.total() == 20
    assert pushed <= 20 * 8


async def test_a_worker_that_is_unwell_and_alone_takes_its_jobs(make_app: MakeApp) -> None:
    app = make_app()
    who(app)

    async with fleet(app) as workers:
        unwell(workers[0], 0.1)
        assert await run_some(app, workers, 20) == {workers[0].id: 20}


async def test_fewer_run_at_once_on_a_worker_that_is_unwell_and_all_once_it_is_well(
    make_app: MakeApp,
) -> None:
    app = make_app(concurrency=10)
    who(app)

    async with fleet(app) as (worker,):
        unwell(worker, 0.3)
        most = 0
        jobs = await app.enqueue_many(app.named("who").s(0.02) for _ in range(12))
        while not all(info and info.state.ended for info in await app.infos(jobs)):
            most = max(most, worker.runner.taken)
        assert 1 <= most <= 3

        worker.health.slots, worker.health.delay = 10, 0.0
        jobs = await app.enqueue_many(app.named("who").s(0.5) for _ in range(10))
        await eventually(lambda: worker.runner.taken == 10)
        await app.results(jobs, timeout=10)


async def test_a_task_that_blocks_the_loop_makes_its_worker_take_less_and_the_roster_says_so(
    make_app: MakeApp, namespace: str
) -> None:
    app = make_app(load_aware="on", concurrency=10, block_warn=60.0)

    @app.task
    async def stubborn() -> None:
        block(0.8)

    async with fleet(app) as (worker,):
        jobs = await app.enqueue_many(stubborn.s() for _ in range(6))
        await eventually(lambda: worker.health.slots < 10, timeout=20)
        worker.heart.tell_roster()
        (view,) = await Inspector(worker.store, namespace).workers()
        await app.results(jobs, timeout=30)
        slots = worker.health.slots
        await eventually(lambda: worker.health.slots > slots or slots == 10, timeout=20)

    assert view.health.startswith("busy 0.")
    assert view.slots < view.concurrency == 10


async def test_load_awareness_can_be_switched_off(make_app: MakeApp) -> None:
    app = make_app(load_aware="off", block_warn=60.0)

    @app.task
    async def stubborn() -> None:
        block(0.8)

    async with fleet(app) as (worker,):
        await app.results(await app.enqueue_many(stubborn.s() for _ in range(3)), timeout=20)

        assert (worker.health.slots, worker.health.word) == (worker.settings.concurrency, "ok")
