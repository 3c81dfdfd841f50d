"""The order of ready jobs, in Python: the same rule as lua/include/rank_of.lua, for models, peeks
and explanations.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

BAND = 10**13
#: Horizon of a queue that sets none, ms: how long after becoming ready a job without a deadline
#: counts as due.
HORIZON_MS = 60_000
#: Default patience of an `aging` queue by priority 0..9, ms.
PATIENCE_MS = (600_000, 480_000, 360_000, 240_000, 120_000, 60_000, 30_000, 10_000, 3_000, 1_000)


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


def describe(rank: float, policy: str = "strict") -> str:
    """A rank in words: `priority 9, due 2026-11-23 21:00:00.123 UTC`."""
    band, due = divmod(int(rank), BAND)
    when = datetime.fromtimestamp(due / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    if policy == "aging":
        return f"due {when} UTC"
    return f"priority {9 - band}, due {when} UTC"
