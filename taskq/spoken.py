"""Spans and times in words, for people. Pure."""

from __future__ import annotations

import math
from datetime import datetime


def span(seconds: float | None) -> str:
    """A time span in one or two units: `350 ms`, `12.3 s`, `4 min 10 s`, `3 h 5 min`, `2 d 4 h`;
    `-` for none.
    """
    if seconds is None:
        return "-"
    if not math.isfinite(seconds):
        return "for ever"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, small, small_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // small
            return (
                f"{whole // size} {name} {rest} {small_name}" if rest else f"{whole // size} {name}"
            )
    return f"{whole} s"


def clock(when: datetime | None) -> str:
    """A time to the second; `unknown` for none."""
    return "unknown" if when is None else when.strftime("%Y-%m-%d %H:%M:%S UTC")


def jobs(count: int) -> str:
    """`1 job`, `3 jobs`."""
    return f"{count:,} job" if count == 1 else f"{count:,} jobs"
