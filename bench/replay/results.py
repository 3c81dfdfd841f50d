"""The figures of a run and their JSON form. Knows no scenario."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(slots=True, kw_only=True)
class Found:
    """What was measured of one row on one trace: each figure once per seed or round."""

    scenario: str
    trace: str
    row: str
    how: str
    """simulated or real."""
    values: dict[str, list[float]] = field(default_factory=dict)

    def mean(self, figure: str) -> float:
        return statistics.fmean(self.values[figure])

    def median(self, figure: str) -> float:
        return statistics.median(self.values[figure])


@dataclass(slots=True, kw_only=True)
class Results:
    """Everything a run has found."""

    machine: dict[str, str]
    seeds: int
    found: list[Found] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)
    """Curves for the plots, by name."""
    skipped: list[str] = field(default_factory=list)
    """Peers that are not here."""
    failures: list[str] = field(default_factory=list)
    when: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d"))

    def add(
        self, scenario: str, trace: str, row: str, how: str, values: Mapping[str, float]
    ) -> None:
        """Note the figures of one seed."""
        found = self.get(scenario, trace, row, how)
        if found is None:
            found = Found(scenario=scenario, trace=trace, row=row, how=how)
            self.found.append(found)
        for name, value in values.items():
            found.values.setdefault(name, []).append(round(value, 4))

    def get(self, scenario: str, trace: str, row: str, how: str) -> Found | None:
        """The figures of one row on one trace."""
        wanted = (scenario, trace, row, how)
        for found in self.found:
            if (found.scenario, found.trace, found.row, found.how) == wanted:
                return found
        return None

    def names(self, scenario: str, part: str) -> list[str]:
        """`trace` or `row` names of a scenario, in order of appearance."""
        return list(dict.fromkeys(getattr(f, part) for f in self.found if f.scenario == scenario))

    def dump(self) -> str:
        """JSON; one line for each row."""
        words = ("when", "machine", "seeds", "skipped", "failures")
        parts = {name: getattr(self, name) for name in words}
        lines = [f'"{name}": {json.dumps(value)}' for name, value in parts.items()]
        for name, items in (
            ("found", [self._plain(found) for found in self.found]),
            ("series", [[key, value] for key, value in self.series.items()]),
        ):
            listed = ",\n  ".join(json.dumps(item) for item in items)
            lines.append(f'"{name}": [\n  {listed}\n ]')
        return "{\n " + ",\n ".join(lines) + "\n}\n"

    @staticmethod
    def _plain(found: Found) -> dict[str, Any]:
        names = ("scenario", "trace", "row", "how", "values")
        return {name: getattr(found, name) for name in names}


def load(path: Path) -> Results:
    """Read what `dump` wrote."""
    read = json.loads(path.read_text())
    return Results(
        machine=read["machine"],
        seeds=read["seeds"],
        found=[Found(**found) for found in read["found"]],
        series=dict(read["series"]),
        skipped=read["skipped"],
        failures=read["failures"],
        when=read["when"],
    )
