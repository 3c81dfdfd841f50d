"""The order policies, for the simulation: taskq.rank's rules, and what peers can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bench.replay.trace import Arrival
from taskq.rank import (
    BAND,
    HORIZON_MS,
    PATIENCE_MS,
    FairBook,
    Turn,
    aging_rank,
    charge_for,
    cost_of,
    fair_rank,
    strict_rank,
)

#: What each run leaves of the average before it; and how often workers tell of runs, ms of the
#: trace (2 s, in a replay 20 times as fast).
_LEFT, _BEAT_MS = 0.9, 40_000.0


class Policy(Protocol):
    """Gives each job its rank once, and may learn from starts and ends. Times are ms."""

    def enter(self, number: int, job: Arrival, now: float) -> float: ...

    def claim(self, number: int) -> None: ...

    def end(self, number: int, measured: float, now: float) -> None: ...


@dataclass(slots=True)
class Plain:
    """A policy that learns nothing."""

    rule: Callable[[Arrival, float], float]

    def enter(self, number: int, job: Arrival, now: float) -> float:
        return self.rule(job, now)

    def claim(self, number: int) -> None:
        pass

    def end(self, number: int, measured: float, now: float) -> None:
        pass


def _due(job: Arrival, now: float) -> int | None:
    return None if job.deadline is None else int(now + job.deadline * 1000)


def fifo(job: Arrival, now: float) -> float:
    """First come, first served."""
    return now


def priority(job: Arrival, now: float) -> float:
    """Priorities, and first come, first served in each: what peers do."""
    return (9 - job.priority) * BAND + now


def strict(job: Arrival, now: float) -> float:
    """taskq's default."""
    return strict_rank(job.priority, _due(job, now), int(now), HORIZON_MS)


def aging(job: Arrival, now: float) -> float:
    """No bands: each job is the most urgent in the end."""
    return aging_rank(job.priority, _due(job, now), int(now), PATIENCE_MS)


@dataclass(slots=True)
class Fair:
    """Turns by tenant, inside a band; averages as workers would report them."""

    book: FairBook = field(default_factory=FairBook)
    averages: dict[str, float] = field(default_factory=dict)
    unit: float | None = None
    _turns: dict[int, tuple[str, str, Turn]] = field(default_factory=dict)
    _told: float = 0.0
    _runs: dict[str, list[float]] = field(default_factory=dict)

    def enter(self, number: int, job: Arrival, now: float) -> float:
        turn = self.book.enter(job.tenant, charge_for(self.averages, job.task, self.unit))
        self._turns[number] = job.tenant, job.task, turn
        return fair_rank(job.priority, turn.start)

    def claim(self, number: int) -> None:
        self.book.claim(self._turns[number][2])

    def end(self, number: int, measured: float, now: float) -> None:
        tenant, task, turn = self._turns.pop(number)
        if self.unit is not None:
            self.book.end(tenant, turn, cost_of(measured, self.unit))
        for name in (task, "*"):
            self._runs.setdefault(name, []).append(measured)
        if now - self._told >= _BEAT_MS:
            self._tell(now)

    def _tell(self, now: float) -> None:
        for name, runs in self._runs.items():
            mean = sum(runs) / len(runs)
            known = self.averages.get(name, mean)
            self.averages[name] = known + (mean - known) * (1 - _LEFT ** len(runs))
        if self.unit is None:
            self.unit = self.averages["*"]
        self._runs.clear()
        self._told = now


def make(name: str, weights: Mapping[str, float] | None = None) -> Policy:
    """A policy by name, new."""
    if name == "fair":
        return Fair(FairBook(weights=dict(weights or {})))
    return Plain({"fifo": fifo, "priority": priority, "strict": strict, "aging": aging}[name])
