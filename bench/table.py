"""Results for people at a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bench.results import Figure, Results, grid, number

_LISTED = 15


def show(results: Results, console: Console) -> None:
    """The machine, one table a scenario, the listings."""
    console.print(" · ".join(f"{name} {value}" for name, value in results.machine.items()))
    console.print(f"median of {results.rounds} rounds; below it least to most, where they differ\n")
    for name, figures in results.scenarios():
        console.print(_table(name, figures), "")
    for name, rows in results.listings.items():
        table = Table(title=name, title_justify="left", box=None, title_style="bold")
        for row in rows[:_LISTED]:
            table.add_row(*(number(cell) if isinstance(cell, float) else str(cell) for cell in row))
        console.print(table, "")
    for failure in results.failures:
        console.print(f"[red]failed:[/] {failure}", highlight=False)


def _table(name: str, figures: list[Figure]) -> Table:
    heads, cells, rows, by_figure = grid(figures)
    table = Table(title=name, title_justify="left", title_style="bold", header_style="")
    table.add_column("")
    for head in heads:
        table.add_column(head, justify="right")
    for head, row in zip(rows, cells, strict=True):
        unit = next((figure.unit for figure in row if figure), "") if by_figure else ""
        table.add_row(f"{head}\n[dim]{unit}", *(_cell(figure, by_figure) for figure in row))
    return table


def _cell(figure: Figure | None, by_figure: bool) -> str:
    if figure is None:
        return ""
    unit = "" if by_figure or not figure.unit else f" {figure.unit}"
    return f"{figure.text}{unit}\n[dim]{figure.spread}"
