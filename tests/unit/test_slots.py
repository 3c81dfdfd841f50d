"""taskq.slots: which node of a Cluster a call belongs to."""

from __future__ import annotations

import pytest

from taskq import commands
from taskq.errors import StoreError, StoreRefused, StoreUnavailable
from taskq.keys import QueueKeys
from taskq.slots import Node, SlotMap, guarded, key_of, no_node, slot_of

KEYS = QueueKeys("taskq", "mail")


@pytest.mark.parametrize(
    ("key", "slot"),
    [  # the first three: from the Cluster specification and CLUSTER KEYSLOT
        ("123456789", 12739),
        ("foo", 12182),
        ("somekey", 11058),
        ("foo{hash_tag}", 2515),
        ("{hash_tag}bar", 2515),
        ("foo{}{bar}", 8363),
        ("foo{{bar}}zap", 4015),
        ("foo{bar}{zap}", 5061),
        ("{bar}", 5061),
        ("", 0),
    ],
)
def test_a_slot_is_that_of_what_stands_between_the_first_braces(key: str, slot: int) -> None:
    assert slot_of(key) == slot


def test_all_keys_of_a_queue_are_in_one_slot() -> None:
    found = {
        slot_of(key)
        for key in (
            KEYS.ready,
            KEYS.job("x{y}"),
            KEYS.wake,
            KEYS.minute(7),
            KEYS.ended_channel("c"),
        )
    }

    assert found == {slot_of("mail")}


def test_a_call_belongs_to_the_slot_of_its_first_key() -> None:
    same = str
    assert key_of(commands.held(KEYS, "w", 0)) == KEYS.running("w")
    assert key_of(commands.plain("HGETALL", KEYS.job("a"), parse=same)) == KEYS.job("a")
    assert key_of(commands.plain("BLPOP", KEYS.wake, 1, parse=same)) == KEYS.wake


@pytest.mark.parametrize(
    "words", [("PING",), ("INFO", "memory"), ("TIME",), ("SCRIPT", "LOAD", "x")]
)
def test_a_call_without_a_key_belongs_to_no_slot(words: tuple[str, ...]) -> None:
    assert key_of(commands.plain(*words, parse=str)) is None


def test_a_script_call_names_a_key_that_never_exists_last() -> None:
    call = commands.held(KEYS, "w", 0)

    assert list(guarded(call).keys) == [*call.keys, KEYS.prefix + "absent"]
    assert guarded(call).args == call.args
    plain = commands.plain("PING", parse=str)
    assert guarded(plain) is plain


REPLY = [
    [5461, 10922, [b"10.0.0.2", 7001, b"id2", []], [b"10.0.0.4", 7004, b"id4"]],
    [0, 5460, [b"", 7000, b"id1"]],
    [12000, 16383, [None, 7002, b"id3"]],
]


def test_the_map_tells_the_primary_of_every_slot_and_none_where_there_is_none() -> None:
    slots = SlotMap.of(REPLY, "asked")

    assert slots.owner(0) == Node("asked", 7000)
    assert slots.owner(5460) == Node("asked", 7000)
    assert slots.owner(5461) == Node("10.0.0.2", 7001)
    assert slots.owner(10923) is None
    assert slots.owner(16383) == Node("asked", 7002)
    assert set(slots.primaries()) == {
        Node("asked", 7000), Node("10.0.0.2", 7001), Node("asked", 7002)
    }  # fmt: skip


def test_what_moved_counts_more_than_the_map() -> None:
    slots = SlotMap.of(REPLY, "asked")
    slots.learn(5, Node("new", 1))

    assert slots.owner(5) == Node("new", 1)
    assert slots.owner(6) == Node("asked", 7000)
    assert Node("new", 1) in slots.primaries()


def test_an_empty_map_owns_nothing() -> None:
    assert SlotMap([]).owner(7) is None
    assert SlotMap([]).any() is None


def test_when_no_node_answers_all_reasons_are_told_unless_all_refuse() -> None:
    away: StoreError = StoreUnavailable("a is away")
    refused = StoreRefused("wrong password")

    assert no_node("here", [refused, refused]) is refused
    error = no_node("here", [away, refused])
    assert type(error) is StoreUnavailable
    assert "a is away; wrong password" in str(error)
