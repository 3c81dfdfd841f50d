"""Plots of a run for docs/scheduling.md; see bench/plotting.py."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from bench import plotting
from bench.replay.results import Results

_SHOWN = ("FIFO", "strict", "aging", "huey", "BullMQ (Python)")
_LOADS = ("load 70%", "load 90%", "load 110%")


def draw(results: Results, folder: Path) -> list[Path]:
    """Write every plot in both themes; their paths."""
    made = {"misses": _misses, "waits": _waits, "service": _service}
    return plotting.draw(
        {f"scheduling-{name}": partial(make, results=results) for name, make in made.items()},
        folder,
    )


def _misses(pyplot: Any, colours: tuple[str, ...], *, results: Results) -> Any:
    """Bars: deadlines missed by load and order, real workers."""
    figure, axes = pyplot.subplots(figsize=(7, 3))
    width = 0.8 / len(_SHOWN)
    for at, (row, colour) in enumerate(zip(_SHOWN, colours, strict=True)):
        found = [results.get("load", load, row, "real") for load in _LOADS]
        heights = [100 * one.mean("misses") if one else 0.0 for one in found]
        places = [place + (at - 2) * width for place in range(len(_LOADS))]
        axes.bar(places, heights, width * 0.92, color=colour, label=row)
    axes.set_xticks(range(len(_LOADS)), _LOADS)
    axes.set_ylabel("deadlines missed, %")
    axes.grid(axis="x", visible=False)
    # Beside the bars, whose heights are not known: above them all.
    axes.legend(loc="lower center", ncols=len(_SHOWN), bbox_to_anchor=(0.5, 1))
    return figure


def _waits(pyplot: Any, colours: tuple[str, ...], *, results: Results) -> Any:
    """Curves: how long which share of the jobs waited, by priority, real workers."""
    figure, grid = pyplot.subplots(1, 3, figsize=(9, 2.8), sharey=True)
    for axes, priority in zip(grid, (9, 5, 1), strict=True):
        for row, colour in zip(_SHOWN, colours, strict=True):
            waits = results.series.get(f"waits: {row}: {priority}")
            if waits:
                shares = [100 * step / (len(waits) - 1) for step in range(len(waits))]
                axes.plot(waits, shares, color=colour, label=row, linewidth=1.4)
        axes.set_title(f"priority {priority}", fontsize=9)
        axes.set_xlabel("wait, s of the trace")
    grid[0].set_ylabel("jobs that waited less, %")
    figure.legend(
        *grid[0].get_legend_handles_labels(), loc="upper center", ncols=5, bbox_to_anchor=(0.5, 0)
    )
    return figure


def _service(pyplot: Any, colours: tuple[str, ...], *, results: Results) -> Any:
    """Curves: slot time that the two tenants have had, FIFO beside fair, real workers."""
    figure, grid = pyplot.subplots(1, 2, figsize=(8, 2.8))
    for axes, row in zip(grid, ("FIFO", "fair"), strict=True):
        series = results.series.get(f"service: {row}")
        if series:
            for tenant, colour in (("flooder", colours[0]), ("other", colours[1])):
                served = series[tenant]
                times = [series["until"] * step / (len(served) - 1) for step in range(len(served))]
                axes.plot(times, served, color=colour, label=tenant, linewidth=1.6)
        axes.set_title(row, fontsize=9)
        axes.set_xlabel("time since the last worker began, s of the trace")
    grid[0].set_ylabel("slot time received, s")
    grid[1].legend()
    return figure
