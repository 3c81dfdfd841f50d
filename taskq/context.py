"""What a running task may know of its job, and say of it. Made by the worker, one per run."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from taskq.errors import InvalidOption, TaskqError

#: Characters of a progress note that are kept.
NOTE_LENGTH = 500


class Context:
    """Injected into a task for a parameter annotated `Context`.

    `token` fences writes to stores outside taskq: it only ever grows from one run of the job to the
    next, so a store that remembers the largest token it has seen can refuse a late writer.
    """

    __slots__ = (
        "_report",
        "attempt",
        "cancelled",
        "deadline_ms",
        "headers",
        "job_id",
        "lease_lost",
        "queue",
        "state",
        "task",
        "token",
        "worker_id",
    )

    def __init__(
        self,
        *,
        job_id: str,
        task: str,
        queue: str,
        attempt: int,
        token: int,
        worker_id: str,
        deadline_ms: int | None = None,
        headers: Mapping[str, str] | None = None,
        state: Any = None,
        report: Callable[[Context, float, str], Awaitable[None]] | None = None,
    ) -> None:
        self.job_id = job_id
        self.task = task
        self.queue = queue
        self.attempt = attempt
        """Which run this is, from 1; lost workers do not count."""
        self.token = token
        self.worker_id = worker_id
        self.deadline_ms = deadline_ms
        self.headers = dict(headers or {})
        self.state = state
        """What the app's lifespan yielded; None in a process of `executor="process"`."""
        self.cancelled = False
        """True once the job's cancellation was asked for. Code in threads should look at it."""
        self.lease_lost = False
        """True once another worker may run this job; stop, and write nothing outside."""
        self._report = report

    @property
    def deadline(self) -> datetime | None:
        """When the job must have run, aware (UTC); None without a deadline."""
        if self.deadline_ms is None:
            return None
        return datetime.fromtimestamp(self.deadline_ms / 1000, UTC)

    async def progress(self, fraction: float, note: str = "") -> None:
        """Say how far the job is: `fraction` 0..1, and a note for people (500 characters are kept).

        Raises LeaseLost when the job belongs to another worker by now.
        """
        ok = isinstance(fraction, (int, float)) and math.isfinite(fraction) and 0 <= fraction <= 1
        if not ok:
            raise InvalidOption(f"progress({fraction!r}): use a number from 0 to 1")
        if self._report is None:
            raise TaskqError("progress needs a coroutine task: this run has no event loop")
        await self._report(self, float(fraction), note[:NOTE_LENGTH])
