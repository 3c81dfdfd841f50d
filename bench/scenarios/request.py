"""Request and response: enqueue a job, wait for its result, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from bench.bench import Bench, Sample

NAME = "request"
ONCE = False


def run(bench: Bench) -> Iterable[Sample]:
    """Some hundred requests to one worker."""
    bench.server.clear()
    with bench.worker():
        found = bench.produce("request", bench.amount(1_000))
    for figure in ("p50", "p99"):
        yield Sample("enqueue, then result()", figure, found[figure], "ms")
