"""Real runs with figures of their own: `NAME` and `take(results, server, quick)` each."""

from __future__ import annotations

from typing import Protocol

from bench.replay.extras import features, limits, looks, prediction
from bench.replay.results import Results
from bench.server import Server


class Extra(Protocol):
    """A module of this package."""

    NAME: str

    def take(self, results: Results, server: Server, *, quick: bool) -> None:
        """Run, and note the figures."""
        ...


ALL: tuple[Extra, ...] = (prediction, limits, features, looks)
NAMES = tuple(extra.NAME for extra in ALL)
