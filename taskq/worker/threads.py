"""Runs plain functions on threads. A thread cannot be killed: one that will not end is left behind
and replaced.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Threads:
    """At most `count` threads at work, and those that were given up."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool = self._new_pool()
        self.abandoned = 0
        """Threads whose run timed out and that may still be at it."""

    def _new_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._count, thread_name_prefix="taskq-task")

    def run(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run `call` on a thread, with the caller's context variables."""
        context = contextvars.copy_context()
        return asyncio.get_running_loop().run_in_executor(self._pool, context.run, _call, call)

    def abandon(self) -> None:
        """One run will not end in time: later runs get a new pool, so the stuck thread takes no
        slot from them.
        """
        self.abandoned += 1
        self._pool.shutdown(wait=False)
        self._pool = self._new_pool()

    def close(self) -> None:
        """Take no more runs; those going on are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _call(call: Callable[[], Any]) -> Any:
    """A future cannot carry StopIteration: on Python 3.11 it would never be done."""
    try:
        return call()
    except StopIteration as error:
        raise RuntimeError("the task raised StopIteration") from error
