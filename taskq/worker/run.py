"""One job being run: what is known of it while it goes on, and how long it may. No I/O."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from taskq.classes import FRAGILE, parts
from taskq.commands import ClaimedJob
from taskq.context import Context
from taskq.inherit import Parent
from taskq.task import Task
from taskq.worker.line import Line


class Run:
    """One job being run."""

    __slots__ = (
        "began",
        "bound",
        "context",
        "cost",
        "ends_at",
        "fragile",
        "handle",
        "job",
        "line",
        "now_ms",
        "parent",
        "slack",
        "slot",
        "task",
        "timeout",
        "why",
    )

    def __init__(self, line: Line, job: ClaimedJob, task: Task[Any, Any], now_ms: int) -> None:
        self.line = line
        self.job = job
        self.task = task
        self.now_ms = now_ms
        self.context: Context | None = None
        self.handle: asyncio.Future[Any] | None = None
        self.slot: Any = None
        job_class = job.text(b"class")
        self.fragile = job_class is not None and FRAGILE in parts(job_class)
        # None of the scripts grants more than the worker has: one alone takes what there is.
        self.cost = max(1, job.number(b"cost") or 1) if b"cost" in job.fields else 1
        self.began = time.monotonic()
        self.timeout = 0.0
        self.slack: float | None = None
        """What is left to its deadline when it begins, s; None without a deadline."""
        self.ends_at = math.inf
        self.parent: Parent | None = None
        """Its deadline, for the jobs it enqueues; None when nothing ends with it."""
        self.bound = "timeout"
        """Which comes first: its timeout or its deadline."""
        self.why = ""
        """Why it is being stopped: timeout deadline cancel shutdown lost fenced; '' while it may go
        on.
        """

    def limit_time(self, default: float) -> None:
        """Set when it must end: its timeout (s; `default` when nobody set one), or its deadline."""
        job, fields = self.job, self.job.fields
        timeout = self.task.defaults.timeout or default
        if b"timeout_ms" in fields:
            timeout = (job.number(b"timeout_ms") or 1) / 1000
        self.timeout = timeout
        if b"deadline_ms" in fields:
            deadline = job.number(b"deadline_ms") or 0
            self.slack = left = (deadline - self.now_ms) / 1000
            binding = fields.get(b"on_miss") != b"run"
            if binding:
                self.parent = Parent(deadline, self.now_ms, self.began)
            if binding and left < timeout:
                timeout, self.bound = left, "deadline"
        self.ends_at = self.began + timeout
