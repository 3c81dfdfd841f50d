"""What taskq set out to reach, and what the newest runs found: one line a target, made from JSON.

A target that is missed stays in the table; why is told below it on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.peers import ceiling
from bench.peers.comparison import Comparison
from bench.peers.table import FLOOR, TASKQ
from bench.results import Figure, Results, number

_DRAIN = ("drain", "no-op coroutines")
_ASYNC, _SYNC = ("enqueue", "one by one, async"), ("enqueue", "one by one, sync")
_GATHERED, _BULK = ("enqueue", "100 coroutines at a time"), ("enqueue", "bulk")

Found = tuple[float, str] | None


@dataclass(frozen=True, slots=True)
class Target:
    """`find` gives the figure and how it came about; it is met when not below (else not above)."""

    what: str
    bound: float
    at_least: bool
    unit: str
    find: Callable[[Runs], Found]


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs that figures are taken from."""

    peers: Comparison
    growth: Results | None
    alone: Results | None
    """The newest run of bench/run.py."""

    def ours(self, place: tuple[str, str], name: str) -> Figure | None:
        """A figure of taskq's."""
        return self._of(TASKQ, place, name)

    def _of(self, system: str, place: tuple[str, str], name: str) -> Figure | None:
        measured = self.peers.systems.get(system)
        return measured.get(*place, name) if measured else None

    def against(self, system: str, place: tuple[str, str], name: str) -> Found:
        """Ours as a share of another's."""
        ours, theirs = self.ours(place, name), self._of(system, place, name)
        if ours is None or theirs is None or not theirs.median:
            return None
        return ours.median / theirs.median, f"{ours.text} of {theirs.text}"

    def against_best(
        self, place: tuple[str, str], name: str, *, more: bool, keeping: bool = False
    ) -> Found:
        """Ours as a share of the best peer's; `keeping`: of those that keep results."""
        found = {
            system: figure
            for system, figure in self.peers.figures(*place, name)
            if system not in (TASKQ, FLOOR, ceiling.NAME)
            and not (keeping and "nothing" in self.peers.systems[system].about["results"])
        }
        ours = self.ours(place, name)
        if not found or ours is None:
            return None
        pick = max if more else min
        best = pick(found, key=lambda system: found[system].median)
        return ours.median / found[best].median, f"{ours.text}, {best} {found[best].text}"

    def plain(self, place: tuple[str, str], name: str) -> Found:
        """A figure of taskq's, as it is."""
        ours = self.ours(place, name)
        return (ours.median, ours.spread or "") if ours else None

    def grown(self) -> Found:
        """Server time of a claim with ten million jobs waiting, to that with ten thousand."""
        times = {
            figure.case: figure.median
            for figure in (self.growth.figures if self.growth else ())
            if figure.scenario == "waiting" and figure.name == "claim of one: time in the script"
        }
        most = [times[case] for case in times if case.startswith("10,000,000 ")]
        few = [times[case] for case in times if case.startswith("10,000 ")]
        if not most or not few:
            return None
        return most[0] / few[0], f"{number(most[0])} and {number(few[0])} µs"


def _sent(runs: Runs) -> Found:
    for figure in runs.alone.figures if runs.alone else ():
        if (figure.case, figure.name) == ("one worker, idle", "sent"):
            return figure.median, "make bench"
    return None


def _gathered(runs: Runs) -> Found:
    many, one = runs.ours(_GATHERED, "rate"), runs.ours(_ASYNC, "rate")
    if many is None or one is None:
        return None
    return many.median / one.median, f"{many.text} and {one.text} jobs/s"


def _latency(rate: str) -> Callable[[Runs], Found]:
    def find(runs: Runs) -> Found:
        place = ("latency", f"{rate} jobs/s")
        found, missed = runs.plain(place, "p99"), runs.ours(place, "missed")
        if found is None or missed is None:
            return None
        return found[0], f"{missed.text} missed, {found[1]}"

    return find


def _best(place: tuple[str, str], name: str, **how: bool) -> Callable[[Runs], Found]:
    return lambda runs: runs.against_best(place, name, **how)  # type: ignore[arg-type]


def _share(system: str, place: tuple[str, str], name: str) -> Callable[[Runs], Found]:
    return lambda runs: runs.against(system, place, name)


def _own(place: tuple[str, str], name: str) -> Callable[[Runs], Found]:
    return lambda runs: runs.plain(place, name)


_IDLE = ("wake-up", "idle")

TARGETS = (
    Target("drain, to the fastest peer", 4, True, "x", _best(_DRAIN, "rate", more=True)),
    Target("drain, of the server-bound rate", 0.6, True, "x", _share("ceiling", _DRAIN, "rate")),
    Target(
        "server CPU a drained job, to the best peer that keeps results",
        *(0.45, False, "x", _best(_DRAIN, "server CPU", more=False, keeping=True)),
    ),
    Target(
        "worker CPU a drained job, to the best peer",
        *(0.2, False, "x", _best(_DRAIN, "worker CPU", more=False)),
    ),
    Target(
        "enqueue one by one, async, of the floor", 0.8, True, "x", _share(FLOOR, _ASYNC, "rate")
    ),
    Target("enqueue one by one, sync, of the floor", 0.8, True, "x", _share(FLOOR, _SYNC, "rate")),
    Target(
        "enqueue one by one, async, to the fastest peer",
        *(1, True, "x", _best(_ASYNC, "rate", more=True)),
    ),
    Target(
        "enqueue one by one, sync, to the fastest peer",
        *(1, True, "x", _best(_SYNC, "rate", more=True)),
    ),
    Target("100 coroutines enqueuing at once, to one by one", 4, True, "x", _gathered),
    Target("bulk enqueue, to the fastest peer", 1.5, True, "x", _best(_BULK, "rate", more=True)),
    Target("enqueue to start at 10,000 jobs/s, p99", 5, False, "ms", _latency("10,000")),
    Target("enqueue to start at 20,000 jobs/s, p99", 20, False, "ms", _latency("20,000")),
    Target("idle worker, commands sent", 1, False, "a second", _sent),
    Target("idle worker, CPU", 0.5, False, "%", _own(_IDLE, "worker CPU")),
    Target("wake-up, p50", 1, False, "ms", _own(("wake-up", "single jobs, 20 ms apart"), "p50")),
    Target("claim with 10^7 waiting, to one with 10^4", 1.5, False, "x", Runs.grown),
    Target(
        "waiting job, payload of 20 bytes",
        *(300, False, "bytes", _own(_DRAIN, "memory of a waiting job")),
    ),
    Target("worker process at rest", 45, False, "MiB", _own(_IDLE, "worker memory")),
)


def lines(runs: Runs) -> Iterator[list[str]]:
    """What, target, found, how it came about, and whether it is met; one that was not measured
    says so.
    """
    for target in TARGETS:
        sign = "at least" if target.at_least else "at most"
        unit = target.unit if target.unit in ("%", "x") else f" {target.unit}"
        bound = f"{sign} {number(target.bound)}{unit}"
        found = target.find(runs)
        if found is None:
            yield [target.what, bound, "not measured", "", ""]
            continue
        met = found[0] >= target.bound if target.at_least else found[0] <= target.bound
        yield [
            target.what,
            bound,
            f"{number(found[0])}{unit}",
            found[1],
            "met" if met else "missed",
        ]
