"""taskq.scripts: finding, flattening and hashing the scripts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from taskq.errors import ConfigError
from taskq.scripts import ScriptSet, lua_folder

HEADER = """-- demo: a -> b; says what it does.
-- Why: because
--   of this.
-- KEYS
-- 1 job  taskq:{q}:job:<id>  hash  the job
-- ARGV
-- 1 id      text   the id
-- 2... rest  1 each  words
-- then limits  count  numbers
-- Returns
-- {"OK"} | {"STALE"}
-- Cost: O(1)
-- Flags: FLAGS
-- @include INCLUDES
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "one.lua").write_text("-- one: first.\nlocal function one() end\n")
    (tmp_path / "include" / "two.lua").write_text("-- two: next.\nlocal function two() end\n")
    return tmp_path


def write(
    folder: Path, flags: str = "none", includes: str = "none", body: str = "return {'OK'}"
) -> None:
    header = HEADER.replace("FLAGS", flags).replace("INCLUDES", includes)
    (folder / "demo.lua").write_text(f"{header}{body}\n")


def test_the_checkout_has_all_scripts_of_the_design() -> None:
    transitions = {
        "enqueue",
        "claim",
        "ack",
        "fail",
        "release",
        "promote",
        "reap",
        "cancel",
        "revive",
    }
    transitions |= {"heartbeat", "pause", "resume", "purge", "stats"}

    assert transitions <= set(ScriptSet().names())
    assert (lua_folder() / "include").is_dir()


def test_a_header_becomes_a_value(folder: Path) -> None:
    write(folder, "allow-oom", "one two")

    header = ScriptSet(folder).get("demo").header

    assert (header.edge, header.summary, header.why) == (
        "a -> b",
        "says what it does.",
        "because of this.",
    )
    assert header.keys == (("1 job", "taskq:{q}:job:<id>  hash  the job"),)
    assert header.args == (
        ("1 id", "text   the id"),
        ("2... rest", "1 each  words"),
        ("then limits", "count  numbers"),
    )
    assert header.returns == ('{"OK"} | {"STALE"}',)
    assert (header.cost, header.flags, header.includes) == ("O(1)", ("allow-oom",), ("one", "two"))


def test_includes_come_first_in_order_and_comments_stay_behind(folder: Path) -> None:
    write(folder, "allow-oom", "two one", "  -- a comment\nreturn {'OK'} -- kept\n")

    script = ScriptSet(folder).get("demo")

    assert script.source.splitlines() == [
        "#!lua flags=allow-oom",
        "local function two() end",
        "local function one() end",
        "return {'OK'} -- kept",
    ]
    assert script.sha == hashlib.sha1(script.source.encode()).hexdigest()


def test_a_changed_comment_keeps_the_sha_and_a_changed_flag_does_not(folder: Path) -> None:
    write(folder)
    first = ScriptSet(folder).get("demo").sha
    path = folder / "demo.lua"
    path.write_text(path.read_text().replace("because", "for another reason"))
    second = ScriptSet(folder).get("demo").sha
    write(folder, "no-writes")

    assert second == first
    assert ScriptSet(folder).get("demo").sha != first


def test_a_test_can_replace_an_include_and_leave_the_first_line_out(folder: Path) -> None:
    write(folder, includes="one")

    script = ScriptSet(folder, replace={"one": "local one = 1"}, shebang=False).get("demo")

    assert script.source == "local one = 1\nreturn {'OK'}\n"


def test_an_unknown_include_is_named(folder: Path) -> None:
    write(folder, includes="three")

    with pytest.raises(ConfigError, match=r"lua/demo\.lua: no include lua/include/three\.lua"):
        ScriptSet(folder).get("demo")


@pytest.mark.parametrize("part", ["Why", "KEYS", "ARGV", "Returns", "Cost", "Flags", "@include"])
def test_a_missing_part_of_the_header_is_named(folder: Path, part: str) -> None:
    write(folder)
    path = folder / "demo.lua"
    path.write_text(path.read_text().replace(f"-- {part}", "-- x"))

    with pytest.raises(ConfigError, match=f"header lacks {part}"):
        ScriptSet(folder).get("demo")


def test_a_script_is_read_once(folder: Path) -> None:
    write(folder)
    scripts = ScriptSet(folder)
    first = scripts.get("demo")
    (folder / "demo.lua").unlink()

    assert scripts.get("demo") is first
