"""Jobs that wait, and a warm worker that is let go: how fast it empties the queue, at what cost.

The worker is stopped (SIGSTOP) while the queue is filled. Filling is bounded in time and so is
draining, so that a slow system takes no longer than a fast one: it does fewer jobs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from bench.bench import Sample
from bench.child import BenchError
from bench.peers.stand import Stand

NAME = "drain"
NEEDS_WORKER = True

#: Case, kind of job, jobs at most, worker processes.
CASES = (
    ("no-op coroutines", "noop", 20_000, 1),
    ("plain functions", "plain", 10_000, 1),
    ("1 ms of CPU", "burn", 400, 1),
    ("10 ms asleep, 100 at a time", "nap", 6_000, 1),
    ("no-op coroutines, two workers", "noop", 20_000, 2),
)
_FILL_S = 0.6
_DRAIN_S = 1.5
_MB = 2**20


def run(stand: Stand) -> Iterable[Sample]:
    """Every case once; one that fails does not take the others with it."""
    for case, kind, count, workers in CASES:
        if kind not in stand.system.lacks:
            yield from drain(stand, case, kind, count, workers=workers)


def drain(
    stand: Stand, case: str, kind: str, most: int, *, workers: int = 1, payload: int = 0
) -> Iterable[Sample]:
    """Fill, let go, and take every figure until the queue is empty or the time is over."""
    fleet = stand.workers(kind, count=workers)
    at_rest = fleet.memory
    with fleet.held():
        empty = stand.server.kept
        filled = stand.fill(kind, most, seconds=_FILL_S * stand.scale, payload=payload)["count"]
        each = (stand.server.kept - empty) / max(1, filled)
        earlier, cpu = fleet.ran, fleet.cpu
        before, began = stand.server.read(), time.perf_counter()
    end = began + _DRAIN_S * stand.scale
    reads = 0

    def over() -> bool:
        nonlocal reads
        if fleet.ran - earlier < filled:
            return time.perf_counter() > end
        reads += 1
        return stand.left() <= 0

    # Seldom enough not to take a core from what is measured, often enough for a second's figure.
    fleet.wait_until(over, 4 * _DRAIN_S + 2, "finish", every=0.004)
    wall, own = time.perf_counter() - began, fleet.cpu - cpu
    used, done = stand.server.read().since(before), fleet.ran - earlier
    memory = fleet.memory
    if done <= 0:
        raise BenchError(f"{case}: no job ran in {wall:.1f} s")

    def sample(figure: str, value: float, unit: str) -> Sample:
        return Sample(case, figure, value, unit)

    yield sample("rate", done / wall, "jobs/s")
    yield sample("worker CPU", own / done * 1e6, "µs/job")
    yield sample("server CPU", used.cpu / done * 1e6, "µs/job")
    yield sample("script calls", used.scripts / done, "per job")
    yield sample("commands, inside scripts too", (used.all_calls - reads) / done, "per job")
    yield sample("to the server", used.received / done, "bytes/job")
    yield sample("from the server", used.sent / done, "bytes/job")
    yield sample("worker memory at rest", at_rest / _MB, "MiB")
    yield sample("worker memory after", memory / _MB, "MiB")
    yield sample("memory of a waiting job", each, "bytes")
    yield sample("jobs", done, "")
    if done < filled:
        stand.drop()
