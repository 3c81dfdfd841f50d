"""Waits until a queue has run empty. Whoever drains it has closed it before."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence

from taskq import commands
from taskq.keys import QueueKeys
from taskq.steps import Steps, follow, follow_sync
from taskq.store import Store
from taskq.store_sync import SyncStore

#: How often a queue that drains is looked at, s.
LOOK_EVERY = 0.2
#: What is scheduled for later waits for its time, closed queue or not.
_BUSY = ("ready", "blocked", "retry", "running")


def jobs_left(places: Sequence[QueueKeys]) -> Steps[int]:
    """Jobs of a queue's partitions that run or are about to."""
    looks = yield [commands.stats(keys) for keys in places]
    return sum(look.jobs.get(state, 0) for look in looks for state in _BUSY)


async def run_empty(
    store: Store,
    places: Sequence[QueueKeys],
    timeout: float | None,
    tell: Callable[[int], None] = lambda left: None,
) -> int:
    """Wait, at most `timeout` s, until no job is left; how many are. `tell` hears at each look."""
    until = _end(timeout)
    while (left := await follow(store, jobs_left(places))) and time.monotonic() < until:
        tell(left)
        await asyncio.sleep(LOOK_EVERY)
    return left


def run_empty_sync(store: SyncStore, places: Sequence[QueueKeys], timeout: float | None) -> int:
    """As `run_empty`, blocking."""
    until = _end(timeout)
    while (left := follow_sync(store, jobs_left(places))) and time.monotonic() < until:
        time.sleep(LOOK_EVERY)
    return left


def _end(timeout: float | None) -> float:
    return math.inf if timeout is None else time.monotonic() + timeout
