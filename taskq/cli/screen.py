"""How data reaches stdout: JSON, or aligned columns. Everything foreign is escaped; colour only on
a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import click

from taskq.observe.escape import lines, one_line
from taskq.spoken import span as span


class Cell(NamedTuple):
    """A coloured cell of a table."""

    text: str
    colour: str


def coloured(text: str, colour: str) -> str:
    """`text` in a colour when stdout is a terminal and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return click.style(text, fg=colour)


def say(text: str = "", colour: str = "") -> None:
    """One line of data for people."""
    safe = one_line(text)
    click.echo(coloured(safe, colour) if colour else safe)


def say_block(text: str, indent: str = "  ") -> None:
    """Foreign text of many lines, such as a traceback."""
    for line in lines(text.rstrip("\n")):
        click.echo(indent + line)


def note(text: str) -> None:
    """One line that is not data: to stderr."""
    click.echo(one_line(text), err=True)


def print_json(value: object) -> None:
    """One JSON document: indented on a terminal, one line elsewhere. Keys keep their order."""
    indent = 2 if sys.stdout.isatty() else None
    click.echo(json.dumps(value, indent=indent, allow_nan=False))


def table(titles: Sequence[str], rows: Sequence[Sequence[str | Cell]]) -> None:
    """Aligned columns under capital titles; a title that begins with '>' is aligned to the right.
    Nothing is cut.
    """
    names = [title.removeprefix(">").upper() for title in titles]
    right = [title.startswith(">") for title in titles]
    safe = [
        [
            Cell(one_line(c.text), c.colour) if isinstance(c, Cell) else Cell(one_line(c), "")
            for c in row
        ]
        for row in rows
    ]
    widths = [
        max(len(name), *(len(row[i].text) for row in safe)) if safe else len(name)
        for i, name in enumerate(names)
    ]
    for row in [[Cell(name, "") for name in names], *safe]:
        words = []
        for cell, width, to_right in zip(row, widths, right, strict=True):
            padded = cell.text.rjust(width) if to_right else cell.text.ljust(width)
            words.append(coloured(padded, cell.colour) if cell.colour else padded)
        click.echo("  ".join(words).rstrip())


def ago(when: datetime | None) -> str:
    """How long ago, by this machine's clock; `-` for never."""
    if when is None:
        return "-"
    return span(max(0.0, (datetime.now(UTC) - when).total_seconds())) + " ago"


def size(count: int) -> str:
    """Bytes in a readable unit."""
    number = float(count)
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
