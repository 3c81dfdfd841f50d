"""When a worker process makes room for a new one: after so many jobs, or above so much memory.

For tasks that leak. The worker drains as at a deploy; its supervisor starts another at once.
"""

from __future__ import annotations

import random
import time

from taskq.settings import Settings
from taskq.worker.identity import Identity
from taskq.worker.runner import Runner

#: Exit code of a worker that made room; the supervisor knows it.
RECYCLED = 75
#: How often the memory is looked at, s.
LOOK_EVERY = 1.0
#: Workers started together must not all end together: each takes up to so much less.
SPREAD = 0.1


class Recycling:
    """Says when it is time. `why` is for people."""

    def __init__(self, settings: Settings, runner: Runner, identity: Identity) -> None:
        self._jobs = settings.recycle_jobs
        if self._jobs >= 10:
            self._jobs -= random.randrange(int(self._jobs * SPREAD) + 1)
        self._rss = settings.recycle_rss * 2**20
        self._runner = runner
        self._identity = identity
        self._next_look = 0.0
        self.why = ""
        """'' until it is due."""

    def due(self) -> bool:
        """Is it time? True once."""
        if self.why:
            return False
        if self._jobs and (ran := self._runner.done + self._runner.failed) >= self._jobs:
            self.why = f"it has run {ran} jobs"
        elif self._rss and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_EVERY
            if (rss := self._identity.rss()) > self._rss:
                self.why = f"it holds {rss / 2**20:,.0f} MiB"
        return bool(self.why)
