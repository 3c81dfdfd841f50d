"""A run over all systems: its figures by system, their JSON form, and looking them up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.bench import Sample
from bench.results import Figure

Row = dict[str, Any]

#: Who sends or runs less than this share of a steady rate is behind.
KEEPS_UP = 0.9


@dataclass(slots=True)
class Measured:
    """One system: what it is, how it was set, what was found."""

    about: dict[str, str]
    """Version and settings, as bench/peers/table.py says."""
    installed: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    lacks: dict[str, str] = field(default_factory=dict)

    def add(self, scenario: str, sample: Sample) -> None:
        """Note one figure of one round."""
        figure = self.get(scenario, sample.case, sample.figure)
        if figure is None:
            figure = Figure(scenario, sample.case, sample.figure, sample.unit)
            self.figures.append(figure)
        figure.values.append(float(sample.value))

    def get(self, scenario: str, case: str, name: str) -> Figure | None:
        """One figure; None when this system has none."""
        for figure in self.figures:
            if (figure.scenario, figure.case, figure.name) == (scenario, case, name):
                return figure
        return None

    def kept_up(self, case: str) -> bool:
        """At a steady rate: all that was to be sent in time was, and has run."""
        achieved, missed = (
            self.get("latency", case, "achieved"),
            self.get("latency", case, "missed"),
        )
        if achieved is None or missed is None:
            return False
        rate = float(case.split()[0].replace(",", ""))
        return missed.median == 0 and achieved.median >= KEEPS_UP * rate


@dataclass(slots=True, kw_only=True)
class Comparison:
    """Everything a run has found."""

    machine: dict[str, str]
    rounds: int
    systems: dict[str, Measured] = field(default_factory=dict)
    when: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d"))

    def figures(self, scenario: str, case: str, name: str) -> Iterator[tuple[str, Figure]]:
        """(system, figure) of all that have it."""
        for system, measured in self.systems.items():
            found = measured.get(scenario, case, name)
            if found:
                yield system, found

    def dump(self) -> str:
        """JSON, rounded to what a clock can tell."""
        return json.dumps(
            {
                "when": self.when,
                "rounds": self.rounds,
                "machine": self.machine,
                "systems": {name: _plain(found) for name, found in self.systems.items()},
            },
            indent=1,
            ensure_ascii=False,
        )


def _plain(measured: Measured) -> Row:
    return {
        "about": measured.about,
        "installed": measured.installed,
        "lacks": measured.lacks,
        "failures": measured.failures,
        "figures": [
            {
                "scenario": figure.scenario,
                "case": figure.case,
                "figure": figure.name,
                "unit": figure.unit,
                "median": round(figure.median, 4),
                "values": [round(value, 4) for value in figure.values],
            }
            for figure in measured.figures
        ],
    }


def load(path: Path) -> Comparison:
    """Read what `dump` wrote."""
    found = json.loads(path.read_text())
    return Comparison(
        machine=found["machine"],
        rounds=found["rounds"],
        when=found["when"],
        systems={
            name: Measured(
                about=row["about"],
                installed=row["installed"],
                lacks=row["lacks"],
                failures=row["failures"],
                figures=[
                    Figure(f["scenario"], f["case"], f["figure"], f["unit"], f["values"])
                    for f in row["figures"]
                ],
            )
            for name, row in found["systems"].items()
        },
    )
