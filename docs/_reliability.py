"""The text of reliability.md, made from what the scenarios of tests/chaos measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "tests" / "chaos" / "results.json"
Row = dict[str, Any]

#: Parts of the page: test file -> title. A file that is not named here comes under its own name.
TITLES = {
    "test_processes.py": "Worker processes",
    "test_event_loop.py": "Event loop",
    "test_user_code.py": "User code",
    "test_fencing.py": "Cut off: self-fencing",
    "test_network.py": "Network",
    "test_slow_link.py": "Slow links",
    "test_tls.py": "TLS",
    "test_redis.py": "The server",
    "test_redis_limits.py": "Limits of the server",
    "test_replicas.py": "Replicas",
    "test_failover.py": "Failover",
    "test_power_loss.py": "Loss of power",
    "test_corruption.py": "Corruption",
    "test_clocks.py": "Clocks",
    "test_deploys.py": "Deploys",
    "test_recycling.py": "Recycling",
    "test_load.py": "Load",
}

INTRO = """\
# Reliability

What happens to jobs when things break, as measured: {count} faults injected into real servers,
real `taskq worker` processes and real networks (namespaces of one Linux machine), each by a test
that fails when the promise does not hold. [guarantees.md](guarantees.md) has the promises
themselves.

Producers and tasks write what happens to them to local files, outside Redis. A checker sorts
every job from these and a last look at Redis: ok, lost, recovered (nobody heard that it was
enqueued, but it was), unexpected, or run more than once. Every run beyond a job's first needs a
reason: it failed, it was told to stop, its worker died, or a fault that the scenario declared
could have touched it. Two runs of one job at the same time are counted apart.

*Recovery* is from the fault (or its end, where work must wait for that) to the next run. *Extra
runs* are runs beyond each job's first, all explained. Most scenarios run with heartbeats ten
times faster than the default, so that they take seconds; where it says default settings, recovery
is what you can expect. The machine had two cores, busy with other work.

    make faults                      # all scenarios; network faults need root and iproute2
    make chaos SECONDS=600 SEED=7    # random faults under load
"""

NOT_PROMISED = """\
## What is not promised, and how much it is

Redis acknowledges what it may still lose; taskq keeps no copy. Measured here:
"""

NEMESIS = """\
## Random faults

`make chaos`: four workers (one of them a supervisor of two), three producers, all kinds of tasks.
Faults come at random times on workers and server, some at the same time; the seed repeats the
schedule. Judged by the same checker: 0 lost, 0 unexplained, 0 overlapping, or the run fails.
"""


def reliability_page() -> str:
    """The whole page."""
    rows: dict[str, Row] = json.loads(RESULTS.read_text(encoding="utf-8"))
    scenarios = {test: row for test, row in rows.items() if "fault" in row}
    parts = [INTRO.format(count=len(scenarios))]
    unpromised = {test: row for test, row in scenarios.items() if row.get("not_promised")}
    files = dict.fromkeys([*TITLES, *(test.partition("::")[0] for test in scenarios)])
    for file in files:
        found = [(t, row) for t, row in scenarios.items() if t.partition("::")[0] == file]
        if found:
            parts.append(f"## {TITLES.get(file, file)}\n\n`tests/chaos/{file}`\n")
            parts.append(_table(found))
    if unpromised:
        parts += [NOT_PROMISED, _losses(unpromised)]
    runs = {name: row for name, row in rows.items() if name.startswith("nemesis")}
    if runs:
        parts += [NEMESIS, _runs(runs)]
    return "\n".join(parts)


def _table(found: list[tuple[str, Row]]) -> str:
    lines = [
        "| fault | injected | observed | recovery | extra runs | shows | test |",
        "|---|---|---|---|---|---|---|",
    ]
    for test, row in sorted(found, key=lambda entry: str(entry[1]["fault"])):
        recovery = "" if row["recovery_s"] is None else f"{row['recovery_s']:.1f} s"
        extra = "" if row["duplicates"] is None else f"{row['duplicates']:,}"
        name = test.partition("::")[2].removeprefix("test_").replace("_", " ")
        cells = (row["fault"], row["injected"], row["observed"], recovery, extra)
        lines.append(f"| {' | '.join(map(_cell, (*cells, row['invariant'], name)))} |")
    return "\n".join([*lines, ""])


def _losses(rows: dict[str, Row]) -> str:
    lines = ["| | fault | lost | what happened |", "|---|---|---|---|"]
    for row in sorted(rows.values(), key=lambda row: str(row["not_promised"])):
        lost = "" if row.get("lost") is None else f"{row['lost']:,}"
        cells = (row["not_promised"], row["fault"], lost, row["observed"])
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join([*lines, ""])


def _runs(rows: dict[str, Row]) -> str:
    lines = ["| seed | seconds | jobs/s | result |", "|---|---|---|---|"]
    for name, row in sorted(rows.items(), key=lambda entry: int(entry[0].rpartition(" ")[2])):
        seed = name.rpartition(" ")[2]
        words = [line.removeprefix(f"seed {seed}: ") for line in row["summary"]]
        text = "<br>".join(_cell(line) for line in words)
        lines.append(f"| {seed} | {row['seconds']:g} | {row['rate']:g} | {text} |")
    return "\n".join([*lines, ""])


def _cell(text: object) -> str:
    """Safe inside a table."""
    return str(text).strip().replace("|", "\\|").replace("\n", " ")
