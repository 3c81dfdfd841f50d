"""What is done with every system: one module each, with `NAME` and `run(stand)`.

They know nothing of what they measure: see bench/peers/stand.py. `run` gives samples as it goes,
so that what came before a failure is kept. The order is that of the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, cast

from bench.bench import Sample
from bench.peers.scenarios import drain, enqueue, latency, payloads, request, wake_up
from bench.peers.stand import Stand


class Scenario(Protocol):
    """A module of this package."""

    NAME: str
    NEEDS_WORKER: bool

    def run(self, stand: Stand) -> Iterable[Sample]:
        """Take the samples of one round."""
        ...


#: In the order in which they are run: those that leave the least behind first.
ALL = cast(tuple[Scenario, ...], (wake_up, request, drain, payloads, latency, enqueue))
