"""Counts how many runs of a kind go on at once, as the tasks themselves see it."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator

from tests.integration.chores import take


class Gauge:
    """`most[key]`: the largest number of runs of that key at any instant."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.started: list[tuple[float, str]] = []
        """Monotonic, s, and the key."""

    @contextlib.asynccontextmanager
    async def run(self, *keys: str, seconds: float = 0.0) -> AsyncIterator[None]:
        """A run that lasts so long at least."""
        for key in keys:
            self.now[key] += 1
            self.most[key] = max(self.most[key], self.now[key])
            self.started.append((time.monotonic(), key))
        try:
            yield
            if seconds:
                await take(seconds)
        finally:
            for key in keys:
                self.now[key] -= 1

    def spans(self, key: str) -> list[float]:
        """Seconds between one start of a key and the next."""
        at = [when for when, what in self.started if what == key]
        return [later - earlier for earlier, later in itertools.pairwise(at)]
