"""docs/scheduling.md: its tables and plots, from saved JSON. Text around the markers is by hand."""

from __future__ import annotations

import re
from pathlib import Path

from bench.replay import tables
from bench.replay.results import Results, load

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "bench/results/scheduling"
PAGE = ROOT / "docs/scheduling.md"
PLOTS = ROOT / "docs/images"


class NothingFor(Exception):
    """A marker that the run has nothing for; the message names it."""


def newest() -> Path:
    """The newest saved run."""
    return sorted(FOLDER.glob("*.json"))[-1]


def render(page: str, results: Results, name: str) -> str:
    """The page with every marked part replaced."""
    found = tables.sections(results, name)

    def fill(match: re.Match[str]) -> str:
        word = match[1]
        if word not in found:
            raise NothingFor(f"{name} has nothing for the marker {word!r}")
        return f"<!-- bench: {word} -->\n{found[word]}\n<!-- /bench -->"

    return re.sub(r"<!-- bench: ([^>]+?) -->\n.*?<!-- /bench -->", fill, page, flags=re.S)


def write(path: Path) -> None:
    """Put the figures of a saved run into the page, and draw its plots."""
    from bench.replay import plots

    results = load(path)
    PAGE.write_text(render(PAGE.read_text(), results, path.name))
    plots.draw(results, PLOTS)
