"""What a handle tells beside the result, and waiting through lost connections."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import redis

from taskq import (
    JobFailed,
    JobNotFound,
    ResultTimeout,
    TaskQ,
)
from taskq.errors import WrongState
from tests.helpers import eventually
from tests.integration.test_results import Gate, waited_for
from tests.integration.workers import idle, working


@dataclass(frozen=True)
class Point:
    x: int
    y: int


VALUES = [
    None,
    True,
    2**63,
    -1.5,
    "\u00e9\n",
    b"\x00\xff",
    [1, [2]],
    (1, (2,)),
    {1, 2},
    {"a": {"b": 1}},
    datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    date(2026, 1, 2),
    timedelta(days=1, microseconds=1),
    Decimal("1.10"),
    UUID(int=7),
    Point(1, 2),
]


async def test_values_come_back_as_they_went(app: TaskQ) -> None:
    app.register_dataclass(Point)

    @app.task
    async def echo(value: object) -> object:
        return value

    async with app, working(app):
        jobs = await app.enqueue_many(echo.s(value) for value in VALUES)

        back = await app.results(jobs, timeout=5)

    assert back == VALUES
    assert [type(value) for value in back] == [type(value) for value in VALUES]


async def test_a_handle_tells_what_it_knows_and_asks_for_the_rest(app: TaskQ) -> None:
    gate = Gate(app)
    async with app, working(app) as worker:
        job = await gate.task.options(priority=7, deadline=60).enqueue(1)
        await eventually(lambda: len(worker.runner.running) == 1)

        info = await job.info()

        assert (info.state, info.task, info.priority, info.worker) == (
            "running",
            "gate",
            7,
            worker.id,
        )
        assert info.started_at is not None
        assert info.started_at.tzinfo is UTC
        assert repr(job) == f"<job {job.id} gate in default>"
        gate.open.set()
        await job.result(timeout=5)
        with pytest.raises(WrongState, match="it is completed"):
            await job.retry()
        with pytest.raises(JobNotFound):
            await app.job("nobody").info()
        with pytest.raises(JobNotFound):
            await asyncio.to_thread(app.job("nobody").info_sync)
        assert await app.infos([app.job("nobody")]) == [None]


async def test_a_dead_job_can_be_run_again_with_fresh_attempts(app: TaskQ) -> None:
    broken = [True]

    @app.task(retries=1, backoff=0)
    async def fragile() -> str:
        if broken[0]:
            raise OSError("disk")
        return "fine"

    async with app, working(app):
        job = await fragile.enqueue()
        with pytest.raises(JobFailed):
            await job.result(timeout=5)
        broken[0] = False

        await job.retry()

        assert await job.result(timeout=5) == "fine"
        assert (await job.info()).attempt == 0


@pytest.mark.parametrize("blocking", [False, True])
async def test_waiting_survives_a_lost_connection_and_hears_of_the_end_soon_after(
    app: TaskQ, raw: redis.Redis, blocking: bool
) -> None:
    gate = Gate(app)
    async with app, working(app):
        job = await gate.task.enqueue(6)
        ask = asyncio.to_thread(job.result_sync, 20) if blocking else job.result(timeout=20)
        waiting = asyncio.ensure_future(ask)
        await eventually(lambda: waited_for(job))
        await eventually(lambda: channels(raw) == 1)

        raw.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        raw.execute_command("CLIENT", "KILL", "TYPE", "normal")
        gate.open.set()

        assert await asyncio.wait_for(waiting, 5) == 6


def channels(client: redis.Redis) -> int:
    found: list[bytes] = client.execute_command("PUBSUB", "CHANNELS")
    return len(found)


async def test_waiters_of_two_queues_at_once_both_hear_the_end(app: TaskQ) -> None:
    gate = Gate(app)
    async with app, working(app, queues=["left", "right"]):
        jobs = [await gate.task.options(queue=queue).enqueue() for queue in ("left", "right")]
        waits = [asyncio.ensure_future(job.result(timeout=20)) for job in jobs]
        for job in jobs:
            await eventually(lambda job=job: waited_for(job))  # type: ignore[misc]

        gate.open.set()

        assert await asyncio.wait_for(asyncio.gather(*waits), 5) == [1, 1]


async def test_giving_up_waiting_leaves_nothing_behind_in_the_client(app: TaskQ) -> None:
    gate = Gate(app)
    async with app, working(app) as worker:
        job = await gate.task.enqueue()
        waits = [asyncio.ensure_future(job.result()) for _ in range(3)]
        await eventually(lambda: waited_for(job))

        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

        assert app.client._waiting == {}
        gate.open.set()
        await idle(worker)


def test_a_blocking_program_needs_no_event_loop_anywhere(server: Any, namespace: str) -> None:
    app = TaskQ(server.url, namespace=namespace)

    @app.task
    def one() -> int:
        return 1

    job = one.enqueue_sync()
    problems: list[BaseException] = []

    def wait() -> None:
        try:
            job.result_sync(timeout=0.2)
        except ResultTimeout as error:
            problems.append(error)

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(problems) == 5
    assert job.cancel_sync() is True
    app.close_sync()
