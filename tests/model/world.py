"""The model's memory: where every job of one queue is, in plain Python, and the moves all scripts
share.

What the scripts do is in tests/model/rules_*.py. Nothing here reads lua/ or talks to a server.
Times are Unix ms, `now_us` apart. Keys are named without the queue's prefix.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from taskq.rank import aging_rank, fair_rank, strict_rank

#: Not a whole ms, so that rounding up where it must be cut off is noticed.
START_US = 1_700_000_000_000_600
ENDED = ("completed", "dead", "cancelled", "expired")
MINUTE_TTL_MS = 7_200_000
DEAD_KEEP_MS = 7_200_000
SHARES_TTL_MS = 86_400_000
Value = dict[str, str] | dict[str, float] | frozenset[str] | str | int
Record = dict[str, str]


def when(word: str, now: int) -> int | None:
    """A point in time as producers write it: '', ms, or +ms."""
    if word == "":
        return None
    return now + int(word[1:]) if word[0] == "+" else int(word)


def of_class(name: str, job_class: str) -> str:
    """The key of a class in a family that has one for each; '' is the common class."""
    return f"{name}:{job_class}" if job_class else name


def alike(record: Record) -> Record:
    """A hash whose fractions are written in one way: servers differ in how they print them."""
    return {
        name: f"{float(value):.17g}" if name in ("rank", "charged", "vtime") else value
        for name, value in record.items()
    }


@dataclass
class World:
    """All that a queue is. Compared with the server's keyspace after every step."""

    now_us: int = START_US
    jobs: dict[str, Record] = field(default_factory=dict)
    indexes: dict[str, dict[str, float]] = field(default_factory=dict)
    """`ready`, `ready:<class>`, `scheduled`, `parked:<instance>`, `timers` ...: member by score."""
    alive: dict[str, str] = field(default_factory=dict)
    cancels: dict[str, set[str]] = field(default_factory=dict)
    holders: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)
    suspects: Record = field(default_factory=dict)
    vitals: Record = field(default_factory=dict)
    meta: Record = field(default_factory=dict)
    stats: Counter[str] = field(default_factory=Counter)
    minutes: dict[int, Counter[str]] = field(default_factory=dict)
    wakes: Counter[str] = field(default_factory=Counter)
    """Wake tokens by class; '' is the common one."""
    hashes: dict[str, Record] = field(default_factory=dict)
    """`limits`, `weights`, `averages`, `slacks`, `schedules`."""
    holding: dict[str, set[str]] = field(default_factory=dict)
    rates: dict[str, int] = field(default_factory=dict)
    locks: dict[str, str] = field(default_factory=dict)
    """Unique keys: the id that has each."""
    expiry: dict[str, int] = field(default_factory=dict)
    """Key to the ms at which it goes by itself."""
    told: list[tuple[str, str]] = field(default_factory=list)
    """Announcements (channel, message) since they were last read."""
    live_lost: int = 0
    """Live jobs that went without an end: purged."""
    dead_by_crash: int = 0

    @property
    def now(self) -> int:
        return self.now_us // 1000

    def index(self, name: str) -> dict[str, float]:
        return self.indexes.setdefault(name, {})

    def ready(self, job_class: str) -> dict[str, float]:
        return self.index(of_class("ready", job_class))

    def hash(self, name: str) -> Record:
        return self.hashes.setdefault(name, {})

    def listed(self, name: str) -> list[tuple[float, str]]:
        """(score, id) of an index in the order of the server."""
        return sorted((score, job_id) for job_id, score in self.index(name).items())

    def keyspace(self) -> dict[str, Value]:
        """Every key with its content, as tests/model/snapshot.py reads it from the server."""
        keys: dict[str, Value] = {f"job:{job_id}": alike(job) for job_id, job in self.jobs.items()}
        keys |= self.hashes
        for name, members in self.indexes.items():
            keys[name] = {job_id: float(score) for job_id, score in members.items()}
        for worker, beat in self.alive.items():
            keys[f"alive:{worker}"] = beat
        for worker, asked in self.cancels.items():
            keys[f"cancels:{worker}"] = frozenset(asked)
        for minute, counted in self.minutes.items():
            keys[f"stats:{minute}"] = {name: str(n) for name, n in counted.items()}
        keys["stats"] = {name: str(n) for name, n in self.stats.items() if n}
        keys["holders"], keys["classes"] = frozenset(self.holders), frozenset(self.classes)
        keys["suspects"], keys["meta"] = self.suspects, alike(self.meta)
        keys["vitals"] = self.vitals
        for job_class, tokens in self.wakes.items():
            keys[of_class("wake", job_class)] = tokens
        for instance, ids in self.holding.items():
            keys[f"holding:{instance}"] = frozenset(ids)
        for instance, us in self.rates.items():
            keys[f"rate:{instance}"] = str(us)
        for key, owner in self.locks.items():
            keys[f"unique:{key}"] = owner
        return {name: value for name, value in keys.items() if value}

    # Time

    def pass_time(self, ms: int) -> list[str]:
        """Move the clock, back too; the keys that went because their time was over."""
        self.now_us += ms * 1000
        over = [key for key, at in self.expiry.items() if at < self.now]
        for key in over:
            self.drop(key)
        return over

    def drop(self, key: str) -> None:
        """Remove a key that has a TTL."""
        self.expiry.pop(key, None)
        kind, _, name = key.partition(":")
        if kind == "job":
            self.jobs.pop(name, None)
        elif kind == "alive":
            self.alive.pop(name, None)
        elif kind == "stats":
            self.minutes.pop(int(name), None)
        elif kind == "rate":
            self.rates.pop(name, None)
        elif kind == "unique":
            self.locks.pop(name, None)
        else:
            self.index(kind).clear()

    # Moves that scripts share

    def rank(self, priority: int, deadline: int | None, at: float, start: float = 0.0) -> float:
        """By the queue's policy, from taskq.rank. `start`: virtual, for `fair`."""
        at = int(at)
        if self.meta.get("policy") == "fair":
            return fair_rank(priority, start)
        if self.meta.get("policy") == "aging":
            patience = self.meta.get("patience_ms")
            if patience is None:
                return aging_rank(priority, deadline, at)
            return aging_rank(priority, deadline, at, [int(ms) for ms in patience.split()])
        return strict_rank(priority, deadline, at, int(self.meta.get("horizon_ms", 60_000)))

    def wake_up(self, jobs: int, job_class: str = "") -> None:
        self.wakes[job_class] += max(0, min(jobs, 4 - self.wakes[job_class]))

    def wake_each(self, classes: Iterable[str]) -> None:
        """One token for each job of these classes."""
        for job_class, jobs in Counter(classes).items():
            self.wake_up(jobs, job_class)

    def know_class(self, job_class: str) -> None:
        """Idle workers look for classes when one is new."""
        if job_class and job_class not in self.classes:
            self.classes.add(job_class)
            self.wake_up(4)

    def note_timer(self) -> None:
        """Workers read when the first timer is due from meta."""
        first = min(self.index("timers").values(), default=math.inf)
        self.meta.pop("timer_ms", None)
        if first < math.inf:
            self.meta["timer_ms"] = f"{first:.0f}"

    def set_timer(self, member: str, due: float) -> None:
        self.index("timers")[member] = due
        self.note_timer()

    def add_due(self, name: str, due: dict[str, int]) -> None:
        """Put jobs into a set of due times; workers hear when its head moves forward."""
        if not due:
            return
        head = min(self.index(name).values(), default=None)
        self.index(name).update(due)
        if head is None or min(due.values()) < head:
            self.wake_up(1)

    def count(self, name: str, amount: int) -> None:
        if amount == 0:
            return
        self.stats[name] += amount
        minute = self.minutes.setdefault(self.now // 60_000, Counter())
        minute[name] += amount
        if minute[name] == amount:
            self.expiry[f"stats:{self.now // 60_000}"] = self.now + MINUTE_TTL_MS

    def announce(self, job: Record, job_id: str, state: str, outcome: str = "") -> None:
        for channel in job.get("waiters", "").split():
            self.told.append((channel, f"{job_id}\n{state}\n{outcome}"))

    def end(self, job_id: str, state: str, keep_ms: int, **fields: str) -> None:
        """A job ends: dead jobs are listed in `dead`, the others in `done`; none when kept for 0
        ms.
        """
        if keep_ms <= 0:
            self.forget_record(job_id)
            return
        self.jobs[job_id].update(state=state, ended_ms=str(self.now), **fields)
        self.expiry[f"job:{job_id}"] = self.now + keep_ms
        self.index("dead" if state == "dead" else "done")[job_id] = self.now

    def forget_record(self, job_id: str) -> bool:
        self.expiry.pop(f"job:{job_id}", None)
        return self.jobs.pop(job_id, None) is not None

    def last_until(self, name: str, keep_ms: int) -> None:
        """An index of ended jobs lives at least `keep_ms` more."""
        if not self.index(name):
            self.expiry.pop(name, None)
        elif self.expiry.get(name, self.now - 1) - self.now < keep_ms:
            self.expiry[name] = self.now + keep_ms
            if keep_ms <= 0:
                self.drop(name)

    def trim(self, name: str, keep_ms: int, keep_count: int, budget: int) -> None:
        """Keep an index of ended jobs within age and count. Only a record that ended just then goes
        with its entry: the id may have been used again since.
        """
        index = self.index(name)
        for score, job_id in self.listed(name)[:budget]:
            if score < self.now - keep_ms:
                del index[job_id]
        for score, job_id in self.listed(name)[: max(0, min(len(index) - keep_count, budget))]:
            del index[job_id]
            if self.jobs.get(job_id, {}).get("ended_ms") == f"{score:.0f}":
                self.forget_record(job_id)
        self.last_until(name, keep_ms)

    def tidy(self) -> None:
        """What the server does by itself: an empty key is no key, so it has no TTL either."""
        for name in ("dead", "done", "shares"):
            if not self.index(name):
                self.expiry.pop(name, None)

    # Looks

    def next_job_due(self) -> int:
        """Ms until the next job is due; -1 when none is."""
        due = [*self.index("scheduled").values(), *self.index("retry").values()]
        return max(0, int(min(due)) - self.now) if due else -1

    def next_due(self) -> int:
        """The same, and for what else has a time."""
        due = [*self.index("scheduled").values(), *self.index("retry").values()]
        due += [at for at in self.index("timers").values() if at < math.inf]
        return max(0, int(min(due)) - self.now) if due else -1

    def waiting(self, classes: Iterable[str]) -> int:
        """Jobs that count against max_jobs."""
        names = ["scheduled", "retry", "blocked"]
        for name in classes:
            names += [of_class("ready", name), of_class("turned", name)]
        return sum(len(self.index(name)) for name in names)

    def live(self) -> int:
        return sum(job.get("state") not in ENDED for job in self.jobs.values())
