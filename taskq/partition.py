"""Partitions of a queue: their names, and which one a job belongs to. No I/O, no key strings.

Partition 0 of `mail` is `mail`, partition 3 is `mail~3`: each is a queue of its own to Redis, so a
Cluster spreads them over its nodes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

MARK = "~"
#: Partitions of one queue, at most: every worker visits all of them.
MOST = 64


def partition_name(queue: str, number: int) -> str:
    """The name of one partition."""
    return f"{queue}{MARK}{number}" if number else queue


def partition_names(queue: str, count: int) -> list[str]:
    """The names of all partitions, in order; just the queue's own when it has one."""
    return [partition_name(queue, number) for number in range(count)]


def partition_of(queue: str, job_id: str, count: int) -> str:
    """Where a job of that id is. By its id alone, so that one sent twice meets itself."""
    return partition_name(queue, zlib.crc32(job_id.encode()) % count)


def queue_of(name: str) -> str:
    """The queue a partition belongs to."""
    return name.partition(MARK)[0]


def is_partition(name: str) -> bool:
    """Is it the name of a partition beside the first?"""
    return MARK in name


def partitions_among(names: Iterable[str], queue: str) -> list[str]:
    """Those names that are partitions of the queue, in order."""
    return sorted((name for name in names if queue_of(name) == queue), key=in_order)


def in_order(name: str) -> tuple[str, int]:
    """A sort key: by queue, then by number."""
    queue, _, number = name.partition(MARK)
    return queue, int(number or 0)


def shown_places(names: Iterable[str]) -> str:
    """Queues for people, with a run of partitions in short: `mail (4 partitions), reports`."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(queue_of(name), []).append(name)
    return ", ".join(
        f"{queue} ({len(found)} partitions)"
        if len(found) > 1 and sorted(found, key=in_order) == partition_names(queue, len(found))
        else ", ".join(found)
        for queue, found in groups.items()
    )
