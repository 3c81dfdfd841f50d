"""How fast one producer process enqueues, each way, beside a bare client that sets a key."""

from __future__ import annotations

from collections.abc import Iterable

from bench.bench import Bench, Sample

NAME = "enqueue"
ONCE = False

_UNITS = {"rate": "jobs/s", "producer CPU": "µs/job", "server CPU": "µs/job"}


def run(bench: Bench) -> Iterable[Sample]:
    """Every way once."""
    bench.server.clear()
    found = bench.produce("enqueue", bench.amount(5_000))
    for case, figures in found.items():
        for figure, value in figures.items():
            yield Sample(case, figure, value, _UNITS[figure])
    for mode, floor in (("async", "floor: await set()"), ("sync", "floor: set()")):
        case = f"one by one, {mode}"
        yield Sample(case, "rate / floor", found[case]["rate"] / found[floor]["rate"], "")
    bench.server.clear()
