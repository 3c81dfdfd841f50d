"""The mutation tool itself: it finds the guards we know of, and the test that should notices one.

`make mutants` runs them all; this is only to see that it would.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from taskq.scripts import lua_folder
from tests.mutation import run
from tests.mutation.equivalent import Entry, read_entries, split
from tests.mutation.lua_syntax import parse
from tests.mutation.rules import Mutant


def of(name: str) -> dict[str, Mutant]:
    """The mutants of a script or an include, by what their lines say."""
    (file,) = run.files([name])
    return {m.after: m for m in run.all_mutants([file])}


@pytest.mark.parametrize("path", sorted(lua_folder().rglob("*.lua")), ids=lambda path: path.stem)
def test_every_file_of_the_engine_is_understood_to_its_end(path: Path) -> None:
    source = path.read_text()
    tree = parse(source)

    assert tree.parts
    for node in tree.walk():
        assert 0 <= node.start <= node.end <= len(source)
        for part in node.parts:
            assert node.start <= part.start <= part.end <= node.end


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("ack", "elseif job[3] ~= worker then"),
        ("ack", "elseif job[2] ~= token then"),
        ("ack", "elseif job[1] == 'running' then"),
        ("ack", "-- Flags: none"),
        ("ack", "expect({ done }, stats, wake)"),
        ("enqueue", "-- Flags: allow-oom"),
        ("add_due", "if redis.call('LLEN', wake) <= 4 then redis.call('RPUSH', wake, '1') end"),
        ("revive", ""),
        ("heartbeat", "redis.call('SET', alive, now, 'EX', ttl_ms)"),
        ("wake_up", "local room = 5 - waiting"),
        ("text", "return tostring(number)"),
        ("next_due", "return string.format('%.0f', math.max(first - now, 1e14))"
         " -- an infinite score has no digits"),
    ],
)  # fmt: skip
def test_a_guard_we_know_of_is_broken(name: str, after: str) -> None:
    assert after in of(name)


def test_a_check_may_come_too_late_and_a_write_too_early() -> None:
    kinds = {mutant.kind for mutant in of("retire").values()}

    assert {"late", "early", "removed", "compare"} <= kinds


def test_names_are_unique_and_say_script_line_and_kind() -> None:
    names = [mutant.name for mutant in of("ack").values()]

    assert len(set(names)) == len(names)
    assert all(name.startswith("ack:") and name.count(":") == 2 for name in names)


def test_every_listed_equivalent_has_a_reason_and_a_file() -> None:
    """That its mutant still exists is for `make mutants` to say."""
    entries = read_entries()

    assert all(entry.why for entry in entries)
    assert {entry.file for entry in entries} <= set(run.files([]))


def test_an_entry_without_its_mutant_is_told_of() -> None:
    found = run.all_mutants(["include/wake_up"])
    entry = Entry(file="include/wake_up", before="x", after="y", why="z", line=7)

    assert split(found, [entry]) == (found, [], [entry])


def test_the_test_that_should_notice_a_broken_token_check_does() -> None:
    broken = of("ack")["elseif job[3] ~= worker then"]

    (verdict,) = run.verdicts([broken], jobs=1, examples=0, near=True, baseline=False)

    assert verdict.name == broken.name
    assert verdict.word == "killed"
    assert verdict.by.startswith("tests/lua/test_ack.py::")
