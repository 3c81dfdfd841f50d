"""From the enqueue call to the first line of the task, at steady rates that wait for nobody.

One producer, one worker and the server share the machine. A system that falls behind at one rate
is not asked for higher ones: what it would show is the length of its backlog.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Iterable

from bench.bench import Sample, percentile
from bench.peers.comparison import KEEPS_UP
from bench.peers.stand import Stand

NAME = "latency"
NEEDS_WORKER = True

RATES = (100, 1_000, 5_000, 10_000, 20_000)
_SECONDS = 1.2
#: Jobs that have not begun so long after the last call are missed.
_PATIENCE_S = 1.0


def run(stand: Stand) -> Iterable[Sample]:
    """Every rate, as far as the system keeps up."""
    for rate in RATES:
        kept_up = yield from _at(stand, rate)
        if not kept_up:
            # What still waits would be in the way of the next measurement.
            stand.drop()
            return


def _at(stand: Stand, rate: int) -> Iterable[Sample]:
    fleet = stand.workers("noop")
    os.truncate(stand.stamps, 0)
    seconds = max(_SECONDS * stand.scale, 0.5)
    cpu, before = fleet.cpu, stand.server.read()
    sent = stand.ask(5 * seconds + 10, do="open_loop", rate=rate, seconds=seconds)
    end = time.monotonic() + _PATIENCE_S
    noted = array("q")
    while len(noted) < sent["sent"] and time.monotonic() < end:
        time.sleep(0.02)
        noted = array("q", _whole(stand.stamps.read_bytes()))
    own, used = fleet.cpu - cpu, stand.server.read().since(before)
    case = f"{rate:,} jobs/s"
    ordered = sorted(ns / 1e6 for ns in noted)
    missed = sent["sent"] - len(ordered)
    achieved = sent["sent"] / sent["wall"]
    yield Sample(case, "achieved", achieved, "jobs/s")
    if ordered:
        for figure, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)):
            yield Sample(case, figure, percentile(ordered, share), "ms")
    yield Sample(case, "missed", missed, "jobs")
    yield Sample(case, "producer late p99", sent["late p99"], "ms")
    yield Sample(case, "producer CPU", sent["cpu"] / sent["sent"] * 1e6, "µs/job")
    yield Sample(case, "worker CPU", own / sent["sent"] * 1e6, "µs/job")
    yield Sample(case, "server CPU", used.cpu / sent["sent"] * 1e6, "µs/job")
    return missed == 0 and achieved >= KEEPS_UP * rate


def _whole(noted: bytes) -> bytes:
    return noted[: len(noted) - len(noted) % 8]
