"""`await job.explain()`: every reason for which a job may not be running, on a real server."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
import redis

from taskq import JobFailed, JobNotFound, Limit, TaskQ, commands
from taskq.commands import NewJob
from taskq.errors import InvalidName
from taskq.handle import Job
from taskq.keys import QueueKeys, SharedKeys
from taskq.views import Explanation
from tests.helpers import eventually
from tests.integration.conftest import MakeApp
from tests.integration.workers import working

pytestmark = pytest.mark.keeps_keys("explains jobs that wait")


@pytest.fixture
def keys(namespace: str) -> QueueKeys:
    return QueueKeys(namespace, "default")


async def becomes(job: Job[object], code: str, timeout: float = 10.0) -> Explanation:
    """The explanation, once `code` is among its reasons."""
    seen: list[Explanation] = []

    async def look() -> bool:
        seen[:] = [await job.explain()]
        return code in seen[0].codes

    try:
        await eventually(look, timeout=timeout, what=code)
    except AssertionError as error:
        raise AssertionError(f"{error}; it says {seen[0]}") from None
    json.dumps([one.details for one in seen[0].reasons])
    return seen[0]


async def send(
    app: TaskQ,
    keys: QueueKeys,
    job_id: str,
    *,
    priority: int = 5,
    job_class: str = "",
    **extras: str,
) -> Job[object]:
    """A job of task `nap` with fields that the scripts read."""
    words = tuple(word for pair in extras.items() for word in pair)
    job = NewJob(
        job_id, "nap", app.codec.encode_call((), {}, limit=1000), priority, "", "", job_class, words
    )
    call = commands.enqueue(keys, [job], max_jobs=100, all_or_none=True)
    await app.client.store.run(call)
    return app.job(job_id)


def napping(app: TaskQ) -> Callable[[], Awaitable[None]]:
    """The task `nap`; it goes on until the event that is returned is set."""
    done = asyncio.Event()

    @app.task(retries=0)
    async def nap() -> None:
        await done.wait()

    async def release() -> None:
        done.set()

    return release


async def test_there_is_no_such_job(app: TaskQ) -> None:
    async with app:
        with pytest.raises(JobNotFound, match="no job 'none' in queue 'default'"):
            await app.job("none").explain()
        with pytest.raises(InvalidName):
            await app.explain("no queue", "none")


async def test_nobody_serves_the_queue_and_it_is_behind_others(app: TaskQ) -> None:
    napping(app)
    async with app:
        first = await app.enqueue("nap")
        second = await app.enqueue("nap")

        found = await second.explain()
        assert found.codes == ("no_worker", "behind")
        assert found.reasons[1].details["ahead"] == 1
        assert "taskq worker APP -q default" in found.remedies[0]
        assert "1 job goes first" in str(found)
        assert found.predicted_start is None
        assert (await first.explain()).codes == ("no_worker", "next")


async def test_the_blocking_side_says_the_same(app: TaskQ) -> None:
    napping(app)
    async with app:
        job = await app.enqueue("nap")
        found = await asyncio.to_thread(job.explain_sync)
        assert (found.id, found.queue, found.task) == (job.id, "default", "nap")
        assert found == await job.explain()


async def test_no_worker_knows_the_task(app: TaskQ, make_app: MakeApp) -> None:
    napping(app)
    other = make_app()
    async with app, other, working(app):
        job = await other.named("elsewhere").enqueue()
        found = await becomes(job, "no_worker_with_task")

    assert "'elsewhere'" in found.remedies[0]


async def test_no_worker_provides_the_label_or_has_processes(app: TaskQ, keys: QueueKeys) -> None:
    release = napping(app)
    async with app, working(app):
        on_gpu = await send(app, keys, "g", job_class="gpu")
        found = await becomes(on_gpu, "no_worker_with_label")
        assert found.reasons[0].details["missing"] == ["gpu"]
        assert "--provides gpu" in found.remedies[0]

        in_process = await send(app, keys, "p", job_class="process")
        await becomes(in_process, "no_worker_with_process")
        await release()


async def test_the_parts_of_a_class_are_there_but_nobody_has_all(
    app: TaskQ, make_app: MakeApp, keys: QueueKeys
) -> None:
    napping(app)
    one, two = make_app(provides=("a",)), make_app(provides=("b",))
    napping(one)
    napping(two)
    async with app, one, two, working(one), working(two):
        job = await send(app, keys, "ab", job_class="a+b")
        found = await becomes(job, "no_worker_with_all")

    assert "a and b together" in found.remedies[0]


async def test_the_queue_is_paused(app: TaskQ, keys: QueueKeys) -> None:
    release = napping(app)
    async with app, working(app):
        await app.client.store.run(commands.pause(keys))
        job = await app.enqueue("nap")

        found = await becomes(job, "queue_paused")
        assert found.remedies == ("`taskq queue resume default`",)
        assert found.predicted_start is None
        await app.client.store.run(commands.resume(keys))
        await becomes(job, "running")
        await release()


@pytest.mark.parametrize(("kind", "whose"), [("task", "nap"), ("group", "acme")])
async def test_its_task_or_group_is_paused(
    app: TaskQ, raw: redis.Redis, keys: QueueKeys, kind: str, whose: str
) -> None:
    napping(app)
    async with app, working(app):
        await (app.pause_task("nap") if kind == "task" else app.pause_group("acme"))
        job = await send(app, keys, "a", group="acme")
        await eventually(lambda: raw.hget(keys.job("a"), "state") == b"blocked")
        found = await job.explain()

    assert found.codes == (f"{kind}_paused",)
    assert found.remedies == (f"`taskq queue resume default --{kind} {whose}`",)
    assert found.state == "blocked"


async def test_its_task_is_struck(app: TaskQ, raw: redis.Redis, keys: QueueKeys) -> None:
    napping(app)
    async with app:
        job = await app.enqueue("nap")
        await app.strike("nap")
        found = await job.explain()

    assert found.codes[:2] == ("task_struck", "no_worker"), str(found)
    assert found.remedies[0] == "`taskq task unstrike nap -q default`"


async def test_a_limit_is_full_and_says_who_holds_it(
    app: TaskQ, raw: redis.Redis, keys: QueueKeys
) -> None:
    release = napping(app)
    async with app, working(app) as worker:
        await app.set_limit(Limit("db", concurrency=1))
        first = await app.enqueue("nap")
        await becomes(first, "running")
        waiting = [await app.enqueue("nap") for _ in range(3)]
        await eventually(lambda: raw.zcard(keys.prefix + "parked:db") == 3)
        found = await waiting[2].explain()

        assert found.codes == ("limit_concurrency",)
        details = found.reasons[0].details
        assert (details["instance"], details["holding"], details["concurrency"]) == ("db", 1, 1)
        assert details["holders"] == [{"id": first.id, "worker": worker.id, "task": "nap"}]
        assert (details["parked"], details["parked_before"]) == (3, 2)
        assert "behind 2 jobs, for limit db: 1 of 1 run" in found.sentence
        await release()
        for job in waiting:
            await job.result(timeout=5)


async def test_a_ready_job_is_told_of_a_limit_that_will_block_it(
    app: TaskQ, raw: redis.Redis, keys: QueueKeys
) -> None:
    napping(app)
    raw.sadd(keys.prefix + "holding:db", "x")
    async with app:
        await app.set_limit(Limit("db", concurrency=1), on="task.nap")
        job = await app.enqueue("nap")
        found = await job.explain()

    assert found.codes == ("limit_concurrency", "no_worker", "next")
    assert found.reasons[0].details["blocks"] is False
    assert "when its turn comes" in found.sentence


async def test_a_rate_lets_the_next_one_start_later(
    app: TaskQ, raw: redis.Redis, keys: QueueKeys
) -> None:
    release = napping(app)
    async with app, working(app):
        await app.set_limit(Limit("mail", rate="6/h"), on="job")
        first = await send(app, keys, "a", limits="mail")
        await becomes(first, "running")
        second = await send(app, keys, "b", limits="mail")
        found = await becomes(second, "limit_rate")

        assert "limit mail: the next may start in " in found.sentence
        left = found.reasons[0].details["until_ms"] / 1000 - time.time()  # type: ignore[operator]
        assert 500 < left < 700
        await release()


async def test_a_template_is_named_with_its_instance(
    app: TaskQ, raw: redis.Redis, keys: QueueKeys
) -> None:
    release = napping(app)
    async with app, working(app):
        await app.set_limit(Limit("tenant:{tenant}", concurrency=1))
        first = await send(app, keys, "a", limits="tenant:{tenant}|tenant:acme")
        await becomes(first, "running")
        second = await send(app, keys, "b", limits="tenant:{tenant}|tenant:acme")
        await eventually(lambda: raw.hget(keys.job("b"), "state") == b"blocked")
        details = (await second.explain()).reasons[0].details

        assert (details["limit"], details["instance"]) == ("tenant:{tenant}", "tenant:acme")
        assert details["concurrency"] == 1
        await release()


async def test_the_job_before_it_runs_under_the_same_key(
    app: TaskQ, raw: redis.Redis, keys: QueueKeys
) -> None:
    release = napping(app)
    async with app, working(app):
        first = await send(app, keys, "a", limits="key:report")
        await becomes(first, "running")
        second = await send(app, keys, "b", limits="key:report")
        await eventually(lambda: raw.hget(keys.job("b"), "state") == b"blocked")
        found = await second.explain()

        assert found.codes == ("key_running",)
        assert found.remedies == ("`taskq job cancel a` stops it",)
        await release()


async def test_a_limit_that_has_room_again_is_no_reason_for_long(
    app: TaskQ, raw: redis.Redis, keys: QueueKeys
) -> None:
    napping(app)
    async with app:
        await app.set_limit(Limit("db", concurrency=1))
        job = await app.enqueue("nap")
        raw.zrem(keys.ready, job.id)
        raw.hset(keys.job(job.id), mapping={"state": "blocked", "blocked_by": "db"})
        raw.zadd(keys.prefix + "parked:db", {job.id: 1})
        assert (await job.explain()).codes == ("limit_free", "no_worker")

        raw.hdel(keys.job(job.id), "blocked_by")
        assert (await job.explain()).codes == ("moving", "no_worker")


async def test_it_waits_for_its_time(app: TaskQ) -> None:
    @app.task(retries=1, backoff=600)
    async def fails() -> None:
        raise ValueError("paper jam")

    async with app, working(app):
        later = await fails.options(delay=3600).enqueue()
        found = await later.explain()
        assert found.codes == ("scheduled",)
        assert "due in " in found.sentence
        assert found.predicted_start is not None

        again = await becomes(await fails.enqueue(), "retry")
        assert "waiting to retry after 1 failures" in again.sentence
        assert "paper jam" in again.sentence


async def test_it_runs_and_is_asked_to_stop(app: TaskQ, raw: redis.Redis, keys: QueueKeys) -> None:
    go = threading.Event()

    @app.task
    def block() -> None:
        go.wait(20)

    async with app, working(app) as worker:
        job = await block.enqueue()
        found = await becomes(job, "running")
        assert worker.id in found.sentence
        assert found.predicted_start is not None

        await job.cancel()
        assert "cancel_asked" in (await job.explain()).codes
        go.set()


async def test_its_worker_is_silent(app: TaskQ, raw: redis.Redis, keys: QueueKeys) -> None:
    napping(app)
    async with app:
        job = await app.enqueue("nap")
        raw.zrem(keys.ready, job.id)
        raw.hset(
            keys.job(job.id),
            mapping={"state": "running", "worker": "w1", "started_ms": 5, "token": 1},
        )
        raw.zadd(keys.running("w1"), {job.id: 5})
        assert (await job.explain()).codes == ("running", "worker_silent")
        raw.sadd(keys.holders, "w1")
        assert "that worker is silent" in str(await job.explain())


async def test_all_workers_are_busy(make_app: MakeApp) -> None:
    app = make_app(concurrency=1)
    release = napping(app)
    async with app, working(app):
        first = await app.enqueue("nap")
        await becomes(first, "running")
        second = await app.enqueue("nap")
        found = await becomes(second, "workers_busy")

        assert found.codes == ("workers_busy", "next")
        await release()


async def test_the_policy_was_changed(app: TaskQ, raw: redis.Redis, keys: QueueKeys) -> None:
    napping(app)
    async with app:
        job = await app.enqueue("nap")
        raw.zrem(keys.ready, job.id)
        raw.zadd(keys.prefix + "turned", {job.id: 7})
        assert "policy_changed" in (await job.explain()).codes


async def test_jobs_of_other_classes_go_first_when_a_worker_serves_both(
    make_app: MakeApp, raw: redis.Redis, keys: QueueKeys
) -> None:
    app = make_app(provides=("gpu",), concurrency=1)
    release = napping(app)
    async with app, working(app):
        await becomes(await app.enqueue("nap"), "running")
        await send(app, keys, "g1", job_class="gpu", priority=6)
        await send(app, keys, "tpu", job_class="tpu", priority=6)
        await send(app, keys, "g2", job_class="gpu", priority=6)
        raw.hset(keys.averages, "*", "500")
        common = await app.enqueue("nap")
        found = await becomes(common, "behind")

        details = found.reasons[-1].details
        assert (details["ahead"], details["ahead_of_its_class"]) == (2, 0)
        assert found.predicted_start is not None
        await release()


async def test_it_has_ended(app: TaskQ, raw: redis.Redis) -> None:
    @app.task(retries=0)
    async def fails() -> None:
        raise ValueError("paper jam")

    @app.task
    async def noop() -> None: ...

    async with app:
        late = await noop.options(deadline=0.001).enqueue()
        cancelled = await noop.options(delay=99).enqueue()
        await cancelled.cancel()
        async with working(app):
            done, dead = await noop.enqueue(), await fails.enqueue()
            await done.result(timeout=5)
            with pytest.raises(JobFailed):
                await dead.result(timeout=5)
            await becomes(late, "expired")  # type: ignore[arg-type]

        assert (await done.explain()).codes == ("completed",)
        assert (await done.explain()).remedies == ()
        assert (await cancelled.explain()).codes == ("cancelled",)
        found = await dead.explain()
        assert found.codes == ("dead",)
        assert "ValueError: paper jam" in found.sentence
        assert f"taskq job retry {dead.id}" in found.remedies[0]


async def test_a_look_writes_nothing(app: TaskQ, raw: redis.Redis, keys: QueueKeys) -> None:
    napping(app)
    async with app:
        job = await app.enqueue("nap")
        before = raw.info("commandstats")
        await job.explain()
        after = raw.info("commandstats")

    assert sum(after[f"cmdstat_{name}"]["calls"] for name in ("hset", "zadd")) == sum(
        before[f"cmdstat_{name}"]["calls"] for name in ("hset", "zadd")
    )
    assert not raw.exists(SharedKeys(keys.namespace).worker("x"))
