"""Queues as people see them, with all their partitions: numbers added up, jobs merged by rank.

Looks only, through an Inspector; a queue that has no partitions is a queue of one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from taskq.errors import JobNotFound
from taskq.inspect import Inspector
from taskq.job import JobInfo
from taskq.partition import in_order, is_partition, partitions_among, queue_of
from taskq.served import serves
from taskq.views import Entry, QueueView, Slack, WorkerView

#: Worst last: what is said of a worker that several partitions know.
_LIVES = ("alive", "silent", "suspect")
#: Jobs that are not over, by where they are.
LIVE = ("ready", "blocked", "scheduled", "retry", "running")


class Whole(NamedTuple):
    """A queue: all of it added up, and each partition."""

    view: QueueView
    parts: tuple[QueueView, ...]

    @property
    def paused(self) -> int:
        """How many partitions are paused."""
        return sum(part.paused_at is not None for part in self.parts)

    def workers(self, workers: Iterable[WorkerView]) -> int:
        """How many living workers serve any of it."""
        return sum(any(serves(one, part.name, "") for part in self.parts) for one in workers)


def wholes(views: Iterable[QueueView]) -> list[Whole]:
    """Views of queues and partitions as whole queues, by name."""
    groups: dict[str, list[QueueView]] = {}
    for view in sorted(views, key=lambda view: in_order(view.name)):
        groups.setdefault(queue_of(view.name), []).append(view)
    return [Whole(added(name, parts), tuple(parts)) for name, parts in groups.items()]


def added(name: str, parts: Sequence[QueueView]) -> QueueView:
    """Several partitions as one view. It is paused when all of them are."""
    first = parts[0]
    if len(parts) == 1:
        return first
    holders: dict[str, tuple[int, str]] = {}
    for part in parts:
        for worker, (count, life) in part.holders.items():
            had, was = holders.get(worker, (0, life))
            holders[worker] = (had + count, max(was, life, key=_worst))
    paused = [part.paused_at for part in parts if part.paused_at is not None]
    bounds = [part.max_jobs for part in parts if part.max_jobs is not None]
    heads = [part for part in parts if part.head_rank is not None]
    best = min(heads, key=lambda part: part.head_rank or 0.0, default=first)
    return replace(
        best,
        name=name,
        now_ms=max(part.now_ms for part in parts),
        jobs=_sum(part.jobs for part in parts),
        classes=_sum(part.classes for part in parts),
        holders=holders,
        paused_at=min(paused) if len(paused) == len(parts) else None,
        policy=first.policy,
        horizon=first.horizon,
        max_jobs=sum(bounds) if len(bounds) == len(parts) else None,
        counters=_sum(part.counters for part in parts),
        slots=first.slots | {w: n for part in parts for w, n in part.slots.items()},
        parked=_sum(part.parked for part in parts),
        limits={n: words for part in parts for n, words in part.limits.items()},
        ticks={n: when for part in parts for n, when in part.ticks.items()},
        struck=tuple(dict.fromkeys(task for part in parts for task in part.struck)),
        due_in=min((part.due_in for part in parts if part.due_in is not None), default=None),
    )


def _worst(life: str) -> int:
    return _LIVES.index(life) if life in _LIVES else len(_LIVES)


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


async def partitions_of(inspector: Inspector, queue: str) -> list[str]:
    """The partitions of a queue that were ever used; itself, when it has none, is unknown, or is a
    partition.
    """
    if is_partition(queue):
        return [queue]
    return partitions_among(await inspector.queue_names(), queue) or [queue]


async def places_of(inspector: Inspector, queues: Iterable[str]) -> list[str]:
    """These queues with all their partitions."""
    names = [name for queue in queues for name in await partitions_of(inspector, queue)]
    return list(dict.fromkeys(names))


async def whole_of(inspector: Inspector, queue: str) -> Whole:
    """One queue; all zero when it was never used."""
    names = await partitions_of(inspector, queue)
    parts = await asyncio.gather(*(inspector.queue(name) for name in names))
    return Whole(added(queue, parts), tuple(parts))


#: By task: how long runs take, s, and how jobs stood to their deadlines.
Tasks = dict[str, tuple[float | None, Slack | None]]


async def tasks_of(inspector: Inspector, queue: str) -> Tasks:
    """What was measured of each task of a queue; `*` is all. Partitions count alike."""
    names = await partitions_of(inspector, queue)
    times: dict[str, list[float]] = {}
    slacks: dict[str, Slack] = {}
    for name in names:
        for task, seconds in (await inspector.averages(name)).items():
            times.setdefault(task, []).append(seconds)
        for task, slack in (await inspector.slacks(name)).items():
            slacks[task] = slacks[task].plus(slack) if task in slacks else slack
    means = {task: sum(found) / len(found) for task, found in times.items()}
    return {task: (means.get(task), slacks.get(task)) for task in {*means, *slacks}}


async def jobs_of(
    inspector: Inspector, queue: str, state: str, start: int = 0, limit: int = 50
) -> list[Entry]:
    """As Inspector.jobs, for a queue with all its partitions."""
    names = await partitions_of(inspector, queue)
    if len(names) == 1:
        return await inspector.jobs(names[0], state, start, limit)
    found = await asyncio.gather(*(inspector.jobs(name, state, 0, start + limit) for name in names))
    ended = state not in LIVE
    merged = [entry for entries in found for entry in entries]
    merged.sort(key=lambda entry: (entry.score, entry.info.id), reverse=ended)
    return merged[start : start + limit]


async def find_job(inspector: Inspector, job_id: str, queue: str | None = None) -> JobInfo:
    """As Inspector.find; `queue` stands for all its partitions."""
    names = [None] if queue is None else await partitions_of(inspector, queue)
    found = await asyncio.gather(
        *(inspector.find(job_id, name) for name in names), return_exceptions=True
    )
    for one in found:
        if isinstance(one, JobInfo):
            return one
    # What went wrong in one partition says more than that the job is not in another.
    for one in sorted(found, key=lambda one: isinstance(one, JobNotFound)):
        if isinstance(one, BaseException):
            raise one
    raise AssertionError("unreachable")


class Apart(NamedTuple):
    """Jobs in a partition that no living worker serves."""

    partition: str
    jobs: int


def left_apart(views: Iterable[QueueView], workers: Sequence[WorkerView]) -> list[Apart]:
    """Partitions with jobs that are not over and that nobody alive looks for."""
    return [
        Apart(view.name, sum(view.jobs[state] for state in LIVE))
        for view in views
        if is_partition(view.name)
        and any(view.jobs[state] for state in LIVE)
        and not any(serves(worker, view.name, "") for worker in workers)
    ]


def counts_served(workers: Iterable[WorkerView]) -> dict[str, set[int]]:
    """Of how many partitions each queue has, as its living workers see it. Several numbers are a
    deploy under way, or a mistake.
    """
    found: dict[str, set[int]] = {}
    for worker in workers:
        if worker.alive:
            for queue in worker.queues:
                if not is_partition(queue):
                    count = len(partitions_among(worker.queues, queue))
                    found.setdefault(queue, set()).add(count)
    return found
