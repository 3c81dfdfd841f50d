"""How many of a worker's free slots each partition of a queue gets, by the ranks of the jobs that
are known to wait there; and how many of those each class of jobs. No I/O.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from taskq.classes import FRAGILE, PROCESS, parts


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
            shares[at] += split(left, number, len(deep))
    return shares


def split(whole: int, number: int, count: int) -> int:
    """The part of one of `count`, from 0: together they get all, and never more than there is."""
    return whole // count + (number < whole % count)


def depth(slots: int, share: int) -> int:
    """Of how many jobs left behind the ranks are wanted after a claim of `share`: enough for the
    next round, where another partition's share may come here.
    """
    return min(slots, 2 * share + 2, 50)


def class_slots(
    classes: Iterable[str], free: int, processes: int, fragile: bool, turn: tuple[int, int]
) -> dict[str, int]:
    """Slots of each class for a claim of `free` jobs. What all claims made at once draw on is split
    among them (`turn`: which, of how many): free processes, and the one fragile job there may be.
    Two classes of one claim may be given the same process: the better job gets it, and the runner
    gives the other back.
    """
    process, frail = split(processes, *turn), split(int(fragile), *turn)
    return {"": free} | {name: room_of(name, free, process, frail) for name in classes}


def room_of(job_class: str, free: int, processes: int, fragile: int) -> int:
    """Slots for jobs of one class, of so many free slots, free processes, and fragile jobs that may
    begin.
    """
    for part in parts(job_class):
        if part == PROCESS:
            free = min(free, processes)
        elif part == FRAGILE:
            free = min(free, fragile)
    return free
