"""Asking for jobs: by function, by name, one and many, with wrong arguments; async and blocking
alike.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
import redis

from taskq import Job, JobConflict, QueueFull, TaskQ
from taskq.app import NamedTask
from taskq.client import Client
from taskq.client_sync import SyncClient
from taskq.errors import (
    UnknownTask,
)
from taskq.task import AsyncTask, Task, TaskWithOptions
from tests.helpers import dump_queue
from tests.integration.conftest import MakeApp
from tests.integration.workers import calls, since, working


def add_to(app: TaskQ) -> AsyncTask[[int, int], int]:
    @app.task
    async def add(a: int, b: int = 1) -> int:
        return a + b

    return add


async def test_a_coroutine_and_a_plain_function_run_and_their_values_come_back(app: TaskQ) -> None:
    add = add_to(app)

    @app.task
    def shout(text: str) -> str:
        return text.upper()

    async with app, working(app):
        sum_, loud = await asyncio.gather(add.enqueue(2, b=3), shout.enqueue("hi"))

        assert (await sum_.result(timeout=5), await loud.result(timeout=5)) == (5, "HI")


async def test_a_decorated_function_is_still_the_function(app: TaskQ) -> None:
    add = add_to(app)

    @app.task
    def shout(text: str) -> str:
        """Louder."""
        return text.upper()

    assert await add(1, b=2) == 3
    assert shout("x") == "X"
    assert (shout.__name__, shout.__doc__) == ("shout", "Louder.")


async def test_blocking_calls_do_the_same_without_an_event_loop(app: TaskQ) -> None:
    add = add_to(app)

    def produce() -> tuple[int, str, list[int], bool]:
        job = add.enqueue_sync(2, 3)
        many = app.enqueue_many_sync([add.s(i, i) for i in range(3)])
        named = app.enqueue_sync("add", 1)
        values = [item.result_sync(timeout=5) for item in [*many, named]]
        return job.result_sync(timeout=5), job.info_sync().state, values, named.duplicate

    async with app, working(app):
        assert await asyncio.to_thread(produce) == (5, "completed", [0, 2, 4, 2], False)


PAIRS = [
    (Job, "result", "info", "cancel", "retry"),
    (Task, "enqueue"),
    (TaskWithOptions, "enqueue"),
    (NamedTask, "enqueue"),
    (
        TaskQ,
        *("enqueue", "enqueue_many", "send", "result", "info", "cancel", "retry", "close"),
    ),
]


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, *names in PAIRS for name in names]
)
def test_every_method_has_a_blocking_twin_with_the_same_signature(owner: Any, name: str) -> None:
    method, twin = getattr(owner, name), getattr(owner, f"{name}_sync")

    assert inspect.iscoroutinefunction(method)
    assert not inspect.iscoroutinefunction(twin)
    assert inspect.signature(method) == inspect.signature(twin)


@pytest.mark.parametrize("name", ["send_many", "outcome", "result", "info", "infos", "cancel"])
def test_the_two_clients_have_the_same_methods(name: str) -> None:
    method, twin = getattr(Client, name), getattr(SyncClient, name)

    assert inspect.signature(method) == inspect.signature(twin)


@pytest.mark.keeps_keys("jobs wait for a worker that never comes")
async def test_enqueues_of_one_turn_travel_in_one_script_call(app: TaskQ, raw: redis.Redis) -> None:
    add = add_to(app)
    async with app:
        await add.enqueue(0, 0)
        before = calls(raw)

        jobs = await asyncio.gather(*(add.enqueue(i, i) for i in range(150)))

        assert since(raw, before)["evalsha"] == 1
        assert len({job.id for job in jobs}) == 150
        assert (await jobs[149].info()).state == "ready"


@pytest.mark.keeps_keys("jobs wait for a worker that never comes")
async def test_a_lone_enqueue_is_one_round_trip_after_the_first(
    app: TaskQ, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = add_to(app)
    async with app:
        await add.enqueue(0, 0)
        wire = await app.client.store.connect()
        sent = []
        for name in ("send", "post"):
            real = getattr(wire, name)
            monkeypatch.setattr(
                wire,
                name,
                lambda words, *rest, real=real: sent.append(words[0]) or real(words, *rest),
            )

        await add.enqueue(1, 1)

        assert sent == ["EVALSHA"]


@pytest.mark.keeps_keys("jobs wait for a worker that never comes")
async def test_many_calls_keep_their_order_and_go_in_chunks(app: TaskQ, raw: redis.Redis) -> None:
    add = add_to(app)
    async with app:
        await add.enqueue(0, 0)
        before = calls(raw)

        jobs = await app.enqueue_many(add.s(i, i) for i in range(450))

        assert since(raw, before)["evalsha"] == 3
        infos = await app.infos(jobs)
        assert [app.codec.decode_call(info.payload)[0][0] for info in infos if info] == [
            *range(450)
        ]
        assert await app.enqueue_many([]) == []


async def test_many_calls_go_to_the_queues_of_their_tasks(app: TaskQ) -> None:
    @app.task(queue="left")
    async def one() -> str:
        return "one"

    @app.task
    async def two() -> str:
        return "two"

    async with app, working(app, queues=["left", "right"]):
        jobs = await app.enqueue_many([one.s(), two.options(queue="right").s(), one.s()])

        assert [job.queue for job in jobs] == ["left", "right", "left"]
        assert await app.results(jobs, timeout=5) == ["one", "two", "one"]


async def test_a_conflict_among_up_to_200_calls_enqueues_none(
    app: TaskQ, raw: redis.Redis, namespace: str
) -> None:
    add = add_to(app)
    async with app:
        taken = await add.options(id="mine").enqueue(1, 1)
        before = dump_queue(raw, f"{namespace}:")

        with pytest.raises(JobConflict, match="'mine' is taken") as caught:
            await app.enqueue_many(
                [*(add.s(i, 0) for i in range(100)), add.options(id="mine").s(2)]
            )

        assert caught.value.job_id == "mine"
        assert dump_queue(raw, f"{namespace}:") == before
        await taken.cancel()


async def test_the_same_id_and_call_is_the_same_job_and_another_call_a_conflict(app: TaskQ) -> None:
    add = add_to(app)
    async with app, working(app):
        first = await add.options(id="order-7").enqueue(1, 2)
        again = await add.options(id="order-7").enqueue(1, 2)

        assert (first.duplicate, again.duplicate) == (False, True)
        assert again == first
        assert await again.result(timeout=5) == 3
        with pytest.raises(JobConflict):
            await add.options(id="order-7").enqueue(1, 3)
        with pytest.raises(JobConflict):
            await asyncio.to_thread(add.options(id="order-7").enqueue_sync, 1, 3)
        assert (await asyncio.to_thread(add.options(id="order-7").enqueue_sync, 1, 2)).duplicate


async def test_one_conflict_in_a_turn_spares_its_neighbours(app: TaskQ) -> None:
    add = add_to(app)
    async with app, working(app):
        await add.options(id="x").enqueue(1, 1)

        good, bad = await asyncio.gather(
            add.enqueue(5, 5), add.options(id="x").enqueue(9, 9), return_exceptions=True
        )

        assert isinstance(bad, JobConflict)
        assert isinstance(good, Job)
        assert await good.result(timeout=5) == 10


async def test_a_full_queue_refuses_and_takes_again_when_there_is_room(make_app: MakeApp) -> None:
    app = make_app(max_jobs=3)
    add = add_to(app)
    async with app:
        jobs = [await add.enqueue(i, i) for i in range(3)]

        with pytest.raises(QueueFull, match="'default' is full: 3 jobs wait, 3 may"):
            await add.enqueue(9, 9)
        with pytest.raises(QueueFull):
            await asyncio.to_thread(add.enqueue_sync, 9, 9)
        with pytest.raises(QueueFull):
            await app.enqueue_many([add.s(9, 9)])

        await jobs[0].cancel()
        jobs.append(await add.enqueue(9, 9))
        for job in jobs[1:]:
            await job.cancel()


async def test_a_producer_without_the_code_sends_by_name(make_app: MakeApp) -> None:
    app, far = make_app(), make_app()
    add_to(app)
    async with app, far, working(app):
        plain = await far.enqueue("add", 4, b=5)
        urgent = await far.named("add").options(priority=9).enqueue(1)

        assert await plain.result(timeout=5) == 9
        assert await urgent.result(timeout=5) == 2
        assert (await urgent.info()).priority == 9


async def test_a_name_the_registry_does_not_have_is_an_error_that_lists_the_others(
    app: TaskQ,
) -> None:
    add_to(app)

    with pytest.raises(UnknownTask, match=r"no task 'ad': it has add"):
        await app.enqueue("ad", 1)
    with pytest.raises(UnknownTask):
        app.enqueue_sync("ad", 1)


async def test_a_task_of_another_program_is_sent_on_purpose_with_named(app: TaskQ) -> None:
    add = add_to(app)
    async with app:
        job = await app.named("elsewhere").enqueue(1)

        assert app.named("add") is add
        assert (await job.info()).task == "elsewhere"
        await job.cancel()
