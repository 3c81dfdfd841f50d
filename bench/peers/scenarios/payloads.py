"""Arguments of 100 bytes, 10 kB and 200 kB: enqueued in bulk, then drained by a warm worker."""

from __future__ import annotations

from collections.abc import Iterable

from bench.bench import Sample
from bench.peers.scenarios.drain import drain
from bench.peers.stand import Stand

NAME = "payloads"
NEEDS_WORKER = True

_CASES = (("100 B", 100, 8_000), ("10 kB", 10_000, 4_000), ("200 kB", 200_000, 200))
_KEPT = ("rate", "worker CPU", "server CPU", "to the server", "from the server")


def run(stand: Stand) -> Iterable[Sample]:
    """Every size once."""
    for case, size, count in _CASES:
        for sample in drain(stand, case, "swallow", count, payload=size):
            if sample.figure in _KEPT:
                yield sample
