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
#: A run in which the machine had no time left is done again: at most so many, whoever replays.
_CROWDED, _TRIES = 0.85, 2
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
    scenario: Scenario, results: Results, server: Server, say: Say, seed: int = 1
) -> None:
    """Every row through real workers, on the traces of one seed. A peer that is not here is said
    once.
    """
    if scenario.real is None:
        return
    for trace in scenario.real(seed):
        for row in scenario.rows:
            if row.setup is None:
                continue
            say(f"{scenario.name}: {trace.name}: {row.name}")
            try:
                _take_row(scenario, trace, row, results, server)
            except NotHere as reason:
                if str(reason) not in results.skipped:
                    results.skipped.append(str(reason))
                    say(str(reason))
            except BenchError as error:
                results.failures.append(f"{scenario.name}, {trace.name}, {row.name}: {error}")
                say(str(error))


def _take_row(scenario: Scenario, trace: Trace, row: Row, results: Results, server: Server) -> None:
    assert row.setup is not None
    for _ in range(_TRIES):
        psutil.cpu_percent(None)
        outcome = _replay(scenario, trace, row.setup, server)
        busy = psutil.cpu_percent(None) / 100
        if busy < _CROWDED:
            break
    margin = 0.0 if row.setup.system == "taskq" else PEER_MARGIN * SPEED
    found = figures(scenario.figures, trace, outcome.records, since=outcome.since, margin=margin)
    found |= {"sent late": outcome.late, "busy": busy}
    results.add(scenario.name, trace.name, row.name, "real", found)
    if trace.name in _DRAWN:
        _draw(scenario, trace, row, outcome.records, results)


def _replay(scenario: Scenario, trace: Trace, setup: Setup, server: Server) -> Outcome:
    return replay(
        server,
        trace,
        setup,
        speed=SPEED,
        workers=scenario.workers,
        waiting=scenario.waiting,
        until=scenario.until,
        at_most=scenario.at_most,
    )


def _draw(
    scenario: Scenario, trace: Trace, row: Row, records: Sequence[Record], results: Results
) -> None:
    """Note the curves of one real run."""
    if "shares" in scenario.figures:
        if row.name not in _SERVED:
            return
        until = max(record.left or 0.0 for record in records)
        served = measures.service_over_time(trace, records, until)
        results.series[f"service: {row.name}"] = {
            "until": round(until, 3),
            **{tenant: [round(value, 2) for value in values] for tenant, values in served.items()},
        }
        return
    for priority, waits in measures.waits(trace, records).items():
        points = [measures.percentile(waits, step / _QUANTILES) for step in range(_QUANTILES + 1)]
        results.series[f"waits: {row.name}: {priority}"] = [round(point, 3) for point in points]
