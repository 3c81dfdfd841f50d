"""Writes limits to one queue, in as many calls as it takes until all that waited for them is awake.

For producers, workers and the command line; blocking and not.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

from taskq import commands
from taskq.commands import LIMITS_A_CALL, Call, Limited
from taskq.keys import QueueKeys
from taskq.store import Store
from taskq.store_sync import SyncStore

TRIES = 3


def _calls(
    keys: QueueKeys, definitions: Mapping[str, str], gently: bool, again: bool, strike: str
) -> Generator[Call[Limited], Limited, int]:
    items = list(definitions.items())
    changed = 0
    for start in range(0, max(1, len(items)), LIMITS_A_CALL):
        part = dict(items[start : start + LIMITS_A_CALL])
        skip, wake = 0, again
        while skip >= 0:
            done = yield commands.limit(
                keys, part, gently=gently, again=wake, skip=skip, strike=strike
            )
            changed += done.changed
            skip, wake = done.skip, True
    return changed


async def write_limits(
    store: Store,
    keys: QueueKeys,
    definitions: Mapping[str, str],
    *,
    gently: bool = False,
    again: bool = False,
    strike: str = "",
) -> int:
    """Write definitions, '' removes one; how many changed. See commands.limit."""
    calls = _calls(keys, definitions, gently, again, strike)
    call = next(calls)
    while True:
        try:
            call = calls.send(await store.run(call, tries=TRIES))
        except StopIteration as end:
            return int(end.value)


def write_limits_sync(
    store: SyncStore,
    keys: QueueKeys,
    definitions: Mapping[str, str],
    *,
    gently: bool = False,
    again: bool = False,
    strike: str = "",
) -> int:
    """As write_limits, blocking."""
    calls = _calls(keys, definitions, gently, again, strike)
    call = next(calls)
    while True:
        try:
            call = calls.send(store.run(call, tries=TRIES))
        except StopIteration as end:
            return int(end.value)
