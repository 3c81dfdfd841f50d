"""The tables of keyspace.md agree with the scripts, with keys.py, and with a queue in use."""

from __future__ import annotations

import re

import pytest

from taskq.keys import TYPES, QueueKeys, SharedKeys
from taskq.scripts import ScriptSet
from tests.docs.lua_writes import patterns, writes
from tests.docs.pages import DOCS, code_words, rows
from tests.docs.world import World

PAGE = DOCS / "keyspace.md"
SCRIPTS = ScriptSet()
NAMES = SCRIPTS.names()
#: Row by key pattern.
TABLE = {code_words(row["key"])[0]: row for row in rows(PAGE, "key")}
OF_QUEUES = {key: row for key, row in TABLE.items() if key.startswith("taskq:{q}:")}


def scripts_in(cell: str) -> set[str]:
    return set(code_words(cell)) & set(NAMES)


@pytest.mark.parametrize("key", sorted(OF_QUEUES))
def test_the_scripts_said_to_write_a_key_are_those_that_do(key: str) -> None:
    writing = {name for name in NAMES if key in writes(SCRIPTS.get(name))}

    assert scripts_in(OF_QUEUES[key]["written by"]) == writing


def test_every_key_of_a_script_is_in_the_table() -> None:
    for name in NAMES:
        touched = set().union(*patterns(SCRIPTS.get(name)).values()) | writes(SCRIPTS.get(name))
        assert touched <= set(OF_QUEUES), name


@pytest.mark.parametrize("key", sorted(OF_QUEUES))
def test_scripts_that_declare_a_key_write_or_read_it_in_the_table(key: str) -> None:
    declaring = {
        name for name in NAMES if any(key in keys for keys in patterns(SCRIPTS.get(name)).values())
    }
    row = OF_QUEUES[key]

    assert declaring <= scripts_in(row["written by"]) | scripts_in(row["read by"])


def test_types_in_the_table_are_those_in_the_headers() -> None:
    for name in NAMES:
        for label, text in SCRIPTS.get(name).header.keys:
            kind = re.search(r"\b(hash|zset|set|list|string)\b", text)
            assert kind, f"{name}: KEYS {label} has no type"
            for key in patterns(SCRIPTS.get(name))[f"KEYS[{label.split()[0].rstrip('.')}]"]:
                assert OF_QUEUES[key]["type"] == kind[1], f"{name}: {key}"


def test_every_key_of_keys_py_is_in_the_table() -> None:
    queue, shared = QueueKeys("taskq", "q"), SharedKeys("taskq")
    made = {
        value
        for keys in (queue, shared)
        for slot in keys.__slots__
        if (value := getattr(keys, slot)) and str(value).startswith("taskq:")
    }
    listed = {re.sub(r"<\w+>$", "", key) for key in TABLE}
    channel = queue.done_channel_prefix

    assert made - {queue.prefix, channel} <= listed
    assert f"`{channel}<client>`" in PAGE.read_text(encoding="utf-8")


def test_the_types_the_doctor_expects_are_those_of_the_table() -> None:
    listed = {
        re.sub(r"<\w+>$", "", key).removeprefix("taskq:{q}:"): row["type"]
        for key, row in OF_QUEUES.items()
        if row["type"] != "any"
    }

    assert listed == TYPES


def test_a_queue_in_use_holds_only_keys_of_the_table_with_the_type_and_ttl_it_says(
    world: World,
) -> None:
    spelled = {
        key: re.compile(re.sub(r"<\w+>", "[^:]+", re.escape(key).replace(r"\{q\}", r"\{default\}")))
        for key in TABLE
    }

    found = set()
    for name, kind, ttl in world.all_keys():
        (key,) = (key for key, pattern in spelled.items() if pattern.fullmatch(name))
        found.add(key)
        assert kind == TABLE[key]["type"]
        if key == "taskq:{q}:job:<id>":
            assert ttl == world.ended(name), f"{name}: a TTL, but only once ended"
        else:
            assert ttl != TABLE[key]["TTL"].startswith("none"), f"{name}: TTL {ttl}"

    assert len(found) >= 12, sorted(found)


def test_every_field_of_a_job_in_use_is_in_its_table(world: World) -> None:
    listed = {word for row in rows(PAGE, "field") for word in code_words(row["field"])}

    fields = {field for name in world.names("job:*") for field in world.hash(name)}

    assert len(fields) > 15
    assert fields <= listed


def test_counters_and_worker_fields_in_use_are_listed(world: World) -> None:
    text = PAGE.read_text(encoding="utf-8")
    listed = set(" ".join(code_words(text)).split())

    for name in (*world.names("stats"), *world.names("meta")):
        assert set(world.hash(name)) <= listed, name
    for name in world.worker_names():
        assert set(world.hash(name)) <= listed, name


def test_every_counter_of_the_scripts_is_listed() -> None:
    source = "\n".join(SCRIPTS.get(name).source for name in NAMES)
    counted = set(re.findall(r"count\(stats, [^,]+(?:\([^)]*\)[^,]*)?, '(\w+)'", source)) | {
        "claimed"
    }
    section = PAGE.read_text(encoding="utf-8").partition("## Counters")[2]

    assert len(counted) > 10
    assert counted == set(code_words(section)[0].split())
