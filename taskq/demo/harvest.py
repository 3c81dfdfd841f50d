"""The queue's half of the demo: from the producer's ids to results, sums and timings.

Uses taskq's public API only, as a stranger would. Starts no process itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import cast

from taskq import TaskQ
from taskq.demo.census import FileCensus, Totals, totals_of
from taskq.demo.figures import Figures, figures_of
from taskq.demo.fleet import DemoFailed
from taskq.demo.tasks import QUEUE
from taskq.errors import JobError
from taskq.handle import Job
from taskq.job import State

#: Partial results in one merge.
_MERGE = 100
#: Seconds without a single result after which the demo gives up.
_STALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """All that came back. `failures` has a line for each job that brought no result."""

    measured: dict[str, FileCensus]
    failures: list[str]
    total: Totals
    figures: Figures


async def harvest(
    app: TaskQ, lines: AsyncIterator[list[str]], on_result: Callable[[], Awaitable[None]]
) -> Harvest:
    """Wait for the job of each of the producer's lines (id, path) and have the results added up.

    `app` needs no tasks: handles are made from ids, merges enqueued by name. `on_result` is
    awaited after each. Raises DemoFailed when nothing comes, StoreError or, for a merge, JobError.
    """
    async with app:
        jobs = {path: app.job(job_id, queue=QUEUE) async for job_id, path in lines}
        measured, failures, sums = await _collect(app, jobs, on_result)
        if not measured:
            raise DemoFailed("\n  ".join(["no job brought a result", *failures[:3]]))
        last = await _merge(app, sums)
        total = cast(Totals, await last.result(timeout=_STALL_SECONDS))
        infos = await app.infos(jobs.values())
        figures = figures_of([info for info in infos if info and info.state is State.COMPLETED])
    return Harvest(measured=measured, failures=failures, total=total, figures=figures)


async def _collect(
    app: TaskQ, jobs: Mapping[str, Job[object]], on_result: Callable[[], Awaitable[None]]
) -> tuple[dict[str, FileCensus], list[str], list[Totals]]:
    """Results by path, failures, and sums of all results."""
    measured: dict[str, FileCensus] = {}
    failures: list[str] = []
    merges: list[Job[object]] = []
    batch: list[Totals] = []
    waiters = [asyncio.create_task(_outcome(path, job)) for path, job in jobs.items()]
    try:
        for next_done in asyncio.as_completed(waiters):
            path, outcome = await _in_time(next_done, len(measured), len(jobs))
            if isinstance(outcome, JobError):
                failures.append(f"{path}: {outcome}")
            else:
                measured[path] = outcome
                batch.append(totals_of(outcome))
            if len(batch) == _MERGE:
                merges.append(await _merge(app, batch))
                batch = []
            await on_result()
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
    sums = [cast(Totals, sum_) for sum_ in await app.results(merges, timeout=_STALL_SECONDS)]
    return measured, failures, sums + batch


async def _merge(app: TaskQ, parts: list[Totals]) -> Job[object]:
    merge_totals = app.named("merge_totals").options(queue=QUEUE, priority=9)
    job: Job[object] = await merge_totals.enqueue(parts)
    return job


async def _outcome(path: str, job: Job[object]) -> tuple[str, FileCensus | JobError]:
    try:
        # From an id alone nobody can tell the type of the result.
        return path, cast(FileCensus, await job.result())
    except JobError as error:
        return path, error


async def _in_time(
    outcome: Awaitable[tuple[str, FileCensus | JobError]], done: int, total: int
) -> tuple[str, FileCensus | JobError]:
    try:
        return await asyncio.wait_for(outcome, _STALL_SECONDS)
    except TimeoutError as error:
        raise DemoFailed(
            f"no result for {_STALL_SECONDS:.0f} s; {done:,} of {total:,} are done"
        ) from error
