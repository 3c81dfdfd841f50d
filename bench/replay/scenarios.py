"""What is replayed, by whom, and which figures are taken; for simulation and real runs alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bench.replay import trace as traces
from bench.replay.policies import Plain, Policy, make
from bench.replay.real import Setup
from bench.replay.trace import Trace
from taskq.rank import HORIZON_MS, PATIENCE_MS, aging_rank

#: Real runs are so many times faster than the trace: 1 s of work becomes 50 ms.
SPEED = 20.0
#: The patience that the queue of the scenario `patience` is given, priority 0 to 9, trace s.
PATIENCE = (60, 53, 47, 40, 34, 27, 21, 14, 8, 1)

_HORIZON = {"horizon": HORIZON_MS / 1000 / SPEED}
_AGING = {"policy": "aging", "patience": [ms / 1000 / SPEED for ms in PATIENCE_MS]}
_IMPATIENT = {"policy": "aging", "patience": [wait / SPEED for wait in PATIENCE]}


@dataclass(frozen=True, slots=True)
class Row:
    """One way to order: by name, simulated (a policy, or None) and real (a setup, or None)."""

    name: str
    policy: Callable[[], Policy] | None
    setup: Setup | None
    expire: bool = False


FIFO = Row(
    "FIFO",
    partial(make, "fifo"),
    Setup(system="taskq", queue=_HORIZON, priorities=False, deadlines=False),
)
STRICT = Row("strict", partial(make, "strict"), Setup(system="taskq", queue=_HORIZON))
EXPIRING = Row(
    "strict, late jobs dropped",
    partial(make, "strict"),
    Setup(system="taskq", queue=_HORIZON, expire=True),
    expire=True,
)
AGING = Row("aging", partial(make, "aging"), Setup(system="taskq", queue=_AGING))
FAIR = Row(
    "fair", partial(make, "fair"), Setup(system="taskq", queue={"policy": "fair"}, groups=True)
)
ONLY = Row("priorities alone", partial(make, "priority"), None)
HUEY = Row("huey", None, Setup(system="huey"))
BULLMQ = Row("BullMQ (Python)", None, Setup(system="bullmq"))
IMPATIENT = Row(
    "aging",
    lambda: Plain(
        lambda job, now: aging_rank(
            job.priority, None, int(now), [wait * 1000 for wait in PATIENCE]
        )
    ),
    Setup(system="taskq", queue=_IMPATIENT),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Traces and the rows that are compared on them."""

    name: str
    figures: tuple[str, ...]
    """Groups of figures: deadlines, waits, patience, shares, order, predictions."""
    traces: Callable[[int], Sequence[Trace]]
    """By seed."""
    rows: tuple[Row, ...]
    real: Callable[[int], Sequence[Trace]] | None = None
    """Shorter ones for real runs; None: simulated only."""
    real_rows: tuple[Row, ...] | None = None
    """Rows of real runs; None: all."""
    workers: int = 2
    waiting: bool = False
    until: str | None = None
    at_most: float = 60.0


def _loads(seed: int, *, duration: float, mix: traces.Mix = traces.MIXED) -> list[Trace]:
    return [traces.mixed(load, seed=seed, duration=duration, mix=mix) for load in (0.7, 0.9, 1.1)]


def _patience(seed: int, *, duration: float) -> list[Trace]:
    """95 % load, no deadlines: what waits, waits for its turn alone."""
    trace = traces.mixed(0.95, seed=seed, duration=duration)
    jobs = tuple(replace(job, deadline=None) for job in trace.arrivals)
    return [replace(trace, arrivals=jobs)]


def _one_slot(seed: int, *, duration: float) -> list[Trace]:
    return [
        replace(
            traces.mixed(0.95, seed=seed, slots=1, duration=duration),
            name="one slot, load 95%",
        )
    ]


#: What --quick runs for real, by scenario; the rest is simulated alone.
_QUICK = {
    "load": (FIFO, STRICT, HUEY, BULLMQ),
    "flood": (FAIR,),
    "patience": (IMPATIENT,),
    "one slot": (STRICT,),
}


def quick_scenarios() -> list[Scenario]:
    """All simulated, a few rows through real workers, shortly."""
    real: dict[str, Callable[[int], Sequence[Trace]]] = {
        "load": lambda seed: _loads(seed, duration=30.0)[1:2],
        "flood": lambda seed: [traces.flood(seed=seed, jobs=20)],
        "patience": partial(_patience, duration=30.0),
        "one slot": partial(_one_slot, duration=30.0),
    }
    return [
        replace(scenario, real=real.get(scenario.name), real_rows=_QUICK.get(scenario.name, ()))
        for scenario in all_scenarios()
    ]


def all_scenarios() -> list[Scenario]:
    """In the order of the page."""
    loads = partial(_loads, duration=200.0)
    short = partial(_loads, duration=100.0)
    everyone = (FIFO, STRICT, EXPIRING, AGING, FAIR, ONLY, HUEY, BULLMQ)
    return [
        Scenario(
            name="load",
            figures=("deadlines", "waits", "order"),
            traces=loads,
            rows=everyone,
            real=short,
        ),
        Scenario(
            name="all due",
            figures=("deadlines", "waits"),
            traces=partial(_loads, duration=200.0, mix=traces.ALL_DUE),
            rows=(FIFO, STRICT, EXPIRING),
        ),
        Scenario(
            name="flood",
            figures=("shares",),
            traces=lambda seed: [
                traces.flood(seed=seed),
                traces.flood(seed=seed, over=4.0),
                traces.rivals(seed=seed),
                traces.rivals(seed=seed, same_task=True),
            ],
            rows=(FIFO, FAIR, HUEY, BULLMQ),
            real=lambda seed: [traces.flood(seed=seed)],
            waiting=True,
            until="other",
            at_most=8.0,
        ),
        Scenario(
            name="late",
            figures=("shares",),
            traces=lambda seed: [traces.late(seed=seed)],
            rows=(FIFO, FAIR),
            real=lambda seed: [traces.late(seed=seed)],
            until="other",
            at_most=8.0,
        ),
        Scenario(
            name="patience",
            figures=("patience", "waits"),
            traces=partial(_patience, duration=200.0),
            rows=(FIFO, STRICT, IMPATIENT),
            real=partial(_patience, duration=100.0),
        ),
        Scenario(
            name="one slot",
            figures=("order",),
            traces=partial(_one_slot, duration=200.0),
            rows=(FIFO, STRICT, AGING, FAIR, HUEY, BULLMQ),
            real=partial(_one_slot, duration=100.0),
            workers=1,
        ),
    ]
