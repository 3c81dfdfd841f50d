"""Options of jobs and tasks, each seen in what the job does: order, times, deadlines, retries,
lifetimes.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from taskq import Backoff, Context, JobExpired, JobFailed, ResultExpired, TaskQ
from taskq.keys import QueueKeys
from taskq.task import AsyncTask
from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.workers import working


@pytest.fixture
def ran() -> list[str]:
    """What `noted` tasks have written, in order."""
    return []


def noted(app: TaskQ, ran: list[str], **options: Any) -> AsyncTask[[str], None]:
    async def note(word: str) -> None:
        ran.append(word)

    return app.task(**options)(note)


async def test_the_more_urgent_priority_starts_first(make_app: MakeApp, ran: list[str]) -> None:
    app = make_app(concurrency=1)
    note = noted(app, ran)
    async with app:
        jobs = [
            await note.options(priority=priority).enqueue(str(priority))
            for priority in (5, 0, 9, 3, 8)
        ]

        async with working(app):
            await app.results(jobs, timeout=5)

    assert ran == ["9", "8", "5", "3", "0"]


async def test_a_near_deadline_passes_jobs_that_have_none(
    make_app: MakeApp, ran: list[str]
) -> None:
    app = make_app(concurrency=1)
    note = noted(app, ran)
    async with app:
        jobs = [
            await note.enqueue("none"),
            await note.options(deadline=30).enqueue("30 s"),
            await note.options(deadline=20).enqueue("20 s"),
            await note.options(deadline=datetime.now(UTC) + timedelta(seconds=10)).enqueue("10 s"),
            await note.options(priority=6).enqueue("urgent"),
        ]

        async with working(app):
            await app.results(jobs, timeout=5)

    assert ran == ["urgent", "10 s", "20 s", "30 s", "none"]


async def test_a_delayed_job_waits_for_its_time(app: TaskQ, ran: list[str]) -> None:
    note = noted(app, ran)
    async with app, working(app):
        began = time.monotonic()
        later = await note.options(delay=0.3).enqueue("later")
        at = await note.options(at=datetime.now(UTC) + timedelta(seconds=0.15)).enqueue("at")
        past = await note.options(at=datetime.now(UTC) - timedelta(hours=1)).enqueue("past")

        assert (await later.info()).state == "scheduled"
        await past.result(timeout=5)
        await at.result(timeout=5)
        await later.result(timeout=5)

    assert ran == ["past", "at", "later"]
    assert time.monotonic() - began >= 0.3


async def test_a_time_in_the_call_replaces_a_delay_of_the_task_and_the_other_way_round(
    app: TaskQ, ran: list[str]
) -> None:
    slow = noted(app, ran, delay=3600)
    async with app, working(app):
        job = await slow.options(at=datetime.now(UTC)).enqueue("now")
        await job.result(timeout=5)
        other = await slow.options(delay=0).enqueue("at once")
        await other.result(timeout=5)

    assert ran == ["now", "at once"]


@pytest.mark.parametrize("relative", [True, False])
async def test_a_job_past_its_deadline_expires_unrun(
    app: TaskQ, ran: list[str], relative: bool
) -> None:
    note = noted(app, ran)
    deadline = 0.05 if relative else datetime.now(UTC) + timedelta(seconds=0.05)
    async with app:
        job = await note.options(deadline=deadline).enqueue("late")
        seen = (await job.info()).deadline
        assert seen is not None
        await eventually(lambda: datetime.now(UTC) > seen + timedelta(milliseconds=5))

        async with working(app):
            with pytest.raises(JobExpired, match="missed its deadline"):
                await job.result(timeout=5)

        assert (await job.info()).reason == "deadline"
    assert ran == []


@pytest.mark.parametrize("where", ["call", "task"])
async def test_a_late_job_with_on_miss_run_runs_all_the_same(
    app: TaskQ, ran: list[str], where: str
) -> None:
    note = noted(app, ran, **({"on_miss": "run"} if where == "task" else {}))
    async with app:
        call = note.options(deadline=0.02, **({"on_miss": "run"} if where == "call" else {}))
        job = await call.enqueue("late")
        due = (await job.info()).deadline
        assert due is not None
        await eventually(lambda: datetime.now(UTC) > due + timedelta(milliseconds=5))

        async with working(app):
            await job.result(timeout=5)

    assert ran == ["late"]


async def test_a_deadline_bounds_the_run_and_kills_the_job_for_good(app: TaskQ) -> None:
    @app.task(retries=5)
    async def slow() -> None:
        await take(30)

    async with app, working(app):
        job = await slow.options(deadline=0.3).enqueue()

        with pytest.raises(JobFailed, match="DeadlinePassed") as caught:
            await job.result(timeout=5)

        assert caught.value.reason == "deadline"


async def test_a_retry_that_would_come_after_the_deadline_is_not_waited_for(app: TaskQ) -> None:
    @app.task(retries=5, backoff=60)
    async def fail() -> None:
        raise ValueError("no")

    async with app, working(app):
        job = await fail.options(deadline=10).enqueue()

        with pytest.raises(JobFailed, match="ValueError: no") as caught:
            await job.result(timeout=5)

        assert caught.value.reason == "deadline"


async def test_a_timeout_of_the_call_wins_over_the_tasks(app: TaskQ) -> None:
    @app.task(timeout=60, retries=0)
    async def slow() -> None:
        await take(30)

    async with app, working(app):
        job = await slow.options(timeout=0.2).enqueue()

        with pytest.raises(JobFailed, match=r"TaskTimeout: ran longer than 0\.2 s"):
            await job.result(timeout=5)


async def test_a_timeout_is_an_attempt_and_is_tried_again(app: TaskQ) -> None:
    @app.task(timeout=0.2, retries=1, backoff=0)
    async def slow_once(ctx: Context) -> int:
        if ctx.attempt == 1:
            await take(30)
        return ctx.attempt

    async with app, working(app):
        assert await (await slow_once.enqueue()).result(timeout=5) == 2


@pytest.mark.parametrize("given", ["task", "call"])
async def test_retries_are_counted_and_the_last_error_is_kept(app: TaskQ, given: str) -> None:
    runs = []

    @app.task(retries=2 if given == "task" else 9, backoff=0)
    async def fail(ctx: Context) -> None:
        runs.append(ctx.attempt)
        raise KeyError(f"run {ctx.attempt}")

    async with app, working(app):
        call = fail if given == "task" else fail.options(retries=2)
        job = await call.enqueue()

        with pytest.raises(JobFailed) as caught:
            await job.result(timeout=5)

        info = await job.info()
    assert runs == [1, 2, 3]
    assert (caught.value.reason, caught.value.error) == ("failed", "KeyError: 'run 3'")
    assert "in fail" in caught.value.traceback
    assert (info.attempt, info.crashes, info.state) == (3, 0, "dead")


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (0.2, (0.2, 0.2)),
        ([0.1, 0.3], (0.1, 0.3)),
        (Backoff(base=0.1, factor=3, jitter=False), (0.1, 0.3)),
        (Backoff(base=0.1, factor=9, cap=0.2, jitter=False), (0.1, 0.2)),
    ],
)
@pytest.mark.parametrize("server", ["valkey"], indirect=True)
async def test_each_kind_of_backoff_waits_as_long_as_it_says(
    app: TaskQ, backoff: Any, waits: tuple[float, ...]
) -> None:
    starts: list[float] = []

    @app.task(retries=2)
    async def fail() -> None:
        starts.append(time.monotonic())
        raise ValueError("no")

    async with app, working(app):
        with pytest.raises(JobFailed):
            await (await fail.options(backoff=backoff).enqueue()).result(timeout=5)

    measured = [later - earlier for earlier, later in itertools.pairwise(starts)]
    for wait, waited in zip(waits, measured, strict=True):
        assert wait - 0.01 <= waited < wait + 0.15


async def test_a_callable_of_the_task_decides_how_long_to_wait(app: TaskQ) -> None:
    asked = []

    def wait(attempt: int, error: BaseException) -> float:
        asked.append((attempt, str(error)))
        return 0.01

    @app.task(retries=2, backoff=wait)
    async def fail() -> None:
        raise ValueError("no")

    async with app, working(app):
        with pytest.raises(JobFailed):
            await (await fail.enqueue()).result(timeout=5)

    assert asked == [(1, "no"), (2, "no")]


async def test_a_backoff_rule_that_fails_does_not_lose_the_job(
    app: TaskQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.worker.policy.DEFAULT_BACKOFF", Backoff(base=0.01))

    def wait(attempt: int, error: BaseException) -> float:
        raise RuntimeError("broken rule")

    @app.task(retries=1, backoff=wait)
    async def fail() -> None:
        raise ValueError("no")

    async with app, working(app):
        with pytest.raises(JobFailed, match="ValueError: no"):
            await (await fail.enqueue()).result(timeout=5)


@pytest.mark.parametrize("given", ["task", "call"])
async def test_only_the_named_errors_and_their_children_are_tried_again(
    app: TaskQ, given: str
) -> None:
    runs: list[str] = []

    @app.task(retries=2, backoff=0, retry_on=LookupError if given == "task" else OSError)
    async def fail(kind: str) -> None:
        runs.append(kind)
        raise {"key": KeyError, "value": ValueError}[kind]("no")

    call = fail if given == "task" else fail.options(retry_on=(LookupError, TimeoutError))
    async with app, working(app):
        jobs = [await call.enqueue("key"), await call.enqueue("value")]
        reasons = []
        for job in jobs:
            with pytest.raises(JobFailed) as caught:
                await job.result(timeout=5)
            reasons.append(caught.value.reason)

    assert sorted(runs) == ["key", "key", "key", "value"]
    assert reasons == ["failed", "not_retried"]


@pytest.mark.parametrize("given", ["task", "call"])
async def test_a_result_ttl_of_zero_leaves_no_key_behind(
    app: TaskQ, raw: redis.Redis, namespace: str, given: str
) -> None:
    @app.task(result_ttl=0 if given == "task" else 60)
    async def quiet() -> int:
        return 1

    keys = QueueKeys(namespace, "default")
    async with app, working(app):
        job = await (quiet if given == "task" else quiet.options(result_ttl=0)).enqueue()
        await eventually(lambda: raw.exists(keys.job(job.id)) == 0)

        assert raw.exists(keys.done) == 0
        with pytest.raises(ResultExpired):
            await job.result(timeout=5)


async def test_a_waiter_gets_the_result_that_is_not_kept(app: TaskQ) -> None:
    go = asyncio.Event()

    @app.task(result_ttl=0)
    async def quiet() -> int:
        await go.wait()
        return 7

    async with app, working(app):
        job = await quiet.enqueue()
        waiting = asyncio.ensure_future(job.result(timeout=5))
        await eventually(lambda: _has_waiter(job))

        go.set()

        assert await waiting == 7


async def _has_waiter(job: Any) -> bool:
    return "waiters" in (await job.info()).fields


async def test_a_result_is_kept_as_long_as_its_ttl_says(app: TaskQ) -> None:
    @app.task
    async def one() -> int:
        return 1

    async with app, working(app):
        job = await one.options(result_ttl=0.3).enqueue()
        assert await job.result(timeout=5) == 1

        async def expired() -> bool:
            try:
                return not await job.result(timeout=5)
            except ResultExpired:
                return True

        await eventually(expired)


async def test_headers_travel_to_the_context(app: TaskQ) -> None:
    @app.task(headers={"who": "task"})
    async def read(ctx: Context) -> dict[str, str]:
        return ctx.headers

    async with app, working(app):
        own = await read.enqueue()
        call = await read.options(headers={"trace-id": "\u20ac 7"}).enqueue()

        assert await own.result(timeout=5) == {"who": "task"}
        assert await call.result(timeout=5) == {"trace-id": "\u20ac 7"}


async def test_options_can_be_given_in_steps_and_the_last_wins(app: TaskQ) -> None:
    @app.task(queue="left", priority=2)
    async def one(ctx: Context) -> str:
        return ctx.queue

    async with app, working(app, queues=["left", "right"]):
        job = await one.options(priority=7).options(queue="right").options(priority=8).enqueue()

        assert await job.result(timeout=5) == "right"
        assert (await job.info()).priority == 8
