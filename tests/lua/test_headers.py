"""The header of every script is true: it says what the body has and what Python sends."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from taskq.errors import ConfigError
from taskq.scripts import Script, ScriptSet, lua_folder, parse_header
from tests.lua.engine import Engine
from tests.lua.scenarios import CASES, Case

SCRIPTS = ScriptSet()
NAMES = SCRIPTS.names()
INCLUDES = sorted((lua_folder() / "include").glob("*.lua"))
FLAGS = {"no-writes", "allow-oom"}
#: Scripts that must work on a server without free memory: they end jobs, or keep them alive.
IN_NEED = {"ack", "fail", "release", "reap", "heartbeat", "cancel", "retire", "promote", "purge"}
OPTION_WORDS = {"WITHSCORES", "BYSCORE", "LIMIT", "PX", "REV", "WRONGTYPE"}
READS = {"EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HLEN", "HMGET", "LLEN", "PTTL", "SCARD"}
READS |= {"HRANDFIELD", "ZCOUNT", "ZRANK"}
READS |= {"INFO", "SISMEMBER", "SRANDMEMBER", "TIME", "TYPE", "ZCARD", "ZRANGE", "ZSCORE"}
WRITES = {"DEL", "HDEL", "HINCRBY", "HSET", "PERSIST", "PEXPIRE", "PUBLISH", "RPUSH", "SADD", "SET"}
WRITES |= {"RENAME", "SREM", "UNLINK", "ZADD", "ZREM"}


def code(path: Path) -> str:
    """The lines that are not comments."""
    lines = path.read_text(encoding="ascii").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))


def body(name: str) -> str:
    return code(lua_folder() / f"{name}.lua")


def commands_in(source: str) -> list[str]:
    """The Redis commands of a source; those through `ask` (lua/include/ask.lua) only read."""
    return re.findall(r"(?:redis\.p?call|\bask)\('(\w+)'", source)


def functions_in(path: Path) -> set[str]:
    return set(re.findall(r"^local function (\w+)", code(path), re.MULTILINE))


def included(name: str) -> tuple[str, ...]:
    """The includes of a script: those made at every call, then those made when one is called."""
    header = SCRIPTS.get(name).header
    return header.includes + header.rare


def path_of(include: str) -> Path:
    return lua_folder() / "include" / f"{include}.lua"


def needs_of(path: Path) -> set[str]:
    found = re.search(r"^-- Needs (.+)\.$", path.read_text(), re.MULTILINE)
    return set(found[1].split(", ")) if found else set()


def fixed(entries: tuple[tuple[str, str], ...]) -> list[str]:
    """Names of the entries that stand for one word each; their numbers must be 1, 2, 3 ..."""
    names = []
    for place, _ in entries:
        number, name = place.split()
        if number.isdigit():
            names.append(name)
            assert int(number) == len(names)
    return names


def many(entries: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Entries that stand for any number of words, as (name, description)."""
    found = [(place.split(), text) for place, text in entries]
    return [(name, text) for (number, name), text in found if not number.isdigit()]


def built(engine: Engine, case: Case) -> tuple[Script, list[str], list[str]]:
    call = case.build(engine)
    return SCRIPTS.get(case.script), list(call.keys), [str(word) for word in call.args]


@pytest.fixture
def pure(keys: object) -> Engine:
    """An engine on a fake server, only to build calls."""
    import fakeredis

    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    return Engine(client=client, keys=keys, kind="fake")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_the_header_parses_and_says_why(name: str) -> None:
    header = SCRIPTS.get(name).header

    assert header.name == name
    assert header.edge
    assert header.why.endswith(".")
    assert header.returns
    assert header.cost.startswith("O(")
    assert set(header.flags) <= FLAGS
    assert ("allow-oom" in header.flags) or name not in IN_NEED


