"""The plot of a long run for docs/performance.md; see bench/plotting.py."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from bench import plotting
from bench.endurance.record import Record

NAME = "soak"
_MB = 2**20


def draw(record: Record, folder: Path) -> list[Path]:
    """It, in both themes; their paths."""
    return plotting.draw({NAME: partial(_soak, record=record)}, folder)


def _soak(pyplot: Any, colours: tuple[str, ...], *, record: Record) -> Any:
    """Curves over the time: memory of processes and server, CPU, delays."""
    looks = record.moments
    panels: tuple[tuple[str, dict[str, list[float]]], ...] = (
        (
            "memory, MiB",
            {
                "worker": [look.worker_rss / _MB for look in looks],
                "producer": [look.producer_rss / _MB for look in looks],
            },
        ),
        (
            "memory of the server, MiB",
            {
                "resident": [look.server_rss / _MB for look in looks],
                "in use": [look.server_used / _MB for look in looks],
            },
        ),
        (
            "CPU, % of a core",
            {
                "server": [look.server_cpu for look in looks],
                "worker": [look.worker_cpu for look in looks],
                "producer": [look.producer_cpu for look in looks],
            },
        ),
        (
            "enqueue to start, ms",
            {"p99": [look.p99 for look in looks], "p50": [look.p50 for look in looks]},
        ),
    )
    minutes = [look.at / 60 for look in looks]
    # Ours comes second in the colours: the worker wherever there is one.
    order = {"worker": 1, "producer": 2, "server": 0, "in use": 1, "resident": 0, "p50": 1}
    figure, grid = pyplot.subplots(1, 4, figsize=(13, 3))
    for axes, (title, curves) in zip(grid, panels, strict=True):
        for name, values in curves.items():
            colour = colours[order.get(name, 0)]
            axes.plot(minutes, values, color=colour, label=name, linewidth=1.2)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("minutes")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7)
    figure.tight_layout()
    return figure
