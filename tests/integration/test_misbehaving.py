"""Tasks that misbehave: no exception, text, result or lost lease of theirs harms their worker."""

from __future__ import annotations

import contextvars
import threading
from typing import Any

import pytest
import redis

from taskq import Context, JobFailed, TaskQ
from taskq.keys import QueueKeys
from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.workers import working


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
@pytest.mark.parametrize("executor", ["async", "thread"])
@pytest.mark.parametrize("server", ["valkey"], indirect=True)
async def test_no_exception_of_a_task_ends_its_worker(
    app: TaskQ, error: type[BaseException], executor: str
) -> None:
    async def leave() -> None:
        raise error("bye")

    def leave_thread() -> None:
        raise error("bye")

    @app.task
    async def fine() -> int:
        return 1

    leaving: Any = leave if executor == "async" else leave_thread
    task = app.task(name="leave", retries=0)(leaving)
    async with app, working(app):
        job = await task.enqueue()
        with pytest.raises(JobFailed, match=f"{error.__name__}: bye"):
            await job.result(timeout=5)

        assert await (await fine.enqueue()).result(timeout=5) == 1


async def test_errors_with_odd_texts_are_kept_bounded_and_readable(app: TaskQ) -> None:
    class BrokenText(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    odd: dict[str, BaseException] = {
        "long": ValueError("x" * 100_000),
        "surrogate": ValueError("a\udc80b"),
        "broken": BrokenText(),
        "empty": ValueError(),
        "group": ExceptionGroup("several", [ValueError("one"), KeyError("two")]),
    }

    @app.task(retries=0)
    async def fail(kind: str) -> None:
        raise odd[kind]

    texts = {}
    async with app, working(app):
        for kind in odd:
            job = await fail.enqueue(kind)
            with pytest.raises(JobFailed) as caught:
                await job.result(timeout=5)
            texts[kind] = caught.value.error
            assert len(caught.value.traceback) < 10_000

    assert len(texts["long"]) == 2000
    assert texts["surrogate"] == "ValueError: a\\udc80b"
    assert "cannot be shown" in texts["broken"]
    assert texts["empty"] == "ValueError"
    assert texts["group"].startswith("ExceptionGroup: several")


async def test_a_result_that_cannot_travel_or_is_too_large_makes_the_job_dead_without_retries(
    make_app: MakeApp,
) -> None:
    app = make_app(max_result=1000)

    @app.task(retries=5)
    async def produce(kind: str) -> object:
        return {"lock": threading.Lock(), "large": b"x" * 1001, "fits": b"x" * 900}[kind]

    async with app, working(app):
        assert len(await (await produce.enqueue("fits")).result(timeout=5)) == 900  # type: ignore[arg-type]
        for kind, says in (("lock", "SerializationError"), ("large", "PayloadTooLarge")):
            job = await produce.enqueue(kind)
            with pytest.raises(JobFailed, match=says) as caught:
                await job.result(timeout=5)
            assert caught.value.reason == "bad_result"
            assert (await job.info()).attempt == 1


async def test_a_plain_function_that_gives_a_coroutine_is_awaited(app: TaskQ) -> None:
    async def later() -> int:
        return 3

    @app.task
    def indirect() -> Any:
        return later()

    async with app, working(app):
        assert await (await indirect.enqueue()).result(timeout=5) == 3


async def test_what_a_task_sets_in_context_variables_does_not_leak_into_the_next(
    make_app: MakeApp,
) -> None:
    app = make_app(concurrency=1)
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")

    @app.task
    async def leak() -> str:
        seen = variable.get()
        variable.set("dirty")
        return seen

    async with app, working(app):
        seen = [await (await leak.enqueue()).result(timeout=5) for _ in range(3)]

    assert seen == ["clean"] * 3


async def test_running_tasks_can_enqueue_more_and_wait_for_them(app: TaskQ) -> None:
    @app.task
    async def child(n: int) -> int:
        return n * n

    @app.task
    async def parent(n: int) -> int:
        jobs = await app.enqueue_many(child.s(i) for i in range(n))
        return sum(await app.results(jobs, timeout=5))

    async with app, working(app):
        assert await (await parent.enqueue(10)).result(timeout=5) == 285


async def test_a_task_that_lost_its_lease_is_stopped_and_reports_nothing(
    app: TaskQ, raw: redis.Redis, namespace: str
) -> None:
    lost = []
    keys = QueueKeys(namespace, "default")

    @app.task
    async def work(ctx: Context) -> None:
        try:
            await take(30)
        finally:
            lost.append(ctx.lease_lost)

    async with app, working(app) as worker:
        job = await work.enqueue()
        await eventually(lambda: worker.runner.running)
        # As if another worker had taken the job over: the lapse makes the worker ask what it holds.
        raw.zrem(keys.running(worker.id), job.id)
        raw.hset(keys.job(job.id), mapping={"worker": "other", "token": "1"})

        raw.delete(keys.alive(worker.id))

        await eventually(lambda: lost)
        await eventually(lambda: not worker.runner.running)
        assert lost == [True]
        assert (await job.info()).state == "running"
        raw.delete(keys.job(job.id))
