"""Plots of a comparison and of growth for docs/performance.md; see bench/plotting.py."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from bench import plotting
from bench.peers import ceiling
from bench.peers.comparison import Comparison
from bench.peers.table import FLOOR, TASKQ
from bench.results import Figure, Results

Colours = tuple[str, ...]

_RATES = (100, 1_000, 5_000, 10_000, 20_000)
_WAYS = (
    ("one by one", ("one by one, async", "one by one, sync")),
    ("100 coroutines at a time", ("100 coroutines at a time",)),
    ("bulk", ("bulk",)),
)


def draw(comparison: Comparison, folder: Path) -> list[Path]:
    """Every plot of a comparison."""
    made = {"drain": _drain, "enqueue": _enqueue, "latency": _latency}
    return plotting.draw(
        {f"peers-{name}": partial(make, comparison=comparison) for name, make in made.items()},
        folder,
    )


def draw_growth(results: Results, folder: Path) -> list[Path]:
    """The plot of a growth run."""
    return plotting.draw({"growth": partial(_growth, results=results)}, folder)


def _bars(axes: Any, found: list[tuple[str, Figure]], colours: Colours, unit: str) -> None:
    """One bar a system, taskq in its colour, with a line from least to most of the rounds."""
    for place, (name, figure) in enumerate(reversed(found)):
        colour = colours[1] if name == TASKQ else colours[0]
        axes.barh(place, figure.median, 0.7, color=colour, alpha=0.5 if _apart(name) else 1.0)
        axes.plot(
            [min(figure.values), max(figure.values)], [place, place], color=colours[4], linewidth=1
        )
        axes.text(figure.median, place, f" {figure.text}", va="center", fontsize=7)
    axes.set_yticks(range(len(found)), [name for name, _ in reversed(found)])
    axes.set_xscale("log")
    axes.set_title(unit, fontsize=9)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.2)


def _apart(name: str) -> bool:
    """No queue, but a limit to compare with."""
    return name in (FLOOR, ceiling.NAME)


def _drain(pyplot: Any, colours: Colours, *, comparison: Comparison) -> Any:
    """Bars: rate, worker CPU and server CPU of the no-op drain."""
    panels = (
        ("rate", "jobs/s", True),
        ("server CPU", "server CPU, µs a job", False),
        ("worker CPU", "worker CPU, µs a job", False),
    )
    figure, grid = pyplot.subplots(1, 3, figsize=(10.5, 3.4))
    for axes, (name, unit, more) in zip(grid, panels, strict=True):
        found = list(comparison.figures("drain", "no-op coroutines", name))
        found.sort(key=lambda pair: pair[1].median, reverse=more)
        _bars(axes, found, colours, unit)
    figure.tight_layout()
    return figure


def _enqueue(pyplot: Any, colours: Colours, *, comparison: Comparison) -> Any:
    """Bars: jobs a second that one producer sends, by way; the better of two ways one by one."""
    figure, grid = pyplot.subplots(1, 3, figsize=(10.5, 3.4))
    for axes, (title, cases) in zip(grid, _WAYS, strict=True):
        best: dict[str, Figure] = {}
        for case in cases:
            for name, found in comparison.figures("enqueue", case, "rate"):
                if name not in best or found.median > best[name].median:
                    best[name] = found
        pairs = sorted(best.items(), key=lambda pair: pair[1].median, reverse=True)
        _bars(axes, pairs, colours, f"{title}, jobs/s")
    figure.tight_layout()
    return figure


def _latency(pyplot: Any, colours: Colours, *, comparison: Comparison) -> Any:
    """Curves: p50 and p99 by rate, as far as each system keeps up."""
    figure, grid = pyplot.subplots(1, 2, figsize=(10.5, 3.4), sharey=True)
    for axes, percentile in zip(grid, ("p50", "p99"), strict=True):
        for name, measured in comparison.systems.items():
            points = []
            for rate in _RATES:
                case = f"{rate:,} jobs/s"
                delay = measured.get("latency", case, percentile)
                if delay and measured.kept_up(case):
                    points.append((rate, delay.median))
            if points:
                ours = name == TASKQ
                xs, ys = zip(*points, strict=True)
                colour = colours[1] if ours else colours[0]
                axes.plot(xs, ys, color=colour, marker="o", markersize=3, zorder=3 if ours else 2)
                axes.annotate(
                    name,
                    (xs[-1], ys[-1]),
                    xytext=(4, 0),
                    textcoords="offset points",
                    fontsize=7,
                    va="center",
                    color=colour,
                )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(f"enqueue to start, {percentile}, ms", fontsize=9)
        axes.set_xlabel("jobs/s, open loop")
        axes.margins(x=0.15)
    figure.tight_layout()
    return figure


def _growth(pyplot: Any, colours: Colours, *, results: Results) -> Any:
    """Curves: server time by what grows."""
    panels = (
        ("waiting", "jobs that wait"),
        ("workers", "workers"),
        ("groups", "groups, fair"),
        ("queues", "queues of a worker"),
    )
    figure, grid = pyplot.subplots(1, 4, figsize=(13, 3.2))
    for axes, (scenario, title) in zip(grid, panels, strict=True):
        curves: dict[str, list[tuple[float, float]]] = {}
        for one in results.figures:
            size = one.case.split()[0].replace(",", "")
            # Of server time there are two figures: the whole of it is what matters.
            if one.scenario == scenario and size.isdecimal() and "server CPU" in one.name:
                if one.unit == "%":
                    continue
                name = one.name.replace(": server CPU", "")
                curves.setdefault(name, []).append((float(size), one.median))
        for place, (name, points) in enumerate(curves.items()):
            xs, ys = zip(*points, strict=True)
            colour = colours[place % len(colours)]
            axes.plot(xs, ys, marker="o", markersize=3, color=colour, label=name)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(title)
        if curves:
            axes.legend(fontsize=6)
    grid[0].set_ylabel("server CPU, µs a job")
    figure.tight_layout()
    return figure
