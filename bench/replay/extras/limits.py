"""What limits cost where they block nothing: one worker drains a queue of no-ops, with and without.

The variants take turns in each round, and a round's rates are compared with each other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import systems
from bench.child import ROOT, BenchError, WorkerProcess, environment
from bench.replay.results import Results
from bench.server import Server

NAME = "limits"
#: In the order in which they are compared; the first is what the others are divided by.
VARIANTS = ("no limits", "ten limits, none of them a job's", "one of ten", "all ten")
_SLOTS = 100
_APP = "bench.replay.extras.limited_app"
_SETTLE = 0.3


def take(results: Results, server: Server, *, quick: bool) -> None:
    """Interleaved rounds of all variants."""
    jobs, rounds = (2_000, 1) if quick else (20_000, 5)
    for _ in range(rounds):
        first = 0.0
        for variant in VARIANTS:
            values = _drain(server, variant, jobs)
            first = first or values["rate"]
            values["ratio"] = values["rate"] / first
            results.add(NAME, "drain", variant, "real", values)


def _drain(server: Server, variant: str, jobs: int) -> dict[str, float]:
    """Jobs a second, and for each job CPU in µs, and calls of scripts."""
    server.clear()
    system = systems.system("taskq", server.url, server.namespace)
    try:
        with tempfile.TemporaryDirectory(prefix="taskq-bench-") as folder:
            order = Path(folder) / "order.json"
            wanted = {
                "url": server.url,
                "namespace": server.namespace,
                "variant": VARIANTS.index(variant),
                "jobs": jobs,
            }
            order.write_text(json.dumps(wanted))
            env = environment(BENCH_ORDER=str(order))
            system.hold()
            filled = subprocess.run(
                [sys.executable, "-m", _APP], env=env, cwd=ROOT, capture_output=True, text=True
            )
            if filled.returncode:
                raise BenchError(f"cannot fill the queue: {filled.stderr[-1000:]}")
            command = [sys.executable, "-m", "taskq", "worker", f"{_APP}:app", "-c", str(_SLOTS)]
            with WorkerProcess(command, env, system.worker_is_up) as worker:
                time.sleep(_SETTLE)
                before, own, began = server.read(), worker.cpu, time.perf_counter()
                system.go()
                worker.wait_until(lambda: system.finished() >= jobs, 120, "finish")
                wall = time.perf_counter() - began
                own, used = worker.cpu - own, server.read().since(before)
            return {
                "rate": jobs / wall,
                "server CPU": used.cpu / jobs * 1e6,
                "worker CPU": own / jobs * 1e6,
                "script calls": used.calls("evalsha") / jobs,
            }
    finally:
        system.close()
