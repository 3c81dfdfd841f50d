"""A run's figures: gathering them over rounds, and their JSON form. Knows no scenario."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.bench import Sample


@dataclass(slots=True)
class Figure:
    """One figure with what every round found."""

    scenario: str
    case: str
    name: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def text(self) -> str:
        """The median."""
        return number(self.median)

    @property
    def spread(self) -> str:
        """`least to most`; empty when there is nothing to tell."""
        least, most = number(min(self.values)), number(max(self.values))
        return "" if least == most else f"{least} to {most}"


def number(value: float) -> str:
    """Three digits that count, thousands parted."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.2g}"


@dataclass(slots=True, kw_only=True)
class Results:
    """Everything a run has found."""

    machine: dict[str, str]
    rounds: int
    figures: list[Figure] = field(default_factory=list)
    listings: dict[str, list[Any]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    when: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d"))

    def add(self, scenario: str, sample: Sample) -> None:
        """Note one figure of one round."""
        for figure in self.figures:
            if (figure.scenario, figure.case, figure.name) == (
                scenario,
                sample.case,
                sample.figure,
            ):
                break
        else:
            figure = Figure(scenario, sample.case, sample.figure, sample.unit)
            self.figures.append(figure)
        figure.values.append(float(sample.value))

    def scenarios(self) -> Iterator[tuple[str, list[Figure]]]:
        """Figures by scenario, in the order in which they were found."""
        for name in dict.fromkeys(figure.scenario for figure in self.figures):
            yield name, [figure for figure in self.figures if figure.scenario == name]

    def dump(self) -> str:
        """JSON, rounded to what a clock can tell."""
        return json.dumps(
            {
                "when": self.when,
                "rounds": self.rounds,
                "machine": self.machine,
                "figures": [
                    {
                        "scenario": figure.scenario,
                        "case": figure.case,
                        "figure": figure.name,
                        "unit": figure.unit,
                        "median": round(figure.median, 4),
                        "values": [round(value, 4) for value in figure.values],
                    }
                    for figure in self.figures
                ],
                "listings": {
                    name: [[_short(cell) for cell in row] for row in rows]
                    for name, rows in self.listings.items()
                },
                "failures": self.failures,
            },
            indent=1,
            ensure_ascii=False,
        )


def load(path: Path) -> Results:
    """Read what `dump` wrote."""
    found = json.loads(path.read_text())
    return Results(
        machine=found["machine"],
        rounds=found["rounds"],
        figures=[
            Figure(f["scenario"], f["case"], f["figure"], f["unit"], f["values"])
            for f in found["figures"]
        ],
        listings=found["listings"],
        failures=found["failures"],
        when=found["when"],
    )


def _short(cell: object) -> object:
    return round(cell, 4) if isinstance(cell, float) else cell


def grid(figures: list[Figure]) -> tuple[list[str], list[list[Figure | None]], list[str], bool]:
    """A scenario as a table: column heads, cells, row heads, are rows figures (else cases).

    The longer of the two goes down the page.
    """
    cases = list(dict.fromkeys(figure.case for figure in figures))
    names = list(dict.fromkeys(figure.name for figure in figures))
    found = {(figure.case, figure.name): figure for figure in figures}
    if len(names) >= len(cases):
        return cases, [[found.get((c, n)) for c in cases] for n in names], names, True
    return names, [[found.get((c, n)) for n in names] for c in cases], cases, False
