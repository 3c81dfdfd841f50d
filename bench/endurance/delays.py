"""Delays counted by size in a file of fixed length, which a worker writes and the run reads.

A list of delays would grow with every job, and be the very growth that is looked for.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

#: A power of two has eight buckets, so that a delay is known to an eighth.
_BITS = 3
_BUCKETS = 64 << _BITS


def bucket(ns: int) -> int:
    """The bucket of a delay: its highest bit, and the three bits below it."""
    ns = max(ns, 1 << _BITS)
    high = ns.bit_length() - 1
    return high << _BITS | ns >> (high - _BITS) & (1 << _BITS) - 1


def edge(place: int) -> int:
    """The first delay (ns) beyond a bucket."""
    high, low = place >> _BITS, place & (1 << _BITS) - 1
    return ((1 << _BITS) + low + 1) << (high - _BITS)


class Delays:
    """Counts in shared memory: one process notes, others may read meanwhile."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(8 * _BUCKETS))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8 * _BUCKETS)
        self._counts = memoryview(self._map).cast("Q")

    def note(self, ns: int) -> None:
        """Count one delay."""
        self._counts[bucket(ns)] += 1

    def read(self) -> list[int]:
        """How many there were so far, by bucket."""
        return list(self._counts)

    def close(self) -> None:
        """Let go of the file."""
        self._counts.release()
        self._map.close()


def since(now: Sequence[int], before: Sequence[int]) -> list[int]:
    """What was added, by bucket."""
    return [a - b for a, b in zip(now, before, strict=True)]


def share_ms(counts: Sequence[int], share: float) -> float:
    """The delay (ms) that `share` of them do not exceed, to the next eighth; 0 of none."""
    wanted, seen = share * sum(counts), 0
    for place, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            return edge(place) / 1e6
    return 0.0
