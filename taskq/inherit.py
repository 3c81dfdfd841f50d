"""The deadline of the job that is being run here: what it enqueues must not outlive it.

A context variable, set by the worker only for runs that have a deadline.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable
from typing import NamedTuple


class Parent(NamedTuple):
    """A running job's deadline, and the server's clock when it was claimed."""

    deadline_ms: int
    now_ms: int
    began: float
    """Monotonic, s."""

    def left_ms(self, clock: Callable[[], float] = time.monotonic) -> int:
        """Until its deadline, by our own clock since the claim: workers' clocks may be wrong."""
        return self.deadline_ms - self.now_ms - round((clock() - self.began) * 1000)


PARENT: contextvars.ContextVar[Parent | None] = contextvars.ContextVar("taskq_parent", default=None)


def capped(deadline: str, parent: Parent) -> str:
    """A child's deadline, as the enqueue script reads it: its own, or its parent's when that is
    earlier.
    """
    if deadline == "":
        earlier = False
    elif deadline.startswith("+"):
        earlier = int(deadline[1:]) < parent.left_ms()
    else:
        earlier = int(deadline) < parent.deadline_ms
    return deadline if earlier else str(parent.deadline_ms)
