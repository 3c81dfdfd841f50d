"""The pages hang together: links lead somewhere, generated ones are fresh, promises have tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskq.job import State
from taskq.scripts import ScriptSet
from tests.docs.pages import DOCS, PAGES, ROOT, RUNNABLE, anchors, blocks, code_words, prose, rows

by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@by_name
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        if not other.exists() or (anchor and anchor not in anchors(other)):
            broken.append(target)

    assert not broken


@by_name
def test_every_block_that_could_run_says_whether_it_does(page: Path) -> None:
    silent = [b.name for b in blocks(page) if b.language in RUNNABLE and not b.mark]

    assert not silent, "put <!-- run --> or <!-- not run: why --> on the line above"


def test_readme_leads_to_every_page() -> None:
    links = re.findall(r"\]\(docs/([\w-]+\.md)", (ROOT / "README.md").read_text(encoding="utf-8"))

    assert {page.name for page in DOCS.glob("*.md")} <= set(links)


def test_generated_pages_are_fresh() -> None:
    checked = subprocess.run(
        [sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stderr


def test_protocol_has_a_section_for_every_script_and_every_word_it_returns() -> None:
    page = DOCS / "protocol.md"
    text = page.read_text(encoding="utf-8")
    scripts = ScriptSet()

    for name in scripts.names():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        words = re.findall(r'"([A-Z_]+)"', " ".join(scripts.get(name).header.returns))
        assert words
        assert [word for word in words if f'"{word}"' not in section] == []


def test_guarantees_name_tests_that_exist() -> None:
    page = DOCS / "guarantees.md"
    named = {word for word in code_words(prose(page)) if word.startswith("tests/")}

    assert len(named) > 10
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_promise_names_its_test_or_is_said_not_to_be_done() -> None:
    promises = [row for row in rows(DOCS / "guarantees.md", "") if "shown by" in row]

    assert [row[""] for row in promises] == [f"P{number}" for number in range(1, 10)]
    for row in promises:
        assert code_words(row["shown by"]) or "not done yet" in row["promise"], row


def test_glossary_has_every_script_that_moves_jobs_and_every_state() -> None:
    words = {w for row in rows(DOCS / "glossary.md", "word") for w in row["word"].split(", ")}
    scripts = ScriptSet()
    moving = {
        name
        for name in scripts.names()
        if len({side.strip() for side in scripts.get(name).header.edge.split("->")}) > 1
        and "same" not in scripts.get(name).header.edge
    }

    assert moving | {str(state) for state in State} <= words


def test_no_page_says_nack_but_the_one_that_forbids_it() -> None:
    saying = [p.name for p in PAGES if re.search(r"\bnack", p.read_text(encoding="utf-8"), re.I)]

    assert saying == ["glossary.md"]
