"""Several queues, one of which could keep the worker busy for ever."""

from __future__ import annotations

import asyncio

import pytest

from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.workers import working


@pytest.mark.parametrize("partitions", [1, 3])
async def test_a_worker_kept_busy_by_one_queue_notices_jobs_of_another(
    make_app: MakeApp, partitions: int
) -> None:
    app = make_app(concurrency=1)
    app.queue("busy", partitions=partitions)
    app.queue("quiet", partitions=partitions)
    others: list[int] = []
    going, stop = 20, asyncio.Event()

    @app.task(queue="busy")
    async def spin() -> None:
        nonlocal going
        await take(0.002)
        if stop.is_set():
            going -= 1
        else:
            await spin.enqueue()

    @app.task(queue="quiet")
    async def other(number: int) -> None:
        others.append(number)

    async with app, working(app, queues=["busy", "quiet"]) as worker:
        await app.enqueue_many([spin.s() for _ in range(going)])
        for number in range(5):
            await other.enqueue(number)
            await eventually(lambda: number in others, 5)  # noqa: B023
        stop.set()
        await eventually(lambda: going == 0 and not worker.pump.owes)
