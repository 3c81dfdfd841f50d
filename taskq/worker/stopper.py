"""Stops runs: those that take too long, were cancelled, lost their lease, or whose worker goes.

Coroutines are cancelled, processes killed; threads are told, and left behind. How a stopped run is
reported follows from its `why`, in runner.py.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from taskq.worker.line import Line
from taskq.worker.policy import TaskTimeout
from taskq.worker.run import Run
from taskq.worker.threads import Threads

log = logging.getLogger("taskq.job")

#: Seconds a cancelled coroutine has to end before it is left behind.
STUBBORN = 5.0
#: Seconds a thread that was told of a lost lease has to end before it is left behind.
TOLD = 1.0


class Stopper:
    """Stops the runs in `running`. `fail` reports one, `over` takes one off the list without a
    report (False: it was off), `ring` tells the pump.
    """

    def __init__(
        self,
        running: Mapping[tuple[str, str], Run],
        threads: Threads,
        *,
        fail: Callable[[Run, BaseException], None],
        over: Callable[[Run], bool],
        ring: Callable[[], None],
    ) -> None:
        self._running = running
        self._threads = threads
        self._fail = fail
        self._over = over
        self._ring = ring

    def sweep(self) -> None:
        """Stop the runs that take too long. Called about ten times a second."""
        now = time.monotonic()
        for run in [run for run in self._running.values() if run.ends_at <= now]:
            if run.why and run.task.executor != "process":
                self._leave_behind(run)
            elif not run.why:
                self._stop(run, run.bound)
                if run.task.executor == "thread":
                    self._leave_behind(run)

    def _stop(self, run: Run, why: str) -> None:
        run.why = why
        run.ends_at = time.monotonic() + STUBBORN
        if run.context is not None:
            run.context.cancelled = True
        if run.task.executor == "process":
            run.slot.kill()
        elif run.task.executor == "async" and run.handle is not None:
            _cancel(run.handle)

    def _leave_behind(self, run: Run) -> None:
        """It does not end: report it, and free its slot for others."""
        if run.task.executor == "thread":
            self._threads.abandon()
            log.error("job %s (%s): its thread goes on; slot replaced", run.job.id, run.job.task)
        else:
            log.error("job %s (%s): does not end when cancelled", run.job.id, run.job.task)
        self._fail(run, TaskTimeout("did not end when it was stopped"))

    def cancel(self, queue: str, ids: list[str]) -> None:
        """Stop these runs because their cancellation was asked for. Threads are told and end by
        themselves.
        """
        for job_id in ids:
            run = self._running.get((queue, job_id))
            if run is not None and not run.why:
                if run.task.executor == "thread":
                    if run.context is not None:
                        run.context.cancelled = True
                else:
                    self._stop(run, "cancel")

    def lose(self, run: Run) -> None:
        """Another worker may run this job: stop it, report nothing."""
        if run.context is not None:
            run.context.lease_lost = True
        run.line.lost.add((run.job.id, run.job.token))
        self._stop(run, "lost")
        if run.task.executor == "thread" and self._over(run):
            self._threads.abandon()
            self._ring()

    def fence(self, line: Line) -> int:
        """The lease on all runs of a queue has run out unrenewed: tell them, and kill processes.
        How many there are. From any thread: a blocked event loop must not keep them going.
        """
        runs = [run for run in list(self._running.values()) if run.line is line]
        for run in runs:
            run.why = run.why or "fenced"
            if run.context is not None:
                run.context.lease_lost = True
            if run.task.executor == "process":
                run.slot.strike()
        return len(runs)

    def stop_fenced(self, line: Line) -> None:
        """Stop what `fence` marked; it is released when it has ended. Threads cannot be stopped,
        only told: those that do not listen are left behind soon.
        """
        for run in [run for run in self._running.values() if run.line is line]:
            if run.why == "fenced":
                self._stop(run, "fenced")
                if run.task.executor == "thread":
                    run.ends_at = time.monotonic() + TOLD

    def abandon_all(self) -> None:
        """The worker goes: stop everything; what ends is released, unpunished."""
        for run in list(self._running.values()):
            self._stop(run, "shutdown")

    def release_all(self) -> None:
        """What did not even end when it was stopped is noted as released all the same."""
        for run in list(self._running.values()):
            run.why = "shutdown"
            self._fail(run, asyncio.CancelledError())


def _cancel(handle: asyncio.Future[Any]) -> None:
    """Cancel a coroutine, but let it begin: one that is cancelled before its first step is thrown
    away unseen, and its end would never be noted.
    """
    coroutine = handle.get_coro() if isinstance(handle, asyncio.Task) else None
    fresh = inspect.iscoroutine(coroutine) and (
        inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
    )
    if fresh:
        asyncio.get_running_loop().call_soon(handle.cancel)
    else:
        handle.cancel()
