"""docs/scheduling.md says what the committed results say."""

from __future__ import annotations

import re

from bench.replay import page
from bench.replay.results import load


def test_the_tables_of_the_page_are_those_of_the_newest_results() -> None:
    path, text = page.newest(), page.PAGE.read_text()

    assert page.render(text, load(path), path.name) == text


def test_every_plot_of_the_page_is_there_in_both_themes() -> None:
    named = set(re.findall(r"images/([\w-]+\.png)", page.PAGE.read_text()))

    assert named == {path.name for path in page.PLOTS.glob("scheduling-*.png")}
    assert {name.replace("dark", "light") for name in named} == {n for n in named if "light" in n}
