"""Which node of a Cluster a call belongs to: slot numbers, and the map of their owners. No I/O."""

from __future__ import annotations

import random
from binascii import crc_hqx
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from taskq.commands import Call
from taskq.errors import StoreError, StoreRefused, StoreUnavailable
from taskq.keys import absent_beside

T = TypeVar("T")

SLOTS = 16384
#: How often one call follows MOVED.
REDIRECTS = 4
#: What one node gets to tell the map of slots, s.
ASK_SECONDS = 1.0
#: The map is asked for at most once in so long, jittered, s.
REFRESH_EVERY = 0.2
#: A call that failed after so long was not refused but met silence, s.
SILENCE = 0.3
#: Plain commands without a key: any node will do.
KEYLESS = frozenset({"PING", "INFO", "TIME", "SCRIPT", "CONFIG", "ROLE", "ACL", "DBSIZE"})


class Node(NamedTuple):
    """Where a node listens."""

    host: str
    port: int


@lru_cache(maxsize=4096)
def slot_of(key: str) -> int:
    """The slot of a key: of what stands between its first braces, if anything does."""
    start = key.find("{")
    if start >= 0:
        end = key.find("}", start)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key.encode(), 0) % SLOTS


def key_of(call: Call[Any]) -> str | None:
    """A key of the call, which tells its slot; None when it has none."""
    if call.keys:
        return call.keys[0]
    if len(call.args) < 2 or str(call.args[0]).upper() in KEYLESS:
        return None
    return str(call.args[1])


def guarded(call: Call[T]) -> Call[T]:
    """The call as a Cluster gets it: see ScriptSet(guarded=True)."""
    if not call.script:
        return call
    keys = (*call.keys, absent_beside(call.keys[0]))
    return Call(call.script, keys, call.args, call.parse)


def no_node(where: str, problems: Iterable[StoreError]) -> StoreError:
    """The error when no node of a Cluster can be asked: the refusal when all refuse."""
    listed = list(problems)
    refused = [error for error in listed if isinstance(error, StoreRefused)]
    if listed and len(refused) == len(listed):
        return refused[0]
    told = "; ".join(str(error) for error in listed)
    return StoreUnavailable(f"no node of {where} can be asked: {told}"[:600])


def nobody_serves(key: str | None, where: str) -> StoreUnavailable:
    """The error when no node owns the slot of a key."""
    return StoreUnavailable(f"no node of {where} serves the slot of {key!r} now (try again)")


class SlotMap:
    """Who owns which slot, as one node saw it, and as MOVED has corrected it since."""

    def __init__(self, ranges: Iterable[tuple[int, int, Node]]) -> None:
        listed = sorted(ranges)
        self._starts = [start for start, _, _ in listed]
        self._ranges = listed
        self._moved: dict[int, Node] = {}

    @classmethod
    def of(cls, reply: Any, asked: str) -> SlotMap:
        """From the reply of CLUSTER SLOTS. A node that is named without a host is on the host that
        was asked.
        """
        ranges = []
        for start, end, primary, *_ in reply:
            host = primary[0].decode() if isinstance(primary[0], bytes) else primary[0]
            node = Node(asked if host in (None, "", "?") else host, int(primary[1]))
            ranges.append((int(start), int(end), node))
        return cls(ranges)

    def owner(self, slot: int) -> Node | None:
        """The primary that owns a slot; None when nobody does."""
        moved = self._moved.get(slot)
        if moved is not None:
            return moved
        position = bisect_right(self._starts, slot) - 1
        if position < 0:
            return None
        start, end, node = self._ranges[position]
        return node if start <= slot <= end else None

    def learn(self, slot: int, node: Node) -> None:
        """A node said that a slot belongs to another."""
        self._moved[slot] = node

    def primaries(self) -> list[Node]:
        """Every node that owns slots."""
        found = dict.fromkeys(node for _, _, node in self._ranges)
        return list(found | dict.fromkeys(self._moved.values()))

    def any(self) -> Node | None:
        """Some primary, for what belongs to no slot."""
        found = self.primaries()
        return random.choice(found) if found else None
