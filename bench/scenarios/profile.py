"""Where time goes: own time by function in worker and producer, server time by command.

Under cProfile everything is slower, small functions most of all: read the order, not the figures.
"""

from __future__ import annotations

import pstats
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.bench import Bench, Sample
from bench.child import ROOT

NAME = "profile"
ONCE = True

_TOP = 20
_LUA = "evalsha, without the commands inside"
#: Waiting for the other side is no work.
_WAITING = ("epoll", "selectors.py", "Profiler")


def run(bench: Bench) -> Iterable[Sample]:
    """Three listings, and the server's time per job without a profiler in the way."""
    with tempfile.TemporaryDirectory(prefix="taskq-bench-") as folder:
        drained, sent = bench.amount(30_000), bench.amount(5_000)
        path = Path(folder) / "worker"
        _drain(bench, drained, path)
        bench.listings["worker"] = _top(path, drained)
        path = Path(folder) / "producer"
        bench.server.clear()
        bench.produce("singly", sent, path)
        bench.listings["producer"] = _top(path, sent)
    bench.listings["server, drain"] = _server(bench, drained)
    bench.server.clear()
    before = bench.server.read()
    bench.produce("singly", sent, "")
    bench.listings["server, one by one"] = _costs(bench.server.read().since(before).commands, sent)
    bench.server.clear()
    return ()


def _drain(bench: Bench, count: int, path: Path | None) -> dict[str, Any]:
    bench.server.clear()
    bench.system.hold()
    bench.produce("fill", "noop", count)
    with bench.worker(**({"BENCH_PROFILE": str(path)} if path else {})) as worker:
        before = bench.server.read()
        bench.system.go()
        # Seldom, so that our own looking does not show among the commands.
        worker.wait_until(lambda: bench.system.finished() >= count, 60, "finish", every=0.1)
        return bench.server.read().since(before).commands


def _server(bench: Bench, count: int) -> list[list[Any]]:
    return _costs(_drain(bench, count, None), count)


def _costs(commands: dict[str, Any], count: int) -> list[list[Any]]:
    """[command, calls per job, µs per job], dearest first; scripts without what they call."""
    scripts = commands.pop("evalsha")
    inside = sum(cost.usec for cost in commands.values())
    rows: list[list[Any]] = [
        [
            _LUA,
            scripts.calls / count,
            (scripts.usec - inside) / count,
        ]
    ]
    rows += [[name, cost.calls / count, cost.usec / count] for name, cost in commands.items()]
    rows.sort(key=lambda row: -float(row[2]))
    return [row for row in rows if row[2] >= 0.005]


def _top(path: Path, count: int) -> list[list[Any]]:
    """[function, calls per job, own µs per job] of the functions that took most time themselves."""
    found: Any = pstats.Stats(str(path))
    rows = []
    for (file, line, name), (_, calls, own, _, _) in found.stats.items():
        rows.append([_place(file, line, name), calls / count, own / count * 1e6])
    rows = [row for row in rows if not any(word in row[0] for word in _WAITING)]
    rows.sort(key=lambda row: -float(row[2]))
    return rows[:_TOP]


def _place(file: str, line: int, name: str) -> str:
    if file == "~":
        return name.strip("<>")
    where = Path(file)
    try:
        short = str(where.relative_to(ROOT))
    except ValueError:
        short = "/".join(where.parts[-2:])
    return f"{short}:{line} {name}"
