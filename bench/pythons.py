"""Runs of several Python versions: which one the page is made of, and a table of all.

The names of saved runs tell them apart: DATE-MACHINE-pyVERSION.json (bench/machine.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bench.results import Figure, load

#: The page is made of the newest run of this one: the oldest that taskq runs on.
MAIN = "3.11"
_NAME = re.compile(r"\d{4}-\d\d-\d\d-(?P<machine>.+)-py(?P<python>\d+\.\d+)[^-]*\.json")
#: Row: scenario, case, figure of a run.
_ROWS = {
    "drain": ("drain", "coroutines", "rate"),
    "drain, worker CPU": ("drain", "coroutines", "worker CPU"),
    "drain, plain functions": ("drain", "plain functions on threads", "rate"),
    "enqueue one by one, async": ("enqueue", "one by one, async", "rate"),
    "enqueue one by one, async / floor": ("enqueue", "one by one, async", "rate / floor"),
    "enqueue one by one, sync": ("enqueue", "one by one, sync", "rate"),
    "enqueue one by one, sync / floor": ("enqueue", "one by one, sync", "rate / floor"),
    "enqueue, 100 coroutines at a time": ("enqueue", "100 coroutines at a time", "rate"),
    "enqueue in bulk": ("enqueue", "bulk", "rate"),
    "enqueue to start at 1,000 jobs/s, p50": ("latency", "1,000 jobs/s", "p50"),
    "enqueue to start at 1,000 jobs/s, p99": ("latency", "1,000 jobs/s", "p99"),
    "enqueue to start at 10,000 jobs/s, p50": ("latency", "10,000 jobs/s", "p50"),
    "enqueue to start at 10,000 jobs/s, p99": ("latency", "10,000 jobs/s", "p99"),
    "idle worker, CPU": ("idle", "one worker, idle", "worker CPU"),
    "worker memory at rest": ("drain", "coroutines", "worker memory at rest"),
}


def _saved(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Machine, Python and path of each run, the oldest run first."""
    for path in sorted(folder.glob("*.json")):
        if found := _NAME.fullmatch(path.name):
            yield found["machine"], found["python"], path


def chosen(folder: Path) -> Path | None:
    """The run that the page is made of: the newest of MAIN, else the newest of all."""
    saved = list(_saved(folder))
    main = [one for one in saved if one[1] == MAIN]
    return (main or saved)[-1][2] if saved else None


def runs(path: Path) -> list[Path]:
    """The newest run of each Python on the machine of this run, which stands for its own; oldest
    Python first.
    """
    here = _NAME.fullmatch(path.name)
    if here is None:
        return [path]
    found = {
        python: one for machine, python, one in _saved(path.parent) if machine == here["machine"]
    }
    found[here["python"]] = path
    return [found[python] for python in sorted(found, key=_by_number)]


def _by_number(python: str) -> list[int]:
    return [int(part) for part in python.split(".")]


def table(path: Path) -> list[str]:
    """What differs between Pythons, side by side; in Markdown."""
    files = runs(path)
    results = [load(file) for file in files]
    columns = [
        {(one.scenario, one.case, one.name): one for one in result.figures} for result in results
    ]
    heads = [result.machine.get("python", "?").split()[-1] for result in results]
    lines = [_row(["", *heads]), _row(["---", *("---:" for _ in heads)])]
    for head, key in _ROWS.items():
        cells = [column.get(key) for column in columns]
        unit = next((figure.unit for figure in cells if figure), "")
        if any(cells):
            lines.append(_row([f"{head}, {unit}" if unit else head, *map(_cell, cells)]))
    about = [
        f"{head}: run of {result.when}, `{file.name}`"
        for head, result, file in zip(heads, results, files, strict=True)
    ]
    return [*lines, "", f"{'; '.join(about)}.", ""]


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    return figure.text + (f" ({figure.spread})" if figure.spread else "")


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
