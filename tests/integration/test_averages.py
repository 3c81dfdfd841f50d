"""Workers measure their runs, and a queue knows how long each task takes."""

from __future__ import annotations

import pytest
import redis

from taskq import TaskQ
from taskq.errors import JobFailed
from taskq.keys import QueueKeys
from tests.helpers import eventually
from tests.integration.chores import block, take
from tests.integration.workers import working


def read(raw: redis.Redis, key: str) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in raw.hgetall(key).items()}  # type: ignore[union-attr]


async def test_a_queue_learns_how_long_its_tasks_take(
    app: TaskQ, raw: redis.Redis, namespace: str
) -> None:
    @app.task
    async def nap() -> None:
        await take(0.05)

    @app.task
    def doze() -> None:
        block(0.02)

    @app.task(retries=0)
    async def fails() -> None:
        await take(0.01)
        raise ValueError("no")

    keys = QueueKeys(namespace, "default")
    async with app, working(app):
        jobs = [await one.enqueue() for one in (nap, nap, doze, fails)]
        for job in jobs[:3]:
            await job.result(timeout=5)
        await eventually(lambda: set(read(raw, keys.averages)) == {"nap", "doze", "fails", "*"})

    found = {name: float(ms) for name, ms in read(raw, keys.averages).items()}
    assert found["nap"] >= 50
    assert found["doze"] >= 20
    assert found["fails"] >= 10
    assert min(found.values()) <= found["*"] <= max(found.values())
    assert read(raw, keys.slacks) == {}


async def test_a_worker_that_lives_for_one_beat_only_tells_what_it_measured(
    app: TaskQ, raw: redis.Redis, namespace: str
) -> None:
    @app.task
    async def noop() -> None: ...

    async with app:
        for _ in range(20):
            await noop.enqueue()
        async with working(app, burst=True):
            await eventually(lambda: raw.zcard(QueueKeys(namespace, "default").done) == 20)

    assert set(read(raw, QueueKeys(namespace, "default").averages)) == {"noop", "*"}


async def test_slack_and_late_runs_are_counted_by_task(
    app: TaskQ, raw: redis.Redis, namespace: str
) -> None:
    @app.task(retries=0)
    async def nap(seconds: float) -> None:
        await take(seconds)

    keys = QueueKeys(namespace, "default")
    async with app, working(app):
        in_time = await nap.options(deadline=60).enqueue(0.0)
        too_long = await nap.options(deadline=0.2).enqueue(30.0)
        past = await nap.options(deadline=0.01, on_miss="run").enqueue(0.05)
        await in_time.result(timeout=5)
        await past.result(timeout=5)
        with pytest.raises(JobFailed, match="deadline"):
            await too_long.result(timeout=5)
        await eventually(lambda: "late=2" in read(raw, keys.slacks).get("nap", ""))

    words = dict(word.split("=") for word in read(raw, keys.slacks)["nap"].split())
    assert words["jobs"] == "3"
    assert 50_000 < int(words["sum_ms"]) <= 60_210
    assert int(words["least_ms"]) <= 10


async def test_a_queue_knows_the_slots_of_its_workers(
    app: TaskQ, raw: redis.Redis, namespace: str
) -> None:
    @app.task
    async def noop() -> None: ...

    keys = QueueKeys(namespace, "default")
    async with app, working(app) as worker:
        slots = worker.settings.concurrency
        await eventually(lambda: raw.hget(keys.meta, "slots") == str(slots).encode())
        async with working(app):
            await eventually(lambda: raw.hget(keys.meta, "slots") == str(2 * slots).encode())
        await eventually(lambda: raw.hget(keys.meta, "slots") == str(slots).encode())
