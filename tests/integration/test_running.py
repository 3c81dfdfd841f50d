"""What a running task may do and what it may not: steer its job, know it, report on it, be
stopped, misbehave.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from taskq import Context, Discard, JobFailed, Retry, TaskQ
from taskq.errors import InvalidOption
from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.workers import working


async def test_a_task_can_ask_to_be_run_again_after_a_while(app: TaskQ) -> None:
    @app.task(retries=3, backoff=600)
    async def poll(ctx: Context) -> int:
        if ctx.attempt < 3:
            raise Retry(delay=0.05)
        return ctx.attempt

    async with app, working(app):
        job = await poll.enqueue()

        assert await job.result(timeout=5) == 3
        assert (await job.info()).attempt == 2


async def test_a_retry_without_a_delay_uses_the_tasks_backoff(app: TaskQ) -> None:
    @app.task(retries=1, backoff=0.02)
    def poll(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise Retry(reason="not yet")
        return ctx.attempt

    async with app, working(app):
        assert await (await poll.enqueue()).result(timeout=5) == 2


async def test_asking_for_more_retries_than_there_are_makes_the_job_dead(app: TaskQ) -> None:
    @app.task(retries=1)
    async def poll() -> None:
        raise Retry(delay=0, reason="never")

    async with app, working(app):
        with pytest.raises(JobFailed, match="Retry: never") as caught:
            await (await poll.enqueue()).result(timeout=5)

    assert caught.value.reason == "failed"


async def test_a_task_can_give_its_job_up_at_once(app: TaskQ) -> None:
    @app.task(retries=5)
    async def judge() -> None:
        raise Discard("no such customer")

    async with app, working(app):
        job = await judge.enqueue()
        with pytest.raises(JobFailed, match="no such customer") as caught:
            await job.result(timeout=5)

        assert caught.value.reason == "discarded"
        assert (await job.info()).attempt == 1


async def test_the_context_is_put_where_the_function_wants_it(app: TaskQ) -> None:
    @app.task
    async def first(ctx: Context, a: int, b: int = 2) -> list[object]:
        return [ctx.task, a, b]

    @app.task
    def middle(a: int, ctx: Context, b: int = 2) -> list[object]:
        return [ctx.task, a, b]

    @app.task
    async def last(a: int, b: int = 2, *, ctx: Context) -> list[object]:
        return [ctx.task, a, b]

    @app.task
    def spread(*numbers: int, ctx: Context, **more: int) -> list[object]:
        return [ctx.task, *numbers, *more]

    async with app, working(app):
        for task in (first, middle, last):
            loose: Any = task
            for args, kwargs in (((1,), {}), ((1, 3), {}), ((), {"a": 1}), ((1,), {"b": 4})):
                got = await (await loose.enqueue(*args, **kwargs)).result(timeout=5)
                expected = [task.name, 1, args[1] if len(args) > 1 else kwargs.get("b", 2)]
                assert got == expected
        loose = spread
        assert await (await loose.enqueue(1, 2, x=3)).result(timeout=5) == ["spread", 1, 2, "x"]


async def test_the_context_knows_its_job(app: TaskQ) -> None:
    @app.task
    async def tell(ctx: Context) -> list[object]:
        return [ctx.job_id, ctx.queue, ctx.attempt, ctx.worker_id, ctx.token, ctx.deadline]

    async with app, working(app) as worker:
        job = await tell.options(deadline=60).enqueue()
        got = await job.result(timeout=5)
        info = await job.info()

    assert got[:4] == [job.id, "default", 1, worker.id]
    assert str(got[4]) == info.token
    assert got[5] == info.deadline


async def test_progress_and_its_note_can_be_seen_while_the_job_runs(app: TaskQ) -> None:
    go = asyncio.Event()

    @app.task
    async def work(ctx: Context) -> None:
        await ctx.progress(0.25, "quarter \u00e9" + "x" * 1000)
        await go.wait()

    async with app, working(app):
        job = await work.enqueue()
        await eventually(lambda: _progress(job))

        info = await job.info()

        assert info.progress == 0.25
        assert info.note is not None
        assert info.note.startswith("quarter \u00e9")
        assert len(info.note) == 500
        go.set()
        await job.result(timeout=5)


async def _progress(job: Any) -> bool:
    return (await job.info()).progress is not None


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), "half", None])
async def test_progress_outside_its_range_is_refused(fraction: Any) -> None:
    context = Context(job_id="j", task="t", queue="q", attempt=1, token=1, worker_id="w")

    with pytest.raises(InvalidOption, match="from 0 to 1"):
        await context.progress(fraction)


async def test_the_lifespan_is_entered_once_shared_by_all_and_left_at_the_end(app: TaskQ) -> None:
    events = []

    @app.lifespan
    async def pool(app: TaskQ) -> AsyncIterator[dict[str, int]]:
        events.append("open")
        yield {"pool": 7}
        events.append("close")

    @app.task
    async def read(ctx: Context) -> object:
        return ctx.state["pool"]

    @app.task
    def read_on_thread(ctx: Context) -> object:
        return ctx.state["pool"]

    async with app, working(app):
        jobs = [await read.enqueue(), await read.enqueue(), await read_on_thread.enqueue()]
        assert await app.results(jobs, timeout=5) == [7, 7, 7]
        assert events == ["open"]

    assert events == ["open", "close"]


async def test_a_lifespan_that_fails_ends_the_worker_with_its_error(app: TaskQ) -> None:
    @app.lifespan
    async def pool(app: TaskQ) -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    @app.task
    async def one() -> None: ...

    async with app:
        with pytest.raises(OSError, match="no database"):
            async with working(app):
                pass


async def test_a_thread_is_told_of_its_cancellation_and_ends_by_itself(app: TaskQ) -> None:
    ended = threading.Event()

    @app.task
    def patient(ctx: Context) -> str:
        while not ctx.cancelled:
            threading.Event().wait(0.01)
        ended.set()
        return "stopped early"

    async with app, working(app) as worker:
        job = await patient.enqueue()
        await eventually(lambda: worker.runner.running)

        assert await job.cancel() is False

        await eventually(ended.is_set)
        assert await job.result(timeout=5) == "stopped early"


async def test_a_thread_past_its_timeout_is_left_behind_and_its_slot_replaced(
    make_app: MakeApp,
) -> None:
    app, release = make_app(concurrency=1), threading.Event()
    told = []

    @app.task(timeout=0.2, retries=0)
    def stuck(ctx: Context) -> None:
        release.wait(20)
        told.append(ctx.cancelled)

    @app.task
    def fine() -> str:
        return "fine"

    async with app, working(app) as worker:
        job, after = await stuck.enqueue(), await fine.enqueue()

        with pytest.raises(JobFailed, match="TaskTimeout"):
            await job.result(timeout=5)
        assert await after.result(timeout=5) == "fine"

        assert worker.runner.threads.abandoned == 1
        release.set()
        await eventually(lambda: told)
        assert told == [True]
        assert (await job.info()).state == "dead"


async def test_a_coroutine_that_will_not_be_cancelled_loses_its_slot_after_a_while(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.worker.stopper.STUBBORN", 0.2)
    app, release = make_app(concurrency=1), asyncio.Event()

    @app.task(timeout=0.2, retries=0)
    async def stubborn() -> str:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        return "too late"

    @app.task
    async def fine() -> str:
        return "fine"

    async with app, working(app):
        job, after = await stubborn.enqueue(), await fine.enqueue()

        with pytest.raises(JobFailed, match="TaskTimeout"):
            await job.result(timeout=5)
        assert await after.result(timeout=5) == "fine"
        release.set()
        again = await fine.enqueue()
        assert await again.result(timeout=5) == "fine"
        assert (await job.info()).state == "dead"


async def test_a_coroutine_that_cleans_up_when_timed_out_has_the_time_for_it(app: TaskQ) -> None:
    cleaned = []

    @app.task(timeout=0.2, retries=0)
    async def tidy() -> None:
        try:
            await take(30)
        finally:
            await take(0.1)
            cleaned.append(True)

    async with app, working(app):
        with pytest.raises(JobFailed, match="TaskTimeout"):
            await (await tidy.enqueue()).result(timeout=5)

    assert cleaned == [True]