def test_a_header_without_a_part_is_refused_with_the_name_of_the_part() -> None:
    with pytest.raises(ConfigError, match=r"lua/x\.lua: header lacks Cost, Flags"):
        parse_header(
            "-- x: a -> b; c.\n-- Why: d\n-- KEYS\n-- ARGV\n-- Returns\n-- @include none", "x"
        )
    with pytest.raises(ConfigError, match="its first line"):
        parse_header((lua_folder() / "ack.lua").read_text(), "other")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_python_sends_the_keys_the_header_names(pure: Engine, case: Case) -> None:
    script, keys, _ = built(pure, case)
    entries = script.header.keys

    assert len(keys) >= len(fixed(entries))
    assert bool(len(keys) > len(fixed(entries))) == bool(many(entries))
    patterns = [text for _, text in entries]
    patterns += patterns[-1:] * (len(keys) - len(entries))
    for key, text in zip(keys, patterns, strict=True):
        choices = []
        for choice in re.split(r"\s{2,}", text)[0].split(" | "):
            whole = choice if choice.startswith("taskq:") else "taskq:{q}" + choice
            choices.append(re.sub(r"<\w+>", "X", whole.replace("[", "(").replace("]", ")?")))
        pattern = "|".join(choices).replace("{q}", r"\{q\}").replace("X", "[^:]+")
        assert re.fullmatch(pattern, key.replace(pure.keys.namespace, "taskq", 1)), (key, text)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_keys_are_of_the_type_the_header_names(pure: Engine, case: Case) -> None:
    script, keys, _ = built(pure, case)
    pure.raw(case.build(pure))

    types = [re.split(r"\s{2,}", text)[1].split()[0] for _, text in script.header.keys]
    types += types[-1:] * (len(keys) - len(types))
    for key, kind in zip(keys, types, strict=True):
        assert pure.client.type(key).decode() in (kind, "none"), key


@pytest.mark.parametrize("case", CASES, ids=str)
def test_python_sends_the_arguments_the_header_names(pure: Engine, case: Case) -> None:
    script, keys, args = built(pure, case)
    header = script.header
    rest = args[len(fixed(header.args)) :]
    assert len(args) >= len(fixed(header.args))

    for name, text in many(header.args):
        each = re.search(r"(?:(\d+) \+ 2n|(\d+)) each", text)
        if "at most two" in text:
            assert len(rest) <= 2
            rest = []
            continue
        if each is None:
            assert "per ready key" in text
            size, count = 1, len(keys) - len(fixed(header.keys))
        elif each[1]:
            while rest:
                rest = rest[int(each[1]) + 2 * int(rest[int(each[1]) - 1]) :]
            continue
        else:
            size = int(each[2])
            count = (
                int(args[fixed(header.args).index("acks")])
                if name == "jobs" and header.name == "ack"
                else len(rest) // size
            )
        assert count > 0
        assert len(rest) >= size * count
        rest = rest[size * count :]
    assert rest == []


@pytest.mark.parametrize("name", NAMES)
def test_the_first_lines_name_every_key_and_argument_as_the_header_does(name: str) -> None:
    header = SCRIPTS.get(name).header
    first, _, later = body(name).strip().partition("\n\n")
    named: dict[str, list[str]] = {"KEYS": [], "ARGV": []}
    for line in first.splitlines():
        names, values = re.fullmatch(r"local ([\w, ]+) = (.+)", line).groups()  # type: ignore[union-attr]
        for local, value in zip(names.split(", "), values.split(", "), strict=True):
            table, number = re.fullmatch(r"(?:tonumber\()?(KEYS|ARGV)\[(\d+)\]\)?", value).groups()  # type: ignore[union-attr]
            named[table].append(local)
            assert int(number) == len(named[table])
            assert re.search(rf"\b{local}\b", later), f"{local} is not used"

    assert named == {"KEYS": fixed(header.keys), "ARGV": fixed(header.args)}
    for table in ("KEYS", "ARGV"):
        for number in re.findall(rf"{table}\[(\d+)\]", later):
            assert int(number) > len(named[table]), f"{table}[{number}] has a name"


