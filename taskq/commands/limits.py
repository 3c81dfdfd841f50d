"""Calls that write limits: set and remove them, pause and strike by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from taskq.commands.call import Call, Word
from taskq.errors import InvalidOption
from taskq.keys import QueueKeys, check_name
from taskq.limit import check_one

#: Limits in one call, at most.
LIMITS_A_CALL = 100


class Limited(NamedTuple):
    changed: int
    skip: int
    """For the next call; -1 when all that waited has been woken."""


def limit(
    keys: QueueKeys,
    definitions: Mapping[str, str],
    *,
    gently: bool = False,
    again: bool = False,
    skip: int = 0,
    strike: str = "",
) -> Call[Limited]:
    """Write up to 100 definitions, '' removes one; see Limit.words. `gently`: not over what
    somebody set by hand. `strike`: `+task` or `-task`.
    """
    args: list[Word] = [int(gently), int(again), skip, strike]
    for name, definition in definitions.items():
        args += (name, definition)

    def parse(reply: list[Any]) -> Limited:
        if reply[0] == b"MANY":
            raise InvalidOption(
                f"queue {keys.queue!r} may have {reply[1]} limits: use one with a field, as in"
                " Limit('tenant:{tenant}', ...), for what differs from call to call"
            )
        return Limited(reply[1], reply[2])

    return Call("limit", (keys.limits, keys.meta, keys.timers, keys.wake), args, parse)


def pausing(kind: str, name: str) -> dict[str, str]:
    """What pauses a task or a group: a limit under which nothing runs. `kind`: `task` or `group`.
    By hand, so that no worker undoes it.
    """
    return {_pause_of(kind, name): f"concurrency=0 on={kind}.{name} by=hand"}


def resuming(kind: str, name: str) -> dict[str, str]:
    """What ends that pause."""
    return {_pause_of(kind, name): ""}


def _pause_of(kind: str, name: str) -> str:
    if kind == "task":
        check_name(name, "task name")
    else:
        check_one(name, "group")
    return f"pause:{kind}.{name}"
