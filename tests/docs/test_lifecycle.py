"""The picture in lifecycle.md has the arrows of the scripts, and no others."""

from __future__ import annotations

import re

from taskq.job import State
from taskq.scripts import ScriptSet
from tests.docs.pages import DOCS, blocks, rows

PAGE = DOCS / "lifecycle.md"
TTL = "TTL"


def edges_of(line: str) -> set[tuple[str, str]]:
    """`running -> completed, then ready -> running | expired` is three; staying put is none."""
    if line == "any state -> the same":
        return set()
    found = set()
    for part in line.split(", then "):
        before, after = part.split(" -> ")
        for start in before.split(" | "):
            found |= {(start, end) for end in after.split(" | ") if end != start}
    return found


def drawn() -> dict[tuple[str, str], set[str]]:
    (picture,) = (block for block in blocks(PAGE) if block.language == "mermaid")
    arrows = re.findall(r"^ +(\S+) --> (\S+): (.+)$", picture.code, re.M)
    assert len(arrows) == picture.code.count("-->")
    found: dict[tuple[str, str], set[str]] = {}
    for start, end, label in arrows:
        edge = (start.replace("[*]", "nothing"), end.replace("[*]", "nothing"))
        assert edge not in found, f"drawn twice: {edge}"
        found[edge] = set(label.split(", "))
    return found


def scripted() -> dict[tuple[str, str], set[str]]:
    scripts = ScriptSet()
    found: dict[tuple[str, str], set[str]] = {}
    for name in scripts.names():
        for edge in edges_of(scripts.get(name).header.edge):
            found.setdefault(edge, set()).add(name)
    return found


def test_every_edge_of_a_script_is_drawn_with_its_name_and_every_arrow_is_an_edge() -> None:
    picture = {edge: names - {TTL} for edge, names in drawn().items()}

    assert picture == scripted()


def test_redis_itself_ends_the_record_of_every_ended_state_and_of_no_other() -> None:
    ends = {start for (start, end), names in drawn().items() if TTL in names and end == "nothing"}

    assert ends == {str(state) for state in State if state.ended}


def test_edges_lead_between_states_that_exist() -> None:
    states = {str(state) for state in State} | {"nothing"}

    assert {state for edge in scripted() for state in edge} <= states


def test_every_state_is_explained() -> None:
    explained = [row["state"].strip("`") for row in rows(PAGE, "state")]

    assert explained == [str(state) for state in State]


def test_scripts_that_move_no_job_are_listed_as_such() -> None:
    last = PAGE.read_text(encoding="utf-8").rstrip().rsplit("\n", 1)[1]
    scripts = ScriptSet()
    still = {name for name in scripts.names() if not edges_of(scripts.get(name).header.edge)}

    assert last.endswith("move no job.")
    assert set(re.findall(r"\*\*(\w+)\*\*", last)) == still
