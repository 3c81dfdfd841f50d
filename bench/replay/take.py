"""Runs scenarios, simulated and real, and notes their figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import psutil

from bench.child import BenchError
from bench.replay import measures
from bench.replay.peers import NotHere
from bench.replay.real import PEER_MARGIN, Outcome, Setup, replay
from bench.replay.record import Record
from bench.replay.results import Results
from bench.replay.scenarios import PATIENCE, SPEED, Row, Scenario
from bench.replay.simulate import simulate
from bench.replay.trace import Trace
from bench.server import Server

Say = Callable[[str], None]
_ALWAYS = float("-inf")
#: A run in which the machine had no time left is done once more, whoever replays; at most so many
#: of a scenario: where it is always crowded, that changes nothing.
_CROWDED, _AGAIN = 0.85, 2
_SEED = 1
#: Points of a curve of waits.
_QUANTILES = 100
#: Traces whose curves are drawn.
_DRAWN = ("load 90%", "flood 100:1")
_SERVED = ("FIFO", "fair")


def figures(
    groups: Iterable[str],
    trace: Trace,
    records: Sequence[Record],
    *,
    since: float = _ALWAYS,
    margin: float = 0.0,
) -> dict[str, float]:
    """The figures of these groups."""
    found: dict[str, float] = {}
    for group in groups:
        found |= _GROUPS[group](trace, records, since, margin)
    return found


def _deadlines(trace: Trace, records: Sequence[Record], *_: float) -> dict[str, float]:
    return {"misses": measures.misses(trace, records)}


def _waits(trace: Trace, records: Sequence[Record], *_: float) -> dict[str, float]:
    waits = measures.waits(trace, records)
    return {f"worst wait {priority}": max(found) for priority, found in waits.items()}


def _patience(trace: Trace, records: Sequence[Record], *_: float) -> dict[str, float]:
    beyond = measures.beyond_patience(trace, records, lambda priority: PATIENCE[priority])
    return {"beyond patience": beyond, "longest run": max(job.service for job in trace.arrivals)}


def _shares(trace: Trace, records: Sequence[Record], since: float, _: float) -> dict[str, float]:
    return {
        "fairness": measures.fairness(trace, records, since),
        "idle": measures.idle_while_waiting(trace, records, since),
    }


def _order(
    trace: Trace, records: Sequence[Record], since: float, margin: float
) -> dict[str, float]:
    found = measures.inversions(records, margin)
    return {"inversions": found.pairs, "passed by": found.most, "jobs": len(records)}


_Take = Callable[[Trace, Sequence[Record], float, float], Mapping[str, float]]
_GROUPS: dict[str, _Take] = {
    "deadlines": _deadlines,
    "waits": _waits,
    "patience": _patience,
    "shares": _shares,
    "order": _order,
}


def take_simulated(scenario: Scenario, results: Results, seeds: int) -> None:
    """Every row that can be simulated, on the traces of so many seeds."""
    for seed in range(seeds):
        for trace in scenario.traces(seed):
            for row in scenario.rows:
                if row.policy is not None:
                    records = simulate(trace, row.policy(), expire=row.expire)
                    found = figures(scenario.figures, trace, records)
                    results.add(scenario.name, trace.name, row.name, "simulated", found)


def take_real(
    scenario: Scenario, results: Results, server: Server, say: Say, *, quick: bool = False
) -> None:
    """Every row through real workers, on the traces of one seed. A peer that is not here is said
    once.
    """
    if scenario.real is None:
        return
    again = 0 if quick else _AGAIN
    for trace in scenario.real(_SEED):
        rows = scenario.rows if scenario.real_rows is None else scenario.real_rows
        for row in rows:
            if row.setup is None:
                continue
            say(f"{scenario.name}: {trace.name}: {row.name}")
            try:
                again -= _take_row(scenario, trace, row, results, server, again > 0)
            except NotHere as reason:
                if str(reason) not in results.skipped:
                    results.skipped.append(str(reason))
                    say(str(reason))
            except BenchError as error:
                results.failures.append(f"{scenario.name}, {trace.name}, {row.name}: {error}")
                say(str(error))


def _take_row(
    scenario: Scenario, trace: Trace, row: Row, results: Results, server: Server, again: bool
) -> bool:
    """Run one row and note its figures; True when it was run twice."""
    assert row.setup is not None
    outcome, busy = _watched(scenario, trace, row.setup, server)
    again = again and busy > _CROWDED
    if again:
        outcome, busy = _watched(scenario, trace, row.setup, server)
    margin = 0.0 if row.setup.system == "taskq" else PEER_MARGIN * SPEED
    found = figures(scenario.figures, trace, outcome.records, since=outcome.since, margin=margin)
    found |= {"sent late": outcome.late, "busy": busy}
    results.add(scenario.name, trace.name, row.name, "real", found)
    if trace.name in _DRAWN:
        _draw(scenario, trace, row, outcome, results)
    return again


def _watched(
    scenario: Scenario, trace: Trace, setup: Setup, server: Server
) -> tuple[Outcome, float]:
    """A replay, and which share of the machine's time was used meanwhile, by anybody."""
    psutil.cpu_percent(None)
    outcome = replay(
        server,
        trace,
        setup,
        speed=SPEED,
        workers=scenario.workers,
        waiting=scenario.waiting,
        until=scenario.until,
        at_most=scenario.at_most,
    )
    return outcome, psutil.cpu_percent(None) / 100


def _draw(scenario: Scenario, trace: Trace, row: Row, outcome: Outcome, results: Results) -> None:
    """Note the curves of one real run."""
    records = outcome.records
    if "shares" in scenario.figures:
        if row.name not in _SERVED:
            return
        until = max(record.left or 0.0 for record in records)
        served = measures.service_over_time(trace, records, outcome.since, until)
        results.series[f"service: {row.name}"] = {
            "until": round(until - outcome.since, 3),
            **{tenant: [round(value, 2) for value in values] for tenant, values in served.items()},
        }
        return
    for priority, waits in measures.waits(trace, records).items():
        points = [measures.percentile(waits, step / _QUANTILES) for step in range(_QUANTILES + 1)]
        results.series[f"waits: {row.name}: {priority}"] = [round(point, 3) for point in points]
