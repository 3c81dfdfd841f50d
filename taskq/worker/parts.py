"""Several partitions of one queue, as a worker sees them: which of them its free slots go to, so
that jobs are claimed in nearly the order of the whole queue.

What waits in a partition is known from the reply to the last claim there, for a short while; else
it is looked at. A worker that has ample room takes what it is woken for, and compares nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from taskq import commands
from taskq.store import Store
from taskq.worker.line import Line
from taskq.worker.shares import Known, deal, depth

#: How long what is known of a partition counts, s: a better job that comes in there is overlooked
#: so long, at most.
FRESH = 0.05

#: What is to be done for a line. Not a coroutine: one that is cancelled before it begins would
#: never be awaited.
Work = Callable[[], Awaitable[bool]]
Attempt = Callable[[Line, Work], Awaitable[bool]]


def grouped(lines: Iterable[Line]) -> list[list[Line]]:
    """Lines by the queue they are partitions of; most stand alone."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.name, []).append(line)
    return list(groups.values())


async def together(attempt: Attempt, works: Sequence[tuple[Line, Work]]) -> bool:
    """Do something for several lines at once; True when any needed it. All have ended when it
    returns or raises the first error.
    """
    outcomes = await asyncio.gather(
        *(attempt(line, work) for line, work in works), return_exceptions=True
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return any(outcomes)


class Parts:
    """Deals the free slots of a worker with `slots` in all. `classes`: those claimed from, by
    line's queue.
    """

    def __init__(
        self, store: Store, slots: int, classes: dict[str, set[str]], attempt: Attempt
    ) -> None:
        self._store = store
        self._slots = slots
        self._classes = classes
        self._attempt = attempt

    async def shares(self, lines: Sequence[Line], free: int) -> dict[str, int]:
        """Free slots for each of these lines, by queue; lines that get none are left out."""
        lines = [line for line in lines if not line.fenced]
        hot = [line for line in lines if line.hot]
        if not hot or free <= 0:
            return {}
        roomy = free > 1 and 2 * free > self._slots
        if roomy:
            if len(hot) == 1:
                return {hot[0].queue: free}
            lines = hot
        old = asyncio.get_running_loop().time() - FRESH
        stale = [line for line in lines if line.looked_at < old or (line.hot and not line.ranks)]
        await together(self._attempt, [(line, partial(self._look, line)) for line in stale])
        known = [line for line in lines if line.hot and line.ranks]
        dealt = deal(free, [Known(line.ranks, line.deep) for line in known])
        return {line.queue: share for line, share in zip(known, dealt, strict=True) if share}

    async def _look(self, line: Line) -> bool:
        """See what waits in a partition, in all classes; nothing is claimed."""
        wanted = depth(self._slots, self._slots)
        was_hot = line.hot
        # Before it is asked: a wake-up that is read while the answer travels must count.
        line.hot = False
        line.looked_at = asyncio.get_running_loop().time()
        calls = [
            commands.plain(
                "ZRANGE", line.keys.ready_of(name), 0, wanted - 1, "WITHSCORES", parse=_scores
            )
            for name in ("", *self._classes[line.queue])
        ]
        try:
            found = await self._store.run_many(calls)
        except BaseException:
            line.hot, line.ranks, line.looked_at = was_hot or line.hot, (), -math.inf
            raise
        ranks = sorted(rank for scores in found for rank in scores)
        line.know(tuple(ranks[:wanted]), wanted)
        line.hot = line.hot or bool(ranks)
        return True


def _scores(reply: list[Any]) -> list[float]:
    return [float(score) for score in reply[1::2]]
