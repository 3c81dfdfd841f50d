"""Plots for pages, light and dark. The only module that needs matplotlib (extra `bench`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: Text, lines, then one colour for each curve: what is ours comes second.
_THEMES = {
    "light": ("#1f2328", "#d0d7de", ("#8c959f", "#0969da", "#bf3989", "#1a7f37", "#bc4c00")),
    "dark": ("#e6edf3", "#30363d", ("#8b949e", "#58a6ff", "#f778ba", "#3fb950", "#f0883e")),
}

#: Makes one figure: of pyplot, in these colours.
Make = Callable[[Any, tuple[str, ...]], Any]


def draw(figures: Mapping[str, Make], folder: Path) -> list[Path]:
    """Write every figure in both themes, as NAME-THEME.png; their paths."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for theme, (ink, grid, colours) in _THEMES.items():
        style: dict[str, Any] = {
            "text.color": ink,
            "axes.labelcolor": ink,
            "axes.edgecolor": grid,
            "xtick.color": ink,
            "ytick.color": ink,
            "grid.color": grid,
            "font.size": 9,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "savefig.transparent": True,
        }
        with pyplot.rc_context(style):
            for name, make in figures.items():
                figure = make(pyplot, colours)
                path = folder / f"{name}-{theme}.png"
                figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
                pyplot.close(figure)
                paths.append(path)
    return paths
