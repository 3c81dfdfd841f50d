"""What a worker with nothing to do costs, and how soon it starts on the first job."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Iterable

from bench.bench import Sample, percentile
from bench.peers.stand import Stand

NAME = "wake-up"
NEEDS_WORKER = True

_JOBS = 40
_APART_MS = 20
_QUIET_S = 1.5


def run(stand: Stand) -> Iterable[Sample]:
    """A quiet second, then single jobs."""
    fleet = stand.workers("noop")
    cpu, before, began = fleet.cpu, stand.server.read(), time.perf_counter()
    time.sleep(_QUIET_S)
    quiet = time.perf_counter() - began
    own, used = fleet.cpu - cpu, stand.server.read().since(before)
    yield Sample("idle", "commands, inside scripts too", used.all_calls / quiet, "per s")
    yield Sample("idle", "worker CPU", own / quiet * 100, "%")
    yield Sample("idle", "server CPU", used.cpu / quiet * 100, "%")
    yield Sample("idle", "worker memory", fleet.memory / 2**20, "MiB")

    os.truncate(stand.stamps, 0)
    earlier = fleet.ran
    jobs = max(10, int(_JOBS * stand.scale))
    stand.ask(20, do="spaced", count=jobs, ms=_APART_MS)
    fleet.wait_until(lambda: fleet.ran - earlier >= jobs, 5, "finish")
    ordered = sorted(ns / 1e6 for ns in array("q", stand.stamps.read_bytes()))
    case = f"single jobs, {_APART_MS} ms apart"
    for figure, share in (("p50", 0.5), ("p99", 0.99)):
        yield Sample(case, figure, percentile(ordered, share), "ms")
