"""What the read side answers, as plain values: queues, workers, places of jobs. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from taskq.job import JobInfo


def moment(ms: float) -> datetime:
    """A stored time; what no calendar has becomes the nearest that one has."""
    return datetime.fromtimestamp(min(max(ms / 1000, 0.0), 253_402_300_799.0), UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """One queue at one moment. Ages and waits in seconds."""

    name: str
    now_ms: int
    jobs: dict[str, int]
    """How many are ready (all classes), scheduled, retry, running, dead, done."""
    classes: dict[str, int]
    """Ready jobs by capability class; those of the common class are not in here."""
    holders: dict[str, tuple[int, str]]
    """Worker id: how many jobs it holds, and alive, silent or suspect."""
    paused_at: datetime | None
    policy: str
    horizon: float
    max_jobs: int | None
    counters: dict[str, int]
    due_in: float | None
    """Until the next scheduled or retrying job is due; 0 when one is due now, None when there is
    none.
    """
    head: str | None
    """Id of the first ready job of the common class."""
    head_rank: float | None
    head_waits: float | None
    """Since the first ready job was enqueued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """One worker as the roster has it."""

    id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    tasks: frozenset[str]
    provides: frozenset[str]
    """Labels of jobs it may run."""
    concurrency: int
    slots: int
    """Slots it uses now: fewer than its concurrency while it is short of something."""
    taken: int
    """Slots its jobs occupy: what they cost."""
    process_slots: int
    running: int
    done: int
    failed: int
    cpu: float
    """Percent of one core."""
    rss: int
    """Bytes."""
    loop_lag: float
    """How much later than asked the event loop woke up, seconds."""
    beat_age: float
    """Seconds since the roster last heard of it."""
    started_at: datetime | None
    python: str
    alive: bool
    """Some queue has its heartbeat."""
    health: str
    """`ok` and other words of its own; `silent` when no queue has its heartbeat."""


class Entry(NamedTuple):
    """A job in an index. `score` is what orders it there: a rank, or Unix ms."""

    info: JobInfo
    score: float

    @property
    def when(self) -> datetime:
        """The score as a time; for all indexes but ready."""
        return moment(self.score)


class Unserved(NamedTuple):
    """Ready jobs that no living worker can run. `job_class` '' means any job of the queue."""

    queue: str
    job_class: str
    jobs: int
    missing: tuple[str, ...] = ()
    """Parts of the class that none of the queue's living workers satisfies; none when each part has
    somebody, but nobody has all.
    """
    workers: int = 0
    """Living workers that serve the queue."""


class Place(NamedTuple):
    """Where a waiting job stands: jobs before it in its index, and its score there."""

    before: int
    score: float
