"""How sends that travel together are cut into calls, and how each caller gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from taskq.commands import BATCH, CREATED, Enqueued, NewJob, Sent

Batch: TypeAlias = list[tuple[NewJob, asyncio.Future[Sent]]]


class Posted:
    """Hears what became of a batch that was posted, and tells its callers. In `among` until then.

    `failed` gets the queue, the batch and the error.
    """

    __slots__ = ("_among", "_batch", "_failed", "_over", "_queue")

    def __init__(
        self,
        batch: Batch,
        queue: str,
        among: set[Posted],
        failed: Callable[[str, Batch, Exception], None],
    ) -> None:
        self._batch = batch
        self._queue = queue
        self._among = among
        self._failed = failed
        self._over: asyncio.Future[None] | None = None

    def end(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """What a client that is being closed waits for; the same for all that do."""
        if self._over is None:
            self._over = loop.create_future()
        return self._over

    def answered(self, done: Enqueued) -> None:
        self._end()
        tell(self._batch, done)

    def failed(self, error: Exception) -> None:
        self._end()
        self._failed(self._queue, self._batch, error)

    def _end(self) -> None:
        self._among.discard(self)
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


def parts(batch: Batch) -> Iterator[Batch]:
    """At most 200 a call, and no id twice in one: replies name ids, so its callers could not be
    told apart. Nor two jobs that must be apart.
    """
    if len(batch) == 1:
        yield batch
        return
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


def sent_alone(job: NewJob, done: Enqueued) -> Sent:
    """What became of the only job of a call; raises when that is an error."""
    if done.created == 1 and not done.starts:
        return CREATED
    if refusal := done.refusal(job):
        raise refusal
    return done.sent(job.id)


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
