"""Writes limits to one queue, in as many calls as it takes until all that waited for them is awake.

For producers, workers and the command line; blocking and not.
"""

from __future__ import annotations

from collections.abc import Mapping

from taskq import commands
from taskq.commands import LIMITS_A_CALL
from taskq.keys import QueueKeys
from taskq.steps import Steps, follow, follow_sync, one
from taskq.store import Store
from taskq.store_sync import SyncStore


def _writing(
    keys: QueueKeys, definitions: Mapping[str, str], gently: bool, again: bool, strike: str
) -> Steps[int]:
    items = list(definitions.items())
    changed = 0
    for start in range(0, max(1, len(items)), LIMITS_A_CALL):
        part = dict(items[start : start + LIMITS_A_CALL])
        skip, wake = 0, again
        while skip >= 0:
            done = yield from one(
                commands.limit(keys, part, gently=gently, again=wake, skip=skip, strike=strike)
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
    return await follow(store, _writing(keys, definitions, gently, again, strike))


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
    return follow_sync(store, _writing(keys, definitions, gently, again, strike))
