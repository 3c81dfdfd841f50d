"""How sends that travel together are cut into calls, and how each caller gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from taskq.commands import BATCH, CREATED, Enqueued, NewJob, Sent

Batch: TypeAlias = list[tuple[NewJob, asyncio.Future[Sent]]]


def parts(batch: Batch) -> Iterator[Batch]:
    """At most 200 a call, and no id twice in one: replies name ids, so its callers could not be
    told apart. Nor two jobs that must be apart.
    """
    part: Batch = []
    seen: set[str] = set()
    for item in batch:
        job = item[0]
        if len(part) == BATCH or job.id in seen or job.apart in seen:
            yield part
            part, seen = [], set()
        part.append(item)
        seen.add(job.id)
        if job.apart:
            seen.add(job.apart)
    yield part


def chunked(jobs: Sequence[NewJob]) -> list[Sequence[NewJob]]:
    """In order, at most 200 a call; no two jobs in one that must be apart."""
    if not any(job.apart for job in jobs):
        return [jobs[start : start + BATCH] for start in range(0, len(jobs), BATCH)]
    parts: list[Sequence[NewJob]] = []
    part: list[NewJob] = []
    seen: set[str] = set()
    for job in jobs:
        if len(part) == BATCH or job.apart in seen:
            parts.append(part)
            part, seen = [], set()
        part.append(job)
        if job.apart:
            seen.add(job.apart)
    return [*parts, part]


def sent_of(jobs: Sequence[NewJob], done: Enqueued) -> dict[str, Sent]:
    """What became of the odd ones; raises for the first that would start too late."""
    if done.created == len(jobs) and not done.starts:
        return {}
    for job in jobs:
        if refusal := done.refusal(job):
            raise refusal
    return done.odd()


def tell(batch: Batch, done: Enqueued) -> None:
    plain = done.created == len(batch) and not done.starts
    for job, future in batch:
        if future.done():
            continue  # its caller has gone
        if plain:
            future.set_result(CREATED)
        elif refusal := done.refusal(job):
            future.set_exception(refusal)
        else:
            future.set_result(done.sent(job.id))


def fail(batch: Batch, error: BaseException) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
