"""How far a predicted start is from the real one, while a backlog lasts.

The estimate needs averages, which workers tell with their heartbeats: jobs sent in the first part
of the run are left out.
"""

from __future__ import annotations

from bench.replay import trace as traces
from bench.replay.measures import percentile, prediction_errors
from bench.replay.real import Setup, replay
from bench.replay.results import Results
from bench.replay.scenarios import SPEED
from bench.server import Server
from taskq.rank import HORIZON_MS

NAME = "prediction"
_SLOTS = 16
#: Share of the jobs that are sent before the workers' first heartbeats have told averages.
_WARM_UP = 0.5
#: A job that waited less was as good as started: an error by its wait says nothing. Trace s.
_LEAST_WAIT = 1.0


def take(results: Results, server: Server, *, quick: bool) -> None:
    """One priority, where all is known; and a mix, where later jobs may go first."""
    jobs = 1600 if quick else 3200
    duration = jobs / _SLOTS
    mixed = traces.mixed(1.1, seed=1, slots=_SLOTS, duration=duration)
    queue = {"horizon": HORIZON_MS / 1000 / SPEED}
    for trace, setup in (
        (
            traces.steady(seed=1, slots=_SLOTS, jobs=jobs),
            Setup(system="taskq", queue=queue, priorities=False, deadlines=False, admit="warn"),
        ),
        (mixed, Setup(system="taskq", queue=queue, admit="warn")),
    )[: 1 if quick else 2]:
        records = replay(server, trace, setup, speed=SPEED).records
        known = [r for r in records if r.number >= _WARM_UP * len(records)]
        errors = prediction_errors(known, _LEAST_WAIT)
        signed = [
            (r.predicted - r.started) / r.wait
            for r in known
            if r.predicted is not None and r.started is not None and (r.wait or 0) >= _LEAST_WAIT
        ]
        values = {
            "p50": percentile(errors, 0.5),
            "p90": percentile(errors, 0.9),
            "bias": percentile(signed, 0.5),
            "jobs": len(errors),
            "wait": percentile([r.wait or 0.0 for r in known], 0.5),
        }
        results.add(NAME, trace.name, "strict", "real", values)
