"""Whether a long run was flat and lost nothing. Pure: it looks at a record, and at nothing else.

The first third is for reaching the steady state: results of `keep` seconds fill the server, the
worker's pools fill. Then medians are compared, of the second third with the last.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.endurance.record import Moment, Record

#: Growth between the two thirds that counts as none, of memory.
FLAT = 0.02
#: The share of the wanted rate that must have been sent, or the load was another.
_KEPT_UP = 0.98
#: A third of fewer looks, or a run that is shorter (s), says nothing about memory.
_LOOKS, _SECONDS = 4, 60.0

#: What must be flat.
MEMORY: dict[str, Callable[[Moment], float]] = {
    "worker": lambda moment: moment.worker_rss,
    "producer": lambda moment: moment.producer_rss,
    "server, in use": lambda moment: moment.server_used,
    "server, resident": lambda moment: moment.server_rss,
}


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes in the second third and in the last, and what that is of a million jobs."""

    what: str
    before: float
    after: float
    per_million: float

    @property
    def share(self) -> float:
        """0.01 is one percent."""
        return self.after / self.before - 1

    @property
    def flat(self) -> bool:
        return self.share <= FLAT


@dataclass(frozen=True, slots=True)
class Verdict:
    """`growth` is empty when the run was too short to tell."""

    growth: tuple[Growth, ...]
    problems: tuple[str, ...]

    @property
    def text(self) -> str:
        """In one line."""
        if self.problems:
            return "; ".join(self.problems)
        if not self.growth:
            return "nothing lost; too short to say whether memory is flat"
        return "memory is flat, nothing lost"


def thirds(moments: Sequence[Moment]) -> tuple[list[Moment], list[Moment], list[Moment]]:
    """First, second, last; what does not divide goes to the first."""
    size = len(moments) // 3
    at = len(moments) - 2 * size
    return list(moments[:at]), list(moments[at : at + size]), list(moments[at + size :])


def judge(record: Record) -> Verdict:
    """All that is not as it should be."""
    problems = [*_lost(record)]
    growth = tuple(_growths(record))
    for one in growth:
        if not one.flat:
            problems.append(
                f"memory of the {one.what}: {one.share:+.1%}, {one.per_million / 2**20:.2f} MiB"
                " by million jobs"
            )
    return Verdict(growth, tuple(problems))


def _lost(record: Record) -> list[str]:
    problems = []
    if record.failed:
        problems.append(f"{record.failed:,} enqueue calls failed, the first: {record.trouble}")
    for what, found in (
        ("enqueued", record.enqueued),
        ("completed", record.completed),
        ("started", record.started),
    ):
        if found != record.sent - record.failed:
            problems.append(f"{record.sent - record.failed:,} jobs were sent, {found:,} {what}")
    if record.rate < _KEPT_UP * record.wanted:
        problems.append(f"{record.wanted:,.0f} jobs/s were wanted, {record.rate:,.0f} sent")
    return problems


def _growths(record: Record) -> list[Growth]:
    _, second, last = thirds(record.moments)
    if record.seconds < _SECONDS or len(last) < _LOOKS:
        return []
    jobs = statistics.median(_totals(record, last)) - statistics.median(_totals(record, second))
    found = []
    for what, read in MEMORY.items():
        before, after = (statistics.median(map(read, third)) for third in (second, last))
        found.append(Growth(what, before, after, (after - before) / max(jobs, 1) * 1e6))
    return found


def _totals(record: Record, some: Sequence[Moment]) -> list[int]:
    """Jobs done since the beginning, at each of these looks."""
    total, totals = 0, {}
    for moment in record.moments:
        total += moment.done
        totals[moment.at] = total
    return [totals[moment.at] for moment in some]
