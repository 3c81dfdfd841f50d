"""How near the order of a partitioned queue is to that of one queue: measured, and bounded.

A job is *passed* by every worse job that starts before it. docs/high-availability.md has the bound
and the figures of such a run (`-s` prints them).
"""

from __future__ import annotations

import bisect
import contextlib
import random
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from taskq import Context, TaskQ
from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.workers import working

JOBS = 2000
#: Slots and workers that share one backlog.
CREWS = [(1, 1), (10, 1), (1, 3), (10, 3)]


class Passed(NamedTuple):
    """By how many worse jobs a job was passed."""

    mean: float
    most: int


def passed(started: Sequence[int]) -> Passed:
    """`started`: what orders the jobs (smaller first), in the order of their starts."""
    before: list[int] = []
    counts = []
    for rank in started:
        counts.append(len(before) - bisect.bisect_right(before, rank))
        bisect.insort(before, rank)
    return Passed(statistics.fmean(counts), max(counts))


def test_passing_is_counted_as_it_is_named() -> None:
    assert passed([1, 2, 3]) == (0, 0)
    assert passed([3, 1, 2]) == (2 / 3, 1)
    assert passed([2, 3, 4, 1]) == (3 / 4, 3)


async def drain(make_app: MakeApp, partitions: int, slots: int, workers: int, seed: int) -> Passed:
    """Start a backlog of jobs of all priorities and many deadlines, and tell who passed whom."""
    app, chance = make_app(concurrency=slots), random.Random(seed)
    app.queue("mail", partitions=partitions)
    started: list[int] = []
    ranks = [(priority, 1000 + n) for n, priority in enumerate(chance.choices(range(10), k=JOBS))]
    chance.shuffle(ranks)

    @app.task(queue="mail")
    async def note(priority: int, deadline: int, seconds: float) -> None:
        started.append((9 - priority) * 100_000 + deadline)
        if seconds:
            await take(seconds)

    async with app, contextlib.AsyncExitStack() as crew:
        await app.enqueue_many(
            note.options(priority=priority, deadline=deadline).s(
                priority, deadline, 0 if slots == workers == 1 else chance.uniform(0.0005, 0.004)
            )
            for priority, deadline in ranks
        )
        for _ in range(workers):
            await crew.enter_async_context(working(app, queues=["mail"]))
        await eventually(lambda: len(started) == JOBS, 60)
    return passed(started)


@pytest.mark.parametrize(("slots", "workers"), CREWS)
async def test_a_job_is_passed_by_few_worse_ones(
    make_app: MakeApp, slots: int, workers: int
) -> None:
    whole = await drain(make_app, 1, slots, workers, seed=slots)
    parts = await drain(make_app, 4, slots, workers, seed=slots + 1)

    print(f"\n{workers} x {slots} slots: one queue {whole}, four partitions {parts}")
    if workers == slots == 1:
        assert parts.most == 0
    # What one worker knows of a partition is true until another claims there; it learns of that
    # with its own next claim there, so each partition but the job's own misleads it once.
    assert parts.most <= slots * (1 if workers == 1 else 4 * workers)


async def test_a_better_job_that_comes_in_is_overlooked_for_a_moment_only(
    make_app: MakeApp,
) -> None:
    """It comes into the one partition that would have been left for last."""
    app, order = make_app(concurrency=1), [0]
    app.queue("mail", partitions=4)
    started: dict[str, int] = {}

    @app.task(queue="mail")
    async def note(ctx: Context) -> None:
        order[0] += 1
        started[ctx.job_id] = order[0]
        await take(0.005)

    names = {name: last for name, last in _names(app, 600) if not last or len(name) < 7}
    urgent = [name for name, last in _names(app, 10_000) if last and name not in names][:8]
    async with app:
        await app.enqueue_many(
            note.options(id=name, priority=0 if last else 5).s() for name, last in names.items()
        )
        async with working(app, queues=["mail"]):
            waits = []
            for name in urgent:
                await note.options(id=name, priority=9).enqueue()
                came = order[0]
                await eventually(lambda: name in started, 5)  # noqa: B023
                waits.append(started[name] - came)
            assert order[0] < sum(not last for last in names.values())  # a backlog all the time
            await eventually(lambda: order[0] == len(names) + len(urgent), 30)

    print(f"\nstarts from an enqueue to the start of its job: {waits}")
    assert max(waits) <= 0.05 / 0.005 + 3


async def test_partitions_of_very_uneven_worth_are_served_by_worth(make_app: MakeApp) -> None:
    """All good jobs in one partition: slots that went round in turn would let three worse ones
    pass each.
    """
    app = make_app(concurrency=8)
    app.queue("mail", partitions=4)
    started: list[int] = []

    @app.task(queue="mail")
    async def note(rank: int) -> None:
        started.append(rank)
        await take(0.002)

    async with app:
        await app.enqueue_many(
            note.options(id=name, priority=9 if good else 1).s(0 if good else 1)
            for name, good in _names(app, 800)
        )
        async with working(app, queues=["mail"]):
            await eventually(lambda: len(started) == 800, 20)

    assert passed(started).most <= 8


def _names(app: TaskQ, count: int) -> list[tuple[str, bool]]:
    """Ids of jobs, and whether they lie in the first partition."""
    names = [f"job-{number}" for number in range(count)]
    return [(name, app.job(name, queue="mail").queue == "mail") for name in names]
