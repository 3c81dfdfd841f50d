"""Request and response: enqueue a job, wait for its result, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from bench.bench import Sample, percentile
from bench.peers.stand import Stand

NAME = "request"
NEEDS_WORKER = True

_COUNT = 300
_SECONDS = 1.0


def run(stand: Stand) -> Iterable[Sample]:
    """Some hundred requests to one worker, which keeps results."""
    stand.workers("noop", results=True)
    seconds = _SECONDS * stand.scale
    found = stand.ask(seconds + 12, results=True, do="request", count=_COUNT, seconds=seconds)
    times = sorted(found["times"])
    for figure, share in (("p50", 0.5), ("p99", 0.99)):
        yield Sample("enqueue, then the result", figure, percentile(times, share), "ms")
    if stand.system.results == "asked":
        stand.drop()
