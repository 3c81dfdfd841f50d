"""Figures of a finished run: rates, waits, who ran how much. Pure; prints nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class Timed(Protocol):
    """What is read of a job here."""

    @property
    def priority(self) -> int: ...
    @property
    def crashes(self) -> int: ...
    @property
    def worker(self) -> str | None: ...
    @property
    def enqueued_at(self) -> datetime | None: ...
    @property
    def started_at(self) -> datetime | None: ...
    @property
    def ended_at(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityRow:
    """The jobs of one priority: how many, and their mean wait in seconds."""

    priority: int
    jobs: int
    mean_wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A run in numbers. Seconds throughout; a wait is from enqueue to start."""

    jobs: int
    seconds: float
    """From the first start to the last end."""
    wait_p50: float
    wait_p99: float
    priorities: tuple[PriorityRow, ...]
    """Most urgent first."""
    workers: tuple[tuple[str, int], ...]
    """Worker id and how many jobs it finished."""
    crashed: int
    """Jobs whose worker was lost while it ran them, and that ran again."""

    @property
    def jobs_per_second(self) -> float:
        """Zero for a run too short to tell."""
        return self.jobs / self.seconds if self.seconds else 0.0


def figures_of(jobs: Sequence[Timed]) -> Figures:
    """The figures of jobs that have all ended. Raises ValueError if one has not, or there is none.

    A job that ran twice waited until its last start.
    """
    waits: defaultdict[int, list[float]] = defaultdict(list)
    starts: list[datetime] = []
    ends: list[datetime] = []
    for job in jobs:
        if job.enqueued_at is None or job.started_at is None or job.ended_at is None:
            raise ValueError("figures: a job has not ended")
        waits[job.priority].append((job.started_at - job.enqueued_at).total_seconds())
        starts.append(job.started_at)
        ends.append(job.ended_at)
    if not starts:
        raise ValueError("figures: no jobs")
    every_wait = sorted(wait for some in waits.values() for wait in some)
    return Figures(
        jobs=len(starts),
        seconds=(max(ends) - min(starts)).total_seconds(),
        wait_p50=_percentile(every_wait, 50),
        wait_p99=_percentile(every_wait, 99),
        priorities=tuple(
            PriorityRow(priority=priority, jobs=len(some), mean_wait=sum(some) / len(some))
            for priority, some in sorted(waits.items(), reverse=True)
        ),
        workers=tuple(sorted(Counter(job.worker or "?" for job in jobs).items())),
        crashed=sum(job.crashes > 0 for job in jobs),
    )


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """The nearest-rank percentile of sorted values."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
