"""How fast one worker process empties a full queue of no-ops, and what a job costs on both sides.

The queue is filled while it is paused and a warm worker waits; the clock runs from its release to
the last job.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from bench.bench import Bench, Sample

NAME = "drain"
ONCE = False

#: Case, kind of task, jobs.
_CASES = (
    ("coroutines", "noop", 100_000),
    ("coroutines, result_ttl=0", "gone", 50_000),
    ("plain functions on threads", "plain", 20_000),
)
_MB = 2**20


def run(bench: Bench) -> Iterable[Sample]:
    """One drain of each kind."""
    for case, kind, usual in _CASES:
        yield from _drain(bench, case, kind, bench.amount(usual))


def _drain(bench: Bench, case: str, kind: str, count: int) -> Iterable[Sample]:
    server, system = bench.server, bench.system
    server.clear()
    system.hold()
    bench.produce("fill", kind, count)
    with bench.worker() as worker:
        at_rest = worker.memory
        polls = 0

        def done() -> bool:
            nonlocal polls
            polls += 1
            return system.finished() >= count

        before, cpu, began = server.read(), worker.cpu, time.perf_counter()
        system.go()
        worker.wait_until(done, 120, "finish")
        wall, own = time.perf_counter() - began, worker.cpu - cpu
        used = server.read().since(before)
        memory = worker.memory

    def sample(figure: str, value: float, unit: str) -> Sample:
        return Sample(case, figure, value, unit)

    yield sample("rate", count / wall, "jobs/s")
    yield sample("worker CPU", own / count * 1e6, "µs/job")
    yield sample("server CPU", used.cpu / count * 1e6, "µs/job")
    yield sample("script calls", used.calls("evalsha") / count, "per job")
    yield sample("commands, inside scripts too", (used.all_calls - polls) / count, "per job")
    yield sample("to the server", used.received / count, "bytes/job")
    yield sample("from the server", used.sent / count, "bytes/job")
    yield sample("worker memory at rest", at_rest / _MB, "MiB")
    yield sample("worker memory after", memory / _MB, "MiB")
