"""What the demo shows people: progress while it runs, tables at its end. Decides nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from taskq.demo.census import Function, Totals, stdlib
from taskq.demo.figures import Figures

#: Without a terminal, a line each time this share of the work is done.
_PLAIN_STEP = 0.1


class Steps:
    """Counts steps of one piece of work and shows them: a bar on a terminal, else a few lines."""

    def __init__(self, console: Console, what: str, total: int, bar: Progress | None) -> None:
        self.done = 0
        self.total = total
        self._console = console
        self._what = what
        self._bar = bar
        self._task = bar.add_task(what, total=total) if bar else None
        self._next = _PLAIN_STEP * total

    def tick(self) -> None:
        """One more step is done."""
        self.done += 1
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)
        elif self.done >= self._next or self.done == self.total:
            self._next += _PLAIN_STEP * self.total
            say(self._console, f"{self._what}: {self.done:,} of {self.total:,}")


@contextmanager
def progress(console: Console, what: str, total: int) -> Iterator[Steps]:
    """Show the progress of `total` steps while the block runs."""
    if not console.is_terminal:
        yield Steps(console, what, total, None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        yield Steps(console, what, total, bar)


def say(console: Console, text: str) -> None:
    """One line for people; what it says is never read as markup."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def show(console: Console, figures: Figures, total: Totals) -> None:
    """The tables: the run, the waits by priority, the census and its longest functions."""
    console.print(_run(figures), _priorities(figures), _census(total), _longest(total["longest"]))


def _run(figures: Figures) -> Table:
    table = _pairs("The run")
    table.add_row("jobs", f"{figures.jobs:,}")
    table.add_row("jobs/s", f"{figures.jobs_per_second:,.0f}")
    table.add_row("wait p50", f"{figures.wait_p50:.2f} s")
    table.add_row("wait p99", f"{figures.wait_p99:.2f} s")
    for worker, jobs in figures.workers:
        table.add_row(f"by {worker}", f"{jobs:,}")
    if figures.crashed:
        table.add_row("ran again after a lost worker", f"{figures.crashed:,}")
    return table


def _priorities(figures: Figures) -> Table:
    table = Table(title="Wait by priority, 9 goes first", title_justify="left")
    for name in ("priority", "jobs", "mean wait"):
        table.add_column(name, justify="right")
    for row in figures.priorities:
        table.add_row(str(row.priority), f"{row.jobs:,}", f"{row.mean_wait:.2f} s")
    return table


def _census(total: Totals) -> Table:
    table = _pairs("The standard library")
    table.add_row("files", f"{total['files']:,}")
    table.add_row("that do not parse", f"{total['unparsed']:,}")
    table.add_row("lines", f"{total['lines']:,}")
    table.add_row("bytes", f"{total['bytes']:,}")
    table.add_row("tokens", f"{total['tokens']:,}")
    table.add_row("functions", f"{total['functions']:,}")
    return table


def _longest(functions: list[Function]) -> Table:
    table = Table(title="Its longest functions", title_justify="left")
    table.add_column("lines", justify="right")
    table.add_column("function", overflow="fold")
    table.add_column("file", overflow="fold")
    for function in functions:
        path = os.path.relpath(function["path"], stdlib())
        table.add_row(f"{function['lines']:,}", function["name"], path)
    return table


def _pairs(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    return table
