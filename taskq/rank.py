"""The order of ready jobs, in Python: the same rule as lua/include/rank_of.lua, for models, peeks
and explanations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

BAND = 10**13
#: Horizon of a queue that sets none, ms: how long after becoming ready a job without a deadline
#: counts as due.
HORIZON_MS = 60_000
#: Default patience of an `aging` queue by priority 0..9, ms.
PATIENCE_MS = (600_000, 480_000, 360_000, 240_000, 120_000, 60_000, 30_000, 10_000, 3_000, 1_000)
#: What a run costs a group of a `fair` queue that is as long as the queue's first average; and what
#: each is charged while there is none.
UNIT = 100.0


def strict_rank(
    priority: int, deadline_ms: int | None, at_ms: int, horizon_ms: int = HORIZON_MS
) -> int:
    """Rank of a job that became ready at `at_ms`; smaller runs first. Exact below 2^53."""
    due = at_ms + horizon_ms if deadline_ms is None else deadline_ms
    return (9 - priority) * BAND + due


def aging_rank(
    priority: int,
    deadline_ms: int | None,
    at_ms: int,
    patience_ms: Sequence[int] = PATIENCE_MS,
) -> int:
    """Rank in an `aging` queue: no bands, every job is the most urgent in the end."""
    due = at_ms + patience_ms[priority]
    return due if deadline_ms is None else min(due, deadline_ms)


def fair_rank(priority: int, start: float) -> float:
    """Rank in a `fair` queue: inside a band by virtual start."""
    return (9 - priority) * BAND + start


def cost_of(measured_ms: float, unit_ms: float) -> float:
    """What a run costs. `unit_ms`: the first average that the queue ever knew. A scale that is
    kept from the start makes jobs that waited before anything was measured worth as much as those
    that come later.
    """
    return measured_ms * UNIT / unit_ms


def charge_for(averages: Mapping[str, float], task: str, unit_ms: float | None) -> float:
    """What a job is charged before it has run: by its task's average run time, else that of all
    tasks (`*`), ms.
    """
    if unit_ms is None:
        return UNIT
    return cost_of(averages.get(task, averages.get("*", unit_ms)), unit_ms)


@dataclass(frozen=True, slots=True)
class Turn:
    """The place of one job among those of its group: virtual start and what was charged."""

    start: float
    charged: float


@dataclass(slots=True)
class FairBook:
    """Start-time fair queueing: whose turn it is, by service already charged to each group.

    A job starts, in virtual time, when its group's last job has finished there, but never before
    the job that was claimed last: a group that was away gets no credit for it. A group of weight 2
    pays half, and so gets twice as much.
    """

    weights: dict[str, float] = field(default_factory=dict)
    finish: dict[str, float] = field(default_factory=dict)
    vtime: float = 0.0

    def enter(self, group: str, charge: float) -> Turn:
        """A job becomes ready: its turn. The group pays at once, by estimate."""
        start = max(self.vtime, self.finish.get(group, 0.0))
        self.finish[group] = start + charge / self.weights.get(group, 1.0)
        return Turn(start, charge)

    def claim(self, turn: Turn) -> None:
        """The job begins to run: virtual time is there now."""
        self.vtime = max(self.vtime, turn.start)

    def end(self, group: str, turn: Turn, cost: float) -> None:
        """What the run really cost is known: what was paid too little or too much is settled. Not
        called while nothing is measured: all pay the same then.
        """
        owed = (cost - turn.charged) / self.weights.get(group, 1.0)
        self.finish[group] = self.finish.get(group, 0.0) + owed


def describe(rank: float, policy: str = "strict") -> str:
    """A rank in words: `priority 9, due 2026-11-23 21:00:00.123 UTC`; in a `fair` queue the virtual
    time at which it is the group's turn.
    """
    if not 0 <= rank < 10 * BAND:
        return f"rank {rank:g}, which is none of taskq's"
    band, due = divmod(int(rank), BAND)
    if policy == "fair":
        return f"priority {9 - band}, turn {due / UNIT:.2f}"
    when = datetime.fromtimestamp(due / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    if policy == "aging":
        return f"due {when} UTC"
    return f"priority {9 - band}, due {when} UTC"
