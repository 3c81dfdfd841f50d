"""Deadlines that are looked at before and after: admission, and what a run hands down to its
children and retries.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from taskq import Context, DeadlineUnreachable, Job, JobExpired, JobFailed, TaskQ
from taskq.errors import InvalidOption
from taskq.keys import QueueKeys
from tests.integration.workers import working


def measured(app: TaskQ, raw: redis.Redis, mean_ms: float, slots: int) -> None:
    """As if workers had told how long runs take and how many they run at a time."""
    keys = QueueKeys(app.settings.namespace, "default")
    raw.hset(keys.prefix + "averages", mapping={"*": mean_ms, "work": mean_ms})
    raw.hset(keys.meta, mapping={"slots": slots, "reaped_ms": round(time.time() * 1000)})


def unmeasured(app: TaskQ, raw: redis.Redis) -> None:
    raw.delete(QueueKeys(app.settings.namespace, "default").prefix + "averages")


@pytest.fixture
def busy(app: TaskQ, raw: redis.Redis) -> Any:
    """A queue with 100 jobs of a second each, for ten slots: ten seconds of work."""

    @app.task
    async def work(n: int = 0) -> int:
        return n

    async def fill() -> tuple[Any, list[Job[int]]]:
        jobs = await app.enqueue_many([work.s(n) for n in range(100)])
        measured(app, raw, 1000, 10)
        return work, jobs

    return fill


async def end(app: TaskQ, raw: redis.Redis, jobs: list[Job[int]]) -> None:
    for job in jobs:
        await job.cancel()
    unmeasured(app, raw)


async def test_a_job_that_is_let_in_knows_when_it_will_start(
    app: TaskQ, raw: redis.Redis, busy: Any
) -> None:
    async with app:
        work, jobs = await busy()
        plain = await work.enqueue()
        predicted = await work.options(admit="reject", deadline=3600).enqueue()
        urgent = await work.options(admit="warn", priority=9).enqueue()
        later = await work.options(admit="warn", delay=60).enqueue()
        now = datetime.now(UTC)

        assert plain.predicted_start is None
        assert _near(predicted.predicted_start, now + timedelta(seconds=10.1))
        assert _near(urgent.predicted_start, now)
        assert _near(later.predicted_start, now + timedelta(seconds=60))
        await end(app, raw, [*jobs, plain, predicted, urgent, later])


def _near(moment: datetime | None, wanted: datetime) -> bool:
    return moment is not None and abs((moment - wanted).total_seconds()) < 5


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])
async def test_reject_refuses_what_would_start_after_its_deadline(
    app: TaskQ, raw: redis.Redis, busy: Any, blocking: bool
) -> None:
    async with app:
        work, jobs = await busy()
        hopeless = work.options(admit="reject", deadline=1, priority=0)
        before = raw.dbsize()

        sending = asyncio.to_thread(hopeless.enqueue_sync) if blocking else hopeless.enqueue()
        with pytest.raises(DeadlineUnreachable, match="after its deadline") as caught:
            await sending

        error = caught.value
        assert error.predicted_start is not None
        assert error.deadline is not None
        assert error.predicted_start > error.deadline
        assert raw.dbsize() == before
        await end(app, raw, jobs)


async def test_of_sends_that_travel_together_only_the_late_one_is_refused(
    app: TaskQ, raw: redis.Redis, busy: Any
) -> None:
    async with app:
        work, jobs = await busy()
        hopeless = work.options(admit="reject", deadline=1, priority=0)

        sent = await asyncio.gather(
            work.enqueue(1), hopeless.enqueue(), work.enqueue(2), return_exceptions=True
        )

        assert [type(one).__name__ for one in sent] == ["Job", "DeadlineUnreachable", "Job"]
        with pytest.raises(DeadlineUnreachable):
            await app.enqueue_many([work.s(), hopeless.s()])
        await end(app, raw, [*jobs, sent[0], sent[2]])


async def test_warn_says_so_once_and_lets_the_job_in(
    app: TaskQ, raw: redis.Redis, busy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with app:
        work, jobs = await busy()
        with caplog.at_level(logging.WARNING, "taskq.enqueue"):
            late = await work.options(admit="warn", deadline=1, priority=0).enqueue()
            fine = await work.options(admit="warn", deadline=3600, priority=0).enqueue()

        (record,) = caplog.records
        assert late.id in record.message
        assert "after its deadline" in record.message
        await end(app, raw, [*jobs, late, fine])


async def test_a_queue_nobody_has_measured_lets_everything_in(app: TaskQ) -> None:
    @app.task
    async def work() -> None: ...

    async with app:
        job = await work.options(admit="reject", deadline=0.5).enqueue()

        assert _near(job.predicted_start, datetime.now(UTC))
        await job.cancel()


async def deadline_of(job_id: str, app: TaskQ, raw: redis.Redis) -> int | None:
    found: Any = raw.hget(QueueKeys(app.settings.namespace, "default").job(job_id), "deadline_ms")
    return None if found is None else int(found)


@pytest.mark.parametrize("kind", ["async", "thread"])
@pytest.mark.parametrize(
    ("own", "inherits"), [(None, True), (3600, True), (5, False), (timedelta(hours=1), True)]
)
async def test_a_child_does_not_outlive_its_parent(
    app: TaskQ, raw: redis.Redis, kind: str, own: Any, inherits: bool
) -> None:
    @app.task(name="child")
    async def child() -> None: ...

    def options() -> Any:
        when = datetime.now(UTC) + own if isinstance(own, timedelta) else own
        return child.options(deadline=when, delay=1800, on_miss="run")

    async def on_loop() -> str:
        await asyncio.sleep(0)
        return (await options().enqueue()).id  # type: ignore[no-any-return]

    def on_thread() -> str:
        return options().enqueue_sync().id  # type: ignore[no-any-return]

    parent = app.task(name="parent")(on_loop if kind == "async" else on_thread)
    async with app, working(app):
        job = await parent.options(deadline=60).enqueue()
        child_id = await job.result(timeout=10)
        free = await (await parent.enqueue()).result(timeout=10)

        ours = await deadline_of(job.id, app, raw)
        assert (await deadline_of(child_id, app, raw) == ours) is inherits
        assert await deadline_of(free, app, raw) != ours
        for left in (child_id, free):
            await app.job(left).cancel()


async def test_a_child_of_a_parent_that_may_run_late_is_free(app: TaskQ, raw: redis.Redis) -> None:
    @app.task
    async def child() -> None: ...

    @app.task
    async def parent() -> str:
        return (await child.options(delay=60).enqueue()).id

    async with app, working(app):
        job = await parent.options(deadline=60, on_miss="run").enqueue()
        child_id = await job.result(timeout=10)

        assert await deadline_of(child_id, app, raw) is None
        await app.job(child_id).cancel()


async def test_one_run_does_not_hand_its_deadline_to_the_next(app: TaskQ, raw: redis.Redis) -> None:
    @app.task
    async def child() -> None: ...

    @app.task
    def parent() -> str:
        return child.options(delay=60).enqueue_sync().id

    async with app, working(app):
        for deadline in (60, None, 60, None):
            job = await parent.options(deadline=deadline).enqueue()
            child_id = await job.result(timeout=10)
            assert (await deadline_of(child_id, app, raw) is None) is (deadline is None)
            await app.job(child_id).cancel()


async def test_a_retry_does_not_outlive_its_deadline(app: TaskQ) -> None:
    runs: list[int] = []

    @app.task(retries=100, backoff=0.1)
    async def work(ctx: Context) -> None:
        runs.append(ctx.attempt)
        raise ValueError("again")

    async with app, working(app):
        job = await work.options(deadline=0.5).enqueue()
        with pytest.raises((JobFailed, JobExpired)) as caught:
            await job.result(timeout=10)
        if isinstance(caught.value, JobFailed):
            assert caught.value.reason == "deadline"
        assert 1 <= len(runs) <= 6


def test_what_admits_must_be_a_word_we_know(app: TaskQ) -> None:
    with pytest.raises(InvalidOption, match="admit='maybe'"):
        app.named("t").options(admit="maybe")  # type: ignore[arg-type]


PROCESS_APP = """
from taskq import TaskQ

app = TaskQ()


@app.task
async def child() -> None: ...


@app.task(executor="process")
def parent() -> str:
    return child.options(delay=60).enqueue_sync().id
"""


async def test_a_child_enqueued_in_a_process_inherits_too(
    server: Any, namespace: str, tmp_path: Path, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "process_family.py").write_text(PROCESS_APP)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TASKQ_REDIS_URL", server.url)
    monkeypatch.setenv("TASKQ_NAMESPACE", namespace)
    monkeypatch.setenv("TASKQ_PROCESS_SLOTS", "1")
    import importlib

    module = importlib.import_module("process_family")
    app: TaskQ = module.app
    try:
        async with app, working(app):
            job = await module.parent.options(deadline=60).enqueue()
            child_id = await job.result(timeout=30)

            wanted = await deadline_of(job.id, app, raw)
            assert wanted is not None
            assert await deadline_of(child_id, app, raw) == wanted
            await app.job(child_id).cancel()
    finally:
        sys.modules.pop("process_family")
