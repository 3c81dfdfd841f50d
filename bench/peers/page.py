"""The section of docs/performance.md about other queues and about growth, from saved JSON.

All that stands between its markers is written here, `python bench/peers/page.py` writes it anew,
`--check` fails when it is not what the newest results say.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import click

from bench import pythons
from bench.peers import comparison, tables, targets
from bench.peers.comparison import Comparison
from bench.report import picture, scenario_table
from bench.results import Results, load

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/performance.md"
PLOTS = ROOT / "docs/images"
_PEERS = ROOT / "bench/results/peers"
_GROWTH = ROOT / "bench/results/growth"
_ALONE = ROOT / "bench/results"
_SECTION = re.compile(r"<!-- peers -->\n.*?<!-- /peers -->", re.S)


def newest(folder: Path) -> Path | None:
    """The newest saved run of a kind."""
    saved = sorted(folder.glob("*.json"))
    return saved[-1] if saved else None


def _grid(heads: Sequence[str], lines: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    rows = [list(heads), ["---"] * left + ["---:"] * (len(heads) - left), *map(list, lines)]
    return [*("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows), ""]


def _table(found: Comparison, name: str) -> list[str]:
    columns = tables.TABLES[name]
    lines = [(system, *cells) for system, cells in tables.rows(found, columns)]
    return [f"**{name}**", "", *_grid(["", *(c.head for c in columns)], lines)] if lines else []


def _about(found: Comparison, name: str) -> list[str]:
    words = ", ".join(f"{head} {value}" for head, value in found.machine.items())
    return [
        "## Beside other queues",
        "",
        "taskq and eleven other queues in turn, on the same server and interpreter, in one run of"
        " `make bench-peers`. The method and its caveats are in"
        " [bench/README.md](../bench/README.md#beside-other-queues).",
        "",
        f"Run of {found.when}, `{name}`: {words}.",
        f"Median of {found.rounds} rounds in which the systems take turns (least to most), then the"
        " ratio to taskq. `ceiling` is the server running taskq's scripts with nothing to wait"
        " for; `floor` is a bare client that sets one key.",
        "",
    ]


def _compared(found: Comparison, name: str) -> list[str]:
    lines = _about(found, name)
    lines += picture("peers-drain", "Draining no-op jobs: rate, server CPU and worker CPU")
    for table in ("drain", "drain, other jobs, jobs/s", "payloads, jobs/s drained"):
        lines += _table(found, table)
    lines += picture("peers-enqueue", "Enqueuing: jobs a second one by one, 100 at a time, bulk")
    for table in ("enqueue, jobs/s", "enqueue, server CPU, µs/job"):
        lines += _table(found, table)
    lines += picture("peers-latency", "From enqueue to start by rate: p50 and p99")
    lines += [
        "A system that falls behind at one rate is not asked for higher ones; a client that blocks"
        " sends one job after the other.",
        "",
    ]
    for table in tables.TABLES:
        if table.startswith("latency") or table in ("waiting, ms", "idle worker"):
            lines += _table(found, table)
    lines += ["### Where another queue is better", ""]
    lines += [f"- {line}." for line in tables.wins(found)] or ["Nowhere in this run."]
    lines += ["", "### How each was set", ""]
    heads = ("", "version", "concurrency", "prefetch", "results kept", "notes")
    lines += _grid(heads, tables.settings(found), left=len(heads))
    failures = tables.failures(found)
    if failures:
        lines += ["### What was not measured", "", *(f"- {line}" for line in failures), ""]
    return lines


def _grown(found: Results, name: str) -> list[str]:
    words = ", ".join(f"{head} {value}" for head, value in found.machine.items())
    lines = [
        "## As things grow",
        "",
        "What a job costs the server with more jobs waiting, more workers, more groups of a fair"
        " queue and more queues a worker: `make bench-growth`. All but the queues are driven by a"
        " bare connection, so that only the server is measured.",
        "",
        f"Run of {found.when}, `{name}`: {words}.",
        "",
        *picture("growth", "Server CPU by waiting jobs, workers, groups and queues"),
    ]
    for scenario, figures in found.scenarios():
        lines += [f"**{scenario}**", "", *scenario_table(figures)]
    return lines


def _reached(found: Comparison) -> list[str]:
    growth, alone = newest(_GROWTH), pythons.chosen(_ALONE)
    runs = targets.Runs(found, load(growth) if growth else None, load(alone) if alone else None)
    heads = ("", "target", "found", "of it (least to most)", "")
    return [
        "## What was to be reached",
        "",
        "Ratios are of the run beside other queues below; `x` is the share of, or the ratio to.",
        "",
        *_grid(heads, targets.lines(runs)),
    ]


def section() -> str:
    """The section, of the newest runs there are."""
    lines = []
    peers, growth = newest(_PEERS), newest(_GROWTH)
    if peers:
        found = comparison.load(peers)
        lines += _reached(found)
        lines += _compared(found, peers.name)
    if growth:
        lines += _grown(load(growth), growth.name)
    text = "\n".join(lines).rstrip()
    return f"<!-- peers -->\n{text}\n<!-- /peers -->" if text else "<!-- peers -->\n<!-- /peers -->"


def render(page: str) -> str:
    """The page with the section replaced."""
    if not _SECTION.search(page):
        raise click.ClickException("docs/performance.md has no <!-- peers --> section")
    return _SECTION.sub(lambda _: section(), page)


def write() -> None:
    """Write the section, and draw its plots."""
    from bench.peers import plots

    PAGE.write_text(render(PAGE.read_text()))
    peers, growth = newest(_PEERS), newest(_GROWTH)
    if peers:
        plots.draw(comparison.load(peers), PLOTS)
    if growth:
        plots.draw_growth(load(growth), PLOTS)


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when the page differs.")
def main(check: bool) -> None:
    """Write the section about other queues and growth into docs/performance.md."""
    if not check:
        write()
    elif render(PAGE.read_text()) != PAGE.read_text():
        raise click.ClickException("docs/performance.md is not what the newest results say")


if __name__ == "__main__":
    main()
