"""Calls that write limits: set and remove them, pause and strike by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from taskq.commands.call import Call, Word
from taskq.keys import QueueKeys

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
    return Call(
        "limit",
        (keys.limits, keys.meta, keys.timers, keys.wake),
        args,
        lambda reply: Limited(reply[1], reply[2]),
    )


def pause_name(kind: str, name: str) -> str:
    """The limit that pauses a task or a group. `kind`: `task` or `group`."""
    return f"pause:{kind}.{name}"


def pause_words(kind: str, name: str) -> str:
    """Its definition: nothing of it runs. By hand, so that no worker undoes it."""
    return f"concurrency=0 on={kind}.{name} by=hand"
