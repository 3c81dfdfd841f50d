"""What a worker with nothing to do costs, and how soon it starts on the first job.

Commands are those a client sent during ten quiet seconds, seen by MONITOR; those inside scripts
are listed apart.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterable

from bench.bench import Bench, Sample
from bench.scenarios.latency import delays

NAME = "idle"
ONCE = True

_JOBS = 200
_APART_MS = 10
_QUIET = 10.0
_LINE = re.compile(rb"^\S+ \[\d+ (\S+)\] \"([^\"]*)\"")


def run(bench: Bench) -> Iterable[Sample]:
    """Ten quiet seconds, then single jobs."""
    bench.server.clear()
    with bench.stamping_worker() as (worker, path):
        quiet = 2.0 if bench.quick else _QUIET
        cpu, before = worker.cpu, bench.server.read()
        sent, inside = _listen(bench, quiet)
        own, used = worker.cpu - cpu, bench.server.read().since(before)
        bench.produce("spaced", _JOBS, _APART_MS)
        worker.wait_until(lambda: bench.system.finished() >= _JOBS, 10, "finish")
        worker.end()
        noted = list(delays(f"wake-up, {_JOBS} jobs {_APART_MS} ms apart", path, _JOBS))
    case = "one worker, idle"
    yield Sample(case, "sent", sum(sent.values()) / quiet, "commands/s")
    yield Sample(case, "inside scripts", sum(inside.values()) / quiet, "commands/s")
    yield Sample(case, "worker CPU", own / quiet * 100, "%")
    yield Sample(case, "server CPU", used.cpu / quiet * 100, "%")
    yield from noted
    bench.listings["idle commands"] = [
        [name, where, count / quiet]
        for where, found in (("sent", sent), ("inside scripts", inside))
        for name, count in found.most_common()
    ]


def _listen(bench: Bench, seconds: float) -> tuple[Counter[str], Counter[str]]:
    """Commands seen in `seconds`: sent by clients, and run by scripts."""
    sent: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    watcher = bench.server.client.connection_pool.make_connection()
    watcher.connect()
    watcher.send_command("MONITOR")
    watcher.read_response()
    end = time.monotonic() + seconds
    timer = threading.Timer(seconds, lambda: bench.server.client.ping())
    timer.start()  # so that the last wait ends
    while time.monotonic() < end:
        line = watcher.read_response()
        found = _LINE.match(line if isinstance(line, bytes) else str(line).encode())
        if found and found[2].lower() not in (b"ping", b"info"):
            (inside if found[1] == b"lua" else sent)[found[2].decode().lower()] += 1
    timer.join()
    watcher.disconnect()
    return sent, inside
