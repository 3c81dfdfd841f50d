"""Which worker runs what: required labels, costs, and wake-ups that reach who can run the job."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import redis

from taskq import Context, TaskQ
from taskq.inspect import Inspector
from taskq.keys import QueueKeys
from taskq.worker.worker import Worker
from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.test_processes import adopt
from tests.integration.workers import calls, idle, since, working

#: Of a start that nobody had to look for: far less than the wait of an idle worker (10 s) or the
#: time until upkeep looks for classes, and ample for two loaded cores.
SOON = 1.0


def with_tasks(app: TaskQ) -> TaskQ:
    """Tasks that every worker here knows; the result is who ran it."""

    @app.task(requires={"gpu"})
    async def render(ctx: Context) -> str:
        return ctx.worker_id

    @app.task
    async def plain(ctx: Context, seconds: float = 0.0) -> str:
        if seconds:
            await take(seconds)
        return ctx.worker_id

    return app


@contextlib.asynccontextmanager
async def fleet(*apps: TaskQ) -> AsyncIterator[list[Worker]]:
    """A worker of each app, all idle."""
    async with contextlib.AsyncExitStack() as stack:
        workers = []
        for app in apps:
            await stack.enter_async_context(app)
            workers.append(await stack.enter_async_context(working(app)))
        for worker in workers:
            await idle(worker)
        yield workers


async def timed(app: TaskQ, task: str, **options: Any) -> tuple[str, float]:
    """Who ran it, and how long it took from the call to the result, s."""
    began = time.monotonic()
    job = await app.named(task).options(**options).enqueue()
    return await job.result(timeout=20), time.monotonic() - began


async def nobody_takes(workers: Sequence[Worker], raw: redis.Redis, ready: str) -> None:
    """Each worker looks for classes, and the one job there is stays where it is."""
    for worker in workers:
        await worker.upkeep.find_classes(worker.lines[0])
        await idle(worker)
    assert raw.zcard(ready) == 1


async def test_only_the_one_idle_worker_that_provides_a_label_runs_its_jobs_and_at_once(
    make_app: MakeApp,
) -> None:
    """The first job of a class that nobody has seen yet, and those after it."""
    slow = {"heartbeat": 20.0, "heartbeat_ttl": 60.0, "grace": 21.0}  # upkeep finds nothing in time
    apps = [with_tasks(make_app(**slow)) for _ in range(4)]
    apps.insert(2, with_tasks(make_app(provides=("gpu", "region=eu"), **slow)))

    async with fleet(*apps) as workers:
        for requires in ({"gpu"}, {"region=eu", "gpu"}, {"gpu"}):
            ran_by, took = await timed(apps[0], "render", requires=requires)
            assert ran_by == workers[2].id
            assert took < SOON
            await asyncio.gather(*map(idle, workers))


async def test_the_first_job_left_to_the_one_worker_that_knows_its_task_wakes_it(
    make_app: MakeApp,
) -> None:
    slow = {"heartbeat": 20.0, "heartbeat_ttl": 60.0, "grace": 21.0}
    apps = [with_tasks(make_app(**slow)) for _ in range(5)]

    @apps[3].task
    async def rare(ctx: Context) -> str:
        return ctx.worker_id

    async with fleet(*apps) as workers:
        for _ in range(3):
            began = time.monotonic()
            ran_by = await (await rare.enqueue()).result(timeout=20)
            assert ran_by == workers[3].id
            assert time.monotonic() - began < SOON
            await asyncio.gather(*map(idle, workers))


async def test_a_job_whose_task_is_not_known_is_handed_on_with_its_labels(
    make_app: MakeApp, raw: redis.Redis, namespace: str
) -> None:
    """Neither one that knows the task without the label, nor the other way round, may run it."""
    label, knows, both = make_app(provides="gpu"), make_app(), make_app(provides="gpu")
    keys = QueueKeys(namespace, "default")
    with_tasks(label)
    for app in (knows, both):

        @app.task(name="rare")
        async def rare(ctx: Context) -> str:
            return ctx.worker_id

    async with fleet(label, knows) as workers:
        job = await knows.named("rare").options(requires="gpu").enqueue()
        await eventually(lambda: raw.zcard(keys.ready_of("gpu+task.rare")) == 1)
        await nobody_takes(workers, raw, keys.ready_of("gpu+task.rare"))
        async with fleet(both) as (able,):
            assert await job.result(timeout=10) == able.id


async def test_a_job_waits_for_a_worker_that_provides_all_it_requires(
    make_app: MakeApp, raw: redis.Redis, namespace: str
) -> None:
    one, two = (with_tasks(make_app(provides=label)) for label in ("gpu", "region=eu"))
    both = with_tasks(make_app(provides="gpu,region=eu,spare"))
    keys = QueueKeys(namespace, "default")

    async with fleet(one, two) as workers:
        job = await one.named("render").options(requires=("region=eu", "gpu")).enqueue()
        await nobody_takes(workers, raw, keys.ready_of("gpu+region=eu"))
        async with fleet(both) as (able,):
            assert await job.result(timeout=10) == able.id


async def test_jobs_that_need_the_one_process_keep_their_labels_when_it_is_taken(
    make_app: MakeApp, raw: redis.Redis, namespace: str
) -> None:
    """Of two classes each may be claimed for the free process; one job is given back."""
    app, producer = make_app(provides="gpu", process_slots=1), make_app()
    adopt(app, "pid")
    tasks = adopt(producer, "pid")
    keys = QueueKeys(namespace, "default")

    async with producer:
        jobs = [
            await tasks.pid.options(requires=labels).enqueue(1)
            for labels in ((), ("gpu",), (), ("gpu",))
        ]
        async with fleet(app):
            await producer.results(jobs, timeout=20)

    classes = [raw.hget(keys.job(job.id), "class") for job in jobs]
    assert classes == [b"process", b"gpu+process"] * 2


async def test_a_queue_without_labels_sends_no_more_commands_than_without_the_feature(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = with_tasks(make_app(heartbeat=30.0, heartbeat_ttl=90.0, grace=31.0))

    async with fleet(app) as (worker,):
        await app.results([await app.named("plain").enqueue()], timeout=5)
        await idle(worker)
        before = calls(raw)
        for _ in range(20):
            job = await app.named("plain").enqueue()
            await job.result(timeout=5)
            await idle(worker)
        ran = since(raw, before)

    assert ran.get("srandmember", 0) <= 2
    assert ran.get("client|unblock", 0) == 0
    assert ran["blpop"] <= 21
    assert ran["evalsha"] <= 20 * 4 + 2  # enqueue, claim, ack, and the handle's watch


async def test_jobs_take_as_many_slots_as_they_cost(make_app: MakeApp) -> None:
    app, most = make_app(concurrency=10), 0
    taken = 0

    @app.task(cost=4)
    async def heavy() -> None:
        nonlocal taken, most
        taken += 4
        most = max(most, taken)
        await take(0.02)
        taken -= 4

    @app.task
    async def light() -> None:
        nonlocal taken, most
        taken += 1
        most = max(most, taken)
        await take(0.02)
        taken -= 1

    async with app, working(app) as worker:
        jobs = await app.enqueue_many(
            call for n in range(20) for call in (heavy.s(), light.s(), light.s())
        )
        await app.results(jobs, timeout=20)
        assert worker.runner.taken == 0

    assert 8 <= most <= 10


async def test_a_job_that_costs_more_than_a_worker_has_runs_alone_there(make_app: MakeApp) -> None:
    app, alone = make_app(concurrency=4), []
    running = 0

    @app.task(cost=50)
    async def huge() -> None:
        alone.append(running)
        await take(0.05)
        alone.append(running)

    @app.task
    async def light() -> None:
        nonlocal running
        running += 1
        await take(0.01)
        running -= 1

    async with app, working(app):
        jobs = await app.enqueue_many(light.s() for _ in range(10))
        jobs.append(await huge.enqueue())
        jobs += await app.enqueue_many(light.s() for _ in range(10))
        await app.results(jobs, timeout=20)

    assert alone == [0, 0]


async def test_a_job_that_does_not_fit_makes_nobody_spin_and_starts_when_slots_are_free(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    """Two workers wake one another, as the other may have room; each has one slot taken."""
    apps, go = [make_app(concurrency=4, provides=label) for label in ("a", "b")], asyncio.Event()
    for app in apps:

        @app.task(name="hold")
        async def hold() -> None:
            await go.wait()

        @app.task(name="heavy", cost=4)
        async def heavy() -> None: ...

    async with fleet(*apps) as workers:
        for worker, label in zip(workers, "ab", strict=True):
            await apps[0].named("hold").options(requires=label).enqueue()
            await eventually(lambda worker=worker: len(worker.runner.running) == 1)
        job = await apps[0].named("heavy").enqueue()
        await eventually(lambda: all(worker.lines[0].barren > 2 for worker in workers))
        before = calls(raw)
        await take(1.0)
        asked = since(raw, before).get("evalsha", 0)
        assert (await job.info()).state == "ready"
        go.set()
        began = time.monotonic()
        await job.result(timeout=10)

    assert time.monotonic() - began < SOON
    assert asked < 100


async def test_the_roster_says_what_a_worker_provides_and_who_is_missing(
    make_app: MakeApp, namespace: str
) -> None:
    app = with_tasks(make_app(provides="gpu"))

    async with fleet(app) as (worker,):
        (view,) = await Inspector(worker.store, namespace).workers()

    assert view.provides == {"gpu"}
    assert (view.slots, view.taken) == (view.concurrency, 0)
