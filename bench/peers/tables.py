"""Results of a comparison as tables: for a terminal, and as Markdown for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from bench.peers import ceiling
from bench.peers.comparison import Comparison
from bench.peers.table import FLOOR, TASKQ
from bench.results import Figure, number

_NONE = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of a case, its head, and whether more is better (else less)."""

    head: str
    scenario: str
    case: str
    figure: str
    more: bool = True


def _drain(case: str) -> tuple[Column, ...]:
    return (
        Column("jobs/s", "drain", case, "rate"),
        Column("worker CPU, µs", "drain", case, "worker CPU", False),
        Column("server CPU, µs", "drain", case, "server CPU", False),
        Column("commands", "drain", case, "commands, inside scripts too", False),
        Column("bytes to server", "drain", case, "to the server", False),
        Column("bytes from", "drain", case, "from the server", False),
        Column("worker, MiB", "drain", case, "worker memory at rest", False),
        Column("bytes a waiting job", "drain", case, "memory of a waiting job", False),
    )


def _rates(scenario: str, cases: Sequence[str]) -> tuple[Column, ...]:
    return tuple(Column(case, scenario, case, "rate") for case in cases)


def _latency(figure: str) -> tuple[Column, ...]:
    rates = ("100", "1,000", "5,000", "10,000", "20,000")
    return tuple(Column(f"{r}/s", "latency", f"{r} jobs/s", figure, False) for r in rates)


_WAYS = ("one by one, async", "one by one, sync", "100 coroutines at a time", "bulk")
_OTHER = (
    "plain functions",
    "1 ms of CPU",
    "10 ms asleep, 100 at a time",
    "no-op coroutines, two workers",
)
_SIZES = ("100 B", "10 kB", "200 kB")

#: Name of a table (and of its marker on the page) -> its columns; costs are per job.
TABLES: dict[str, tuple[Column, ...]] = {
    "drain": _drain("no-op coroutines"),
    "drain, other jobs, jobs/s": _rates("drain", _OTHER),
    "enqueue, jobs/s": _rates("enqueue", _WAYS),
    "enqueue, server CPU, µs/job": tuple(
        Column(case, "enqueue", case, "server CPU", False) for case in _WAYS
    ),
    "payloads, jobs/s drained": _rates("payloads", _SIZES),
    "latency, p50, ms": _latency("p50"),
    "latency, p99, ms": _latency("p99"),
    "latency, p99.9, ms": _latency("p99.9"),
    "latency, max, ms": _latency("max"),
    "latency, jobs/s achieved": _latency("achieved"),
    "latency, jobs missed": _latency("missed"),
    "waiting, ms": (
        Column("request p50", "request", "enqueue, then the result", "p50", False),
        Column("request p99", "request", "enqueue, then the result", "p99", False),
        Column("wake-up p50", "wake-up", "single jobs, 20 ms apart", "p50", False),
        Column("wake-up p99", "wake-up", "single jobs, 20 ms apart", "p99", False),
    ),
    "idle worker": (
        Column("commands/s", "wake-up", "idle", "commands, inside scripts too", False),
        Column("worker CPU, %", "wake-up", "idle", "worker CPU", False),
        Column("server CPU, %", "wake-up", "idle", "server CPU", False),
        Column("memory, MiB", "wake-up", "idle", "worker memory", False),
    ),
}


def rows(comparison: Comparison, columns: Sequence[Column]) -> list[tuple[str, list[str]]]:
    """A line for each system that has any of the figures: `median (least to most) x ratio`."""
    found = []
    for name, measured in comparison.systems.items():
        figures = [measured.get(c.scenario, c.case, c.figure) for c in columns]
        if any(figures):
            cells = []
            for figure, column in zip(figures, columns, strict=True):
                cell = _cell(figure, _ours(comparison, column) if name != TASKQ else None)
                if figure and column.scenario == "latency" and not measured.kept_up(column.case):
                    cell += " behind"
                cells.append(cell)
            found.append((name, cells))
    return found


def _ours(comparison: Comparison, column: Column) -> Figure | None:
    ours = comparison.systems.get(TASKQ)
    return ours.get(column.scenario, column.case, column.figure) if ours else None


def _cell(figure: Figure | None, ours: Figure | None) -> str:
    if figure is None:
        return _NONE
    text = figure.text + (f" ({figure.spread})" if figure.spread else "")
    if ours and ours.median > 0 and figure.median > 0:
        text += f" x{number(figure.median / ours.median)}"
    return text


def wins(comparison: Comparison) -> list[str]:
    """Where a peer is better than taskq by more than a twentieth of the median, one line each."""
    lines = []
    for table, columns in TABLES.items():
        for column in columns:
            ours = _ours(comparison, column)
            if ours is None or column.figure in ("achieved", "missed"):
                continue
            better = []
            for name, figure in comparison.figures(column.scenario, column.case, column.figure):
                if name in (TASKQ, FLOOR, ceiling.NAME) or not ours.median:
                    continue
                behind = not comparison.systems[name].kept_up(column.case)
                if column.scenario == "latency" and behind:
                    continue
                ratio = figure.median / ours.median
                if ratio > 1.05 if column.more else ratio < 0.95:
                    better.append((ratio, f"{name} {figure.text}"))
            if better:
                better.sort(reverse=column.more)
                words = ", ".join(text for _, text in better)
                lines.append(f"{table}: {column.head}: taskq {ours.text}, {words}")
    return lines


def settings(comparison: Comparison) -> list[list[str]]:
    """Name, version and how it was set, one line a system."""
    heads = ("version", "concurrency", "prefetch", "results", "notes")
    return [
        [name, *(measured.about[head] or _NONE for head in heads)]
        for name, measured in comparison.systems.items()
    ]


def failures(comparison: Comparison) -> list[str]:
    """What could not be measured, and why."""
    lines = []
    for name, measured in comparison.systems.items():
        lines += [f"{name}: {failure}" for failure in dict.fromkeys(measured.failures)]
        lines += [f"{name}: no {kind} job: {reason}" for kind, reason in measured.lacks.items()]
    return lines


def show(comparison: Comparison, console: Console) -> None:
    """All of it, for people at a terminal."""
    console.print(" · ".join(f"{name} {value}" for name, value in comparison.machine.items()))
    console.print(f"median of {comparison.rounds} rounds (least to most) x ratio to taskq\n")
    for name, columns in TABLES.items():
        lines = rows(comparison, columns)
        if lines:
            table = Table(title=name, title_justify="left", title_style="bold", header_style="")
            table.add_column("")
            for column in columns:
                table.add_column(column.head, justify="right")
            for head, cells in lines:
                table.add_row(head, *cells)
            console.print(table, "")
    console.print("where a peer is better:", style="bold")
    for line in wins(comparison) or ["nowhere"]:
        console.print(f"  {line}", highlight=False)
    for line in failures(comparison):
        console.print(f"[red]not measured:[/] {line}", highlight=False)
