"""The part of docs/performance.md about the long run, from saved JSON: between its markers."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.endurance import plots
from bench.endurance.record import Moment, Record, load
from bench.endurance.verdict import FLAT, MEMORY, judge, thirds
from bench.report import picture
from bench.results import number

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/performance.md"
PLOTS = ROOT / "docs/images"
FOLDER = ROOT / "bench/results/soak"
_SECTION = re.compile(r"<!-- soak -->\n.*?<!-- /soak -->", re.S)
_MB = 2**20

Look = Callable[[Moment], float]
#: Figures beside memory: how to read one look, and what stands for a third of the looks.
_ROWS: dict[str, tuple[Look, Callable[[Sequence[float]], float]]] = {
    "keys of the server": (lambda look: look.keys, statistics.median),
    "waiting jobs, most": (lambda look: look.waiting, max),
    "worker CPU, % of a core": (lambda look: look.worker_cpu, statistics.median),
    "producer CPU, % of a core": (lambda look: look.producer_cpu, statistics.median),
    "server CPU, % of a core": (lambda look: look.server_cpu, statistics.median),
    "enqueue to start, p50, ms": (lambda look: look.p50, statistics.median),
    "enqueue to start, p99, ms": (lambda look: look.p99, statistics.median),
    "enqueue to start, longest, ms": (lambda look: look.longest, max),
}


class NoSection(Exception):
    """The page has no place for the long run."""


def newest() -> Path | None:
    """The newest saved run."""
    saved = sorted(FOLDER.glob("*.json"))
    return saved[-1] if saved else None


def table(record: Record) -> list[str]:
    """Each figure by third, and by how much the last differs from the second."""
    lines = [
        "|  | first third | second third | last third | growth | by million jobs |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    parts = thirds(record.moments)
    growth = {one.what: one for one in judge(record).growth}
    for what, read in MEMORY.items():
        cells = [number(statistics.median(map(read, third)) / _MB) for third in parts if third]
        cells += [""] * (3 - len(cells))
        found = growth.get(what)
        grown = (
            [f"{found.share:+.2%}", f"{found.per_million / _MB:+.3f} MiB"] if found else ["", ""]
        )
        lines.append(_row(f"memory of the {what}, MiB", *cells, *grown))
    for what, (read_one, stand_for) in _ROWS.items():
        cells = [number(stand_for([read_one(look) for look in third])) for third in parts if third]
        lines.append(_row(what, *cells, *[""] * (5 - len(cells))))
    return lines


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def about(record: Record) -> str:
    """How long, how fast, how much."""
    half = f", half of the {record.probed:,.0f} that it sustains" if record.probed else ""
    return (
        f"{record.seconds / 60:.3g} minutes at {record.wanted:,.0f} jobs/s{half}; results kept for"
        f" {record.keep:g} s, a look every {record.every:g} s. {record.sent:,} jobs were sent,"
        f" {record.completed:,} completed. Verdict: {judge(record).text}."
    )


def _lines(record: Record, name: str) -> list[str]:
    words = ", ".join(f"{head} {value}" for head, value in record.machine.items())
    return [
        "## A long run",
        "",
        "One worker with default settings, one producer in an open loop and the server, on the same"
        " machine: `make bench-soak`. The first third is for reaching the steady state. Flat means"
        f" that no median of the last third is more than {FLAT:.0%} above that of the second.",
        "",
        f"Run of {record.when}, `{name}`: {words}.",
        "",
        about(record),
        "",
        *picture(plots.NAME, "Memory, CPU and delays by time"),
        *table(record),
    ]


def section(path: Path | None) -> str:
    """The part with its markers; empty when no run was saved."""
    lines = _lines(load(path), path.name) if path else []
    return "\n".join(["<!-- soak -->", *lines, "<!-- /soak -->"])


def render(page: str) -> str:
    """The page with this part made anew from the newest run."""
    if not _SECTION.search(page):
        raise NoSection("docs/performance.md has no <!-- soak --> section")
    return _SECTION.sub(lambda _: section(newest()), page)


def write() -> None:
    """Write the part, and draw its plot."""
    PAGE.write_text(render(PAGE.read_text()))
    path = newest()
    if path:
        plots.draw(load(path), PLOTS)
