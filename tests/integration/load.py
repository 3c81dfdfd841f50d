"""Steady work over servers that fail over: what was taken and what ran, kept outside Redis."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from taskq import TaskQ
from taskq.errors import StoreUnavailable
from taskq.inspect import Inspector
from tests.helpers import eventually
from tests.integration.chores import take


class Load:
    """Jobs with ids of their own for one queue, sent again under the same id until taken."""

    def __init__(self, producer: TaskQ, worker: TaskQ, queue: str) -> None:
        self.queue = queue
        self.taken: set[str] = set()
        self.ran: Counter[str] = Counter()
        self.refused = 0
        self.gaps: list[float] = []
        """Times of more than a second between two runs, s."""
        self.last_taken = self.last_ran = time.monotonic()
        self._producer = producer
        self._stopping = False
        self._sent = 0

        @worker.task(name=f"note.{queue}", queue=queue)
        async def note(word: str) -> str:
            now = time.monotonic()
            self.ran[word] += 1
            if now - self.last_ran > 1:
                self.gaps.append(round(now - self.last_ran, 2))
            self.last_ran = now
            return word

    async def _pour(self, pause: float) -> None:
        while not self._stopping:
            self._sent += 1
            word = f"{self.queue}-{self._sent}"
            task = self._producer.named(f"note.{self.queue}").options(id=word, queue=self.queue)
            while True:
                try:
                    await task.enqueue(word)
                    break
                except StoreUnavailable:
                    self.refused += 1
                    if self._stopping:
                        return
            self.taken.add(word)
            self.last_taken = time.monotonic()
            await take(pause)

    @contextlib.asynccontextmanager
    async def pouring(self, producers: int = 4, pause: float = 0.01) -> AsyncIterator[None]:
        """Send jobs until the block ends."""
        tasks = [asyncio.create_task(self._pour(pause)) for _ in range(producers)]
        try:
            yield
            self._stopping = True
            await asyncio.wait_for(asyncio.gather(*tasks), 20)
        finally:
            self._stopping = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def more(self, count: int = 20, timeout: float = 20.0) -> None:
        """Wait until so many more jobs have been taken and as many more have run."""
        taken, ran = len(self.taken), len(self.ran)
        await eventually(
            lambda: len(self.taken) >= taken + count and len(self.ran) >= ran + count,
            timeout,
            f"{count} more jobs of {self.queue} taken and run",
        )

    async def all_done(self, timeout: float = 20.0) -> None:
        """Wait until everything taken has run and nothing is left in the queue."""
        await eventually(lambda: self.taken <= set(self.ran), timeout, "every job taken has run")
        await eventually(self._empty, timeout, f"an empty queue {self.queue}")

    async def _empty(self) -> bool:
        client = self._producer.client
        look = Inspector(client.store, self._producer.settings.namespace)
        with contextlib.suppress(StoreUnavailable):
            jobs = (await look.queue(self.queue)).jobs
            return not any(jobs[state] for state in ("ready", "scheduled", "retry", "running"))
        return False

    @property
    def repeated(self) -> int:
        """Runs beyond the first of each job."""
        return self.ran.total() - len(self.ran)


async def recovery(load: Load, since: float, timeout: float = 20.0) -> tuple[float, float]:
    """Seconds from `since` (monotonic) until a job was taken, and until one ran."""
    found: dict[str, Any] = {}

    def both() -> bool:
        if load.last_taken > since:
            found.setdefault("taken", load.last_taken - since)
        if load.last_ran > since:
            found.setdefault("ran", load.last_ran - since)
        return len(found) == 2

    await eventually(both, timeout, "jobs are taken and run again")
    return found["taken"], found["ran"]
