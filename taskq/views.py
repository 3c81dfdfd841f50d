"""What the read side answers, as plain values: queues, workers, places of jobs. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from taskq.job import JobInfo, State


def moment(ms: float) -> datetime:
    """A stored time; what no calendar has becomes the nearest that one has."""
    return datetime.fromtimestamp(min(max(ms / 1000, 0.0), 253_402_300_799.0), UTC)


def finite(text: str | None) -> float | None:
    """A number as stored; None for what is none, or is not finite."""
    try:
        number = None if text is None else float(text)
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None


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
    slots: dict[str, int] = field(default_factory=dict)
    """Worker id: jobs it can run at once."""
    parked: dict[str, int] = field(default_factory=dict)
    """Limit (instance): jobs it blocks."""
    limits: dict[str, str] = field(default_factory=dict)
    """Limit: its definition."""
    struck: tuple[str, ...] = ()
    """Tasks that may neither be enqueued nor run."""

    ticks: dict[str, datetime] = field(default_factory=dict)
    """Schedules that tick next: when."""

    def paused_parts(self) -> list[tuple[str, str]]:
        """What is paused of it: (`task` or `group`, name)."""
        words = (name.removeprefix("pause:") for name in self.limits if name.startswith("pause:"))
        found = (word.partition(".") for word in words)
        return sorted((kind, name) for kind, dot, name in found if dot)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that bears on where a job is."""

    code: str
    """One word for programs; docs/explain.md lists them."""
    sentence: str
    details: dict[str, Any] = field(default_factory=dict)
    """The numbers and names in it, for programs: nothing but JSON."""
    remedies: tuple[str, ...] = ()
    """What would change it: commands, or what to do in few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a job is where it is, the most important reason first; and what would change it."""

    id: str
    queue: str
    """Its queue, or partition."""
    task: str
    state: State
    reasons: tuple[Reason, ...]
    predicted_start: datetime | None = None
    """When it may start, from the jobs ahead, average run times and live slots; None when that
    cannot be said.
    """

    @property
    def reason(self) -> str:
        """The code of the reason that matters most."""
        return self.reasons[0].code

    @property
    def sentence(self) -> str:
        """The reason that matters most."""
        return self.reasons[0].sentence

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of all reasons."""
        return tuple(one.code for one in self.reasons)

    @property
    def remedies(self) -> tuple[str, ...]:
        """What would change it, all together."""
        return tuple(dict.fromkeys(word for one in self.reasons for word in one.remedies))

    def __str__(self) -> str:
        first = f"job {self.id} ({self.task}) in queue {self.queue} is {self.state}"
        return "\n".join([first, *(f"- {line}" for line in self.lines())])

    def lines(self) -> list[str]:
        """One line for each reason, with what would change it."""
        return [
            one.sentence + (f": {' or '.join(one.remedies)}" if one.remedies else "")
            for one in self.reasons
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What an autoscaler needs to know of a queue. Spans in seconds."""

    queue: str
    ready: int
    """Jobs that could run now."""
    due: int
    """Scheduled and retrying jobs whose time has come; a worker makes them ready."""
    blocked: int
    """Jobs that wait for a limit: more workers would not help them."""
    running: int
    workers: int
    """That live and serve the queue."""
    slots: int
    """Of all of them; they may serve other queues too."""
    utilisation: float | None
    """Running jobs in slots; None without slots."""
    oldest_age: float | None
    """How long the oldest ready job has been ready; None when none is."""
    work: float
    """What the ready jobs take, all together, in slot-seconds, by average run times."""
    time_to_drain: float | None
    """Until the live slots have done it; None when nobody works and something waits."""
    least_slack: float | None
    """What is left to the job that is closest to its deadline, after its own run time: below 0 it
    will be missed. None when no ready job has a deadline.
    """
    late: int
    """Jobs that no number of workers could finish in time any more."""
    workers_needed: int
    """So that no deadline is missed; at least one while something waits, else 0."""
    paused: bool
    exact: bool
    """Every ready job was looked at. Otherwise ages, slack, work and workers are estimates, from
    the best jobs of each priority.
    """


class Slack(NamedTuple):
    """How jobs of a task that have a deadline stood to it. Spans in seconds."""

    jobs: int = 0
    """That began to run."""
    mean: float | None = None
    """What was left when they began, on average."""
    least: float | None = None
    late: int = 0
    """Runs that went on to their deadline, or past it."""
    expired: int = 0
    """Jobs that could not begin in time."""

    def plus(self, other: Slack) -> Slack:
        """Both together."""
        jobs = self.jobs + other.jobs
        total = (self.mean or 0.0) * self.jobs + (other.mean or 0.0) * other.jobs
        least = [one.least for one in (self, other) if one.least is not None]
        return Slack(
            jobs,
            round(total / jobs, 3) if jobs else None,
            min(least, default=None),
            self.late + other.late,
            self.expired + other.expired,
        )


def slacks_of(stored: dict[str, str]) -> dict[str, Slack]:
    """Read the hash `slacks`; nonsense in it is left out."""
    found: dict[str, Slack] = {}
    for name, words in stored.items():
        task, colon, what = name.partition(":")
        had = found.get(task, Slack())
        if colon:
            count = finite(words) if what == "expired" else None
            if count:
                found[task] = had._replace(expired=int(count))
            continue
        values = {n: finite(v) for n, _, v in (word.partition("=") for word in words.split())}
        jobs, total, least, late = (values.get(n) for n in ("jobs", "sum_ms", "least_ms", "late"))
        if jobs is None or total is None or least is None or late is None:
            continue
        found[task] = had._replace(
            jobs=int(jobs),
            mean=round(total / jobs / 1000, 3) if jobs else None,
            least=least / 1000 if jobs else None,
            late=int(late),
        )
    return found


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
