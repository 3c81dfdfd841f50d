"""Puts a run's figures into docs/performance.md: `python bench/report.py [RESULTS.json] [--check]`.

They go between markers. Without a file the newest of bench/results is taken that is of the main
Python (bench/pythons.py); one part of the page shows the other Pythons beside it. `--check` writes
nothing and fails when the page is not up to date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import click

from bench import pythons
from bench.results import Figure, Results, grid, load, number

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/performance.md"
FOLDER = ROOT / "bench/results"
_LISTED = 15
_HEADS = {
    "worker": ("function", "calls per job", "own µs per job"),
    "producer": ("function", "calls per job", "own µs per job"),
    "server, drain": ("command", "calls per job", "µs per job"),
    "server, one by one": ("command", "calls per job", "µs per job"),
    "idle commands": ("command", "from", "per second"),
}


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _machine(results: Results, path: Path) -> list[str]:
    about = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    return [
        f"Run of {results.when}, `{path.name}`: {about}.",
        f"Median of {results.rounds} interleaved rounds (least to most);"
        " what has no range was taken once, or never differed.",
        "",
    ]


def picture(name: str, alt: str) -> list[str]:
    """A plot of docs/images, light or dark as the reader has it."""
    return [
        "<picture>",
        f'  <source media="(prefers-color-scheme: dark)" srcset="images/{name}-dark.png">',
        f'  <img alt="{alt}" src="images/{name}-light.png">',
        "</picture>",
        "",
    ]


def scenario_table(figures: list[Figure]) -> list[str]:
    heads, cells, rows, by_figure = grid(figures)
    lines = [_row(["", *heads]), _row(["---", *("---:" for _ in heads)])]
    for head, row in zip(rows, cells, strict=True):
        unit = next((figure.unit for figure in row if figure), "") if by_figure else ""
        lines.append(
            _row([f"{head}, {unit}" if unit else head, *(_cell(f, by_figure) for f in row)])
        )
    return [*lines, ""]


def _cell(figure: Figure | None, by_figure: bool) -> str:
    if figure is None:
        return ""
    unit = "" if by_figure or not figure.unit else f" {figure.unit}"
    return f"{figure.text}{unit}" + (f" ({figure.spread})" if figure.spread else "")


def _listing(name: str, rows: list[list[object]]) -> list[str]:
    heads = _HEADS[name]
    lines = [_row(list(heads)), _row(["---"] + ["---:"] * (len(heads) - 1))]
    for row in rows[:_LISTED]:
        cells = [number(c) if isinstance(c, float) else str(c).replace("|", "\\|") for c in row]
        lines.append(_row([f"`{cells[0]}`", *cells[1:]]))
    return [*lines, ""]


def sections(results: Results, path: Path) -> dict[str, str]:
    """Marker name -> Markdown."""
    parts = {"machine": _machine(results, path)}
    parts["pythons"] = pythons.table(path)
    parts |= {name: scenario_table(figures) for name, figures in results.scenarios()}
    for name, rows in results.listings.items():
        parts[name] = _listing(name, rows)
    return {name: "\n".join(lines).strip() for name, lines in parts.items()}


def render(page: str, results: Results, path: Path) -> str:
    """The page with every marked part replaced. A marker the run has nothing for is an error."""
    found = sections(results, path)

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name not in found:
            raise click.ClickException(f"{path.name} has nothing for the marker {name!r}")
        return f"<!-- bench: {name} -->\n{found[name]}\n<!-- /bench -->"

    return re.sub(r"<!-- bench: ([^>]+?) -->\n.*?<!-- /bench -->", fill, page, flags=re.S)


def newest() -> Path:
    """The saved run that the page is made of."""
    path = pythons.chosen(FOLDER)
    if path is None:
        raise click.ClickException("no results yet: run `python bench/run.py --save`")
    return path


def write(path: Path) -> None:
    """Put the figures of a saved run into the page."""
    PAGE.write_text(render(PAGE.read_text(), load(path), path))


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--check", is_flag=True, help="Write nothing; fail when the page differs.")
def main(path: Path | None, check: bool) -> None:
    """Write the figures of a run into docs/performance.md."""
    path = path or newest()
    if not check:
        write(path)
        return
    page = PAGE.read_text()
    if render(page, load(path), path) != page:
        raise click.ClickException(f"docs/performance.md is not what {path.name} says")


if __name__ == "__main__":
    main()
