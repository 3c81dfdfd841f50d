"""How many of a worker's free slots each partition of a queue gets, by the ranks of the jobs that
are known to wait there. No I/O.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import NamedTuple


class Known(NamedTuple):
    """What is known of one partition: ranks of its best jobs, in order, and whether it may hold
    more than these.
    """

    ranks: Sequence[float]
    deep: bool


def deal(free: int, known: Sequence[Known]) -> list[int]:
    """Slots for each partition: as if all known jobs stood in one line, the best first. Slots
    beyond what is known go evenly to those partitions that may hold more.
    """
    line = heapq.merge(*([(rank, at) for rank in one.ranks] for at, one in enumerate(known)))
    shares = [0] * len(known)
    for _, at in itertools.islice(line, free):
        shares[at] += 1
    left = free - sum(shares)
    if left > 0:
        deep = [at for at, one in enumerate(known) if one.deep]
        for number, at in enumerate(deep):
            # No rounding up: together they must not get more than there is.
            shares[at] += left // len(deep) + (number < left % len(deep))
    return shares


def depth(slots: int, share: int) -> int:
    """Of how many jobs left behind the ranks are wanted after a claim of `share`: enough for the
    next round, where another partition's share may come here.
    """
    return min(slots, 2 * share + 2, 50)