@pytest.mark.parametrize("name", NAMES)
def test_the_words_it_answers_are_the_words_of_the_header(name: str) -> None:
    source = body(name)
    promised = set(re.findall(r'"([A-Z_]+)"', " ".join(SCRIPTS.get(name).header.returns)))
    quoted = set(re.findall(r"'([A-Z][A-Z_]+)'", source))

    for include in included(name):  # a word may be said by a shared part
        shared = code(path_of(include))
        quoted |= set(re.findall(r"'([A-Z][A-Z_]+)'", shared)) & promised

    assert quoted - set(commands_in(source)) - OPTION_WORDS == promised


@pytest.mark.parametrize("name", NAMES)
def test_every_include_is_there_used_and_after_what_it_needs(name: str) -> None:
    rare = SCRIPTS.get(name).header.rare
    of_rare = set().union(*(functions_in(path_of(include)) for include in rare))
    there: set[str] = set()
    for include in included(name):
        known = there if include in rare else there | of_rare  # those are made when called
        assert needs_of(path_of(include)) <= known, f"{include} comes before what it needs"
        there |= functions_in(path_of(include))
    seen = included(name)
    used = body(name) + "".join(code(path_of(i)).split("\n", 1)[1] for i in seen)

    assert len(seen) == len(set(seen))
    assert [include for include in sorted(seen) if not re.search(rf"\b{include}\(", used)] == []


@pytest.mark.parametrize("path", INCLUDES, ids=lambda path: path.stem)
def test_an_include_uses_its_parameters_and_what_it_says_it_needs(path: Path) -> None:
    source = code(path)
    others = set().union(*(functions_in(other) for other in INCLUDES)) - functions_in(path)
    called = {other for other in others if re.search(rf"(?<!\.)\b{other}\(", source)}

    assert path.stem in functions_in(path)
    assert path.read_text().startswith(f"-- {path.stem}: ")
    assert called == needs_of(path)
    assert not re.search(r"\b(KEYS|ARGV)\b", source)
    assert any(path.stem in included(name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_known_and_bounded(name: str) -> None:
    script = SCRIPTS.get(name)
    allowed = READS if "no-writes" in script.header.flags else READS | WRITES

    assert set(commands_in(script.source)) <= allowed
    assert set(re.findall(r"\bask\('(\w+)'", script.source)) <= READS
    named = re.findall(r"redis\.p?call\('\w+'", script.source)
    asked = script.source.count("redis.acl_check_cmd")  # no command: asks about one
    asked += len(re.findall(r"redis\.p?call\(\.\.\.\)", script.source))  # ask itself
    assert asked <= 2
    assert script.source.count("redis.") - asked == len(named)
    for call in re.findall(r"redis\.call\('ZRANGE', [^\n]*", script.source):
        assert re.search(r", 0, -1\b", call) is None, call
    for call in re.findall(r"'SRANDMEMBER', \w+([^)]*)\)", script.source):
        assert 1 <= int(call.strip(", ")) <= 200


@pytest.mark.parametrize("name", NAMES)
def test_what_is_sent_has_no_comments_and_its_own_flags(name: str) -> None:
    script = SCRIPTS.get(name)
    first, *rest = script.source.splitlines()

    flags = ",".join(script.header.flags)
    assert first == "#!lua" + (f" flags={flags}" if flags else "")
    assert not any(line.lstrip().startswith("--") for line in rest)


@pytest.fixture(scope="module")
def luacheck() -> str:
    path = shutil.which("luacheck")
    if path is None:
        message = "luacheck is missing: apt-get install lua-check"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_luacheck_finds_nothing_in_what_is_sent(luacheck: str, name: str) -> None:
    words = ["--no-config", "--std", "lua51", "--no-max-line-length", "--no-color"]
    words += ["--read-globals", "redis", "KEYS", "ARGV"]
    source = SCRIPTS.get(name).source.partition("\n")[2]

    checked = subprocess.run(
        [luacheck, "-", *words], input=source, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout
