"""From the enqueue call to the first line of the task, at steady rates that wait for nobody.

One producer process, one worker process and the server share the machine. Both processes read the
same monotonic clock.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path

from bench.bench import Bench, Sample, percentile

NAME = "latency"
ONCE = False

_RATES = (1_000, 5_000, 10_000, 20_000)
_QUICK_RATES = (1_000, 10_000)
_SECONDS = 3.0


def run(bench: Bench) -> Iterable[Sample]:
    """Every rate once."""
    for rate in _QUICK_RATES if bench.quick else _RATES:
        yield from _at(bench, rate)


def _at(bench: Bench, rate: int) -> Iterable[Sample]:
    bench.server.clear()
    with bench.stamping_worker() as (worker, path):
        cpu, before = worker.cpu, bench.server.read()
        sent = bench.produce("latency", rate, _SECONDS)
        worker.wait_until(lambda: bench.system.finished() >= sent["sent"], 30, "finish")
        own, used = worker.cpu - cpu, bench.server.read().since(before)
        worker.end()
        case = f"{rate:,} jobs/s"
        yield Sample(case, "achieved", sent["rate"], "jobs/s")
        yield from delays(case, path, sent["sent"])
    yield Sample(case, "producer late p99", sent["late p99"], "ms")
    yield Sample(case, "producer CPU", sent["producer CPU"], "µs/job")
    yield Sample(case, "worker CPU", own / sent["sent"] * 1e6, "µs/job")
    yield Sample(case, "server CPU", used.cpu / sent["sent"] * 1e6, "µs/job")


def delays(case: str, path: Path, sent: int) -> Iterable[Sample]:
    """Percentiles of what a stamping worker has written."""
    noted = array("q", path.read_bytes())
    ordered = sorted(ns / 1e6 for ns in noted)
    for figure, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)):
        yield Sample(case, figure, percentile(ordered, share), "ms")
    yield Sample(case, "missed", sent - len(ordered), "jobs")
