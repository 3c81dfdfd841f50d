"""Calls of the doctor: look through a queue's keys, audit places of it, repair them.

A place is two words, as lua/include/look_at.lua takes them. Names are bytes: nobody promises that a
damaged queue holds text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from taskq.commands.call import BATCH, Call, Word, plain, text
from taskq.keys import QueueKeys

#: Places in one repair: each may need several writes.
REPAIRS = 100


class Place(NamedTuple):
    """`where`: `job`, an index, the type a key must have, `stray`, `meta` or `suspects`. `name`:
    the id, key, field or worker there.
    """

    where: bytes
    name: bytes


class Finding(NamedTuple):
    """Something wrong: `code` is a word of docs/operations.md."""

    place: Place
    code: str
    detail: str


class Mend(NamedTuple):
    """What was done about a finding; `later`: nothing yet, something else has to be mended
    first.
    """

    place: Place
    code: str
    done: str


def scan(keys: QueueKeys, cursor: int) -> Call[tuple[int, list[bytes]]]:
    """A page of the queue's keys, without the prefix: (next cursor, 0 at the end; names). A name
    may come twice.
    """
    prefix = keys.prefix.encode()
    pattern = b"".join(b"\\" + bytes([c]) if c in b"*?[]\\^" else bytes([c]) for c in prefix)

    def parse(reply: list[Any]) -> tuple[int, list[bytes]]:
        return int(reply[0]), [key.removeprefix(prefix) for key in reply[1]]

    # SCAN names no key: this one says where they live, for a store that has to choose a node.
    words = ("SCAN", cursor, "MATCH", pattern + b"*", "COUNT", 1000)
    return Call("", (keys.meta,), words, parse)


def kind(keys: QueueKeys, name: bytes) -> Call[str]:
    """The type of a key; `none` when it is not there."""
    return plain("TYPE", keys.prefix.encode() + name, parse=text)


def members(keys: QueueKeys, index: bytes, cursor: int) -> Call[tuple[int, list[bytes]]]:
    """A page of an index: (next cursor, 0 at the end; ids). An id may come twice."""
    return _page("ZSCAN", keys, index, cursor)


def set_members(keys: QueueKeys, name: bytes, cursor: int) -> Call[tuple[int, list[bytes]]]:
    """A page of a set: (next cursor, 0 at the end; members). A member may come twice."""
    return _page("SSCAN", keys, name, cursor, step=1)


def fields(keys: QueueKeys, name: bytes, cursor: int) -> Call[tuple[int, list[bytes]]]:
    """A page of a hash's field names: (next cursor, 0 at the end; names)."""
    return _page("HSCAN", keys, name, cursor)


def _page(
    verb: str, keys: QueueKeys, name: bytes, cursor: int, step: int = 2
) -> Call[tuple[int, list[bytes]]]:
    return plain(
        verb,
        keys.prefix.encode() + name,
        cursor,
        "COUNT",
        BATCH,
        parse=lambda reply: (int(reply[0]), reply[1][::step]),
    )


def audit(keys: QueueKeys, places: Sequence[Place]) -> Call[list[Finding]]:
    """What is wrong with up to 200 places."""
    args: list[Word] = [keys.prefix]
    for place in places:
        args += place

    def parse(reply: list[Any]) -> list[Finding]:
        return [
            Finding(Place(where, name), text(code), text(detail))
            for where, name, code, detail in _fours(reply)
        ]

    return Call("audit", (keys.holders, keys.classes), args, parse)


def repair(
    keys: QueueKeys, places: Sequence[Place], *, keep_ms: int, dead_keep_ms: int, alive_ms: int
) -> Call[list[Mend]]:
    """Mend up to 100 places; those that are well by now are left alone."""
    args: list[Word] = [keys.prefix, keep_ms, dead_keep_ms, alive_ms]
    for place in places:
        args += place

    def parse(reply: list[Any]) -> list[Mend]:
        return [
            Mend(Place(where, name), text(code), text(done))
            for where, name, code, done in _fours(reply)
        ]

    return Call(
        "repair",
        (keys.holders, keys.classes, keys.meta, keys.wake, keys.quarantine),
        args,
        parse,
    )


def _fours(reply: list[bytes]) -> zip[tuple[bytes, bytes, bytes, bytes]]:
    return zip(reply[1::4], reply[2::4], reply[3::4], reply[4::4], strict=True)
