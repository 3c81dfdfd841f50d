"""A thread beside the event loop that sees what the loop cannot: that it is blocked, and that time
ran out while Redis did not answer.

Self-fencing: the server may give a worker's jobs to others `heartbeat_ttl` and a grace time after
it heard the last heartbeat. The worker counts from when that heartbeat was sent, by its own
monotonic clock, and stops what runs after `heartbeat_ttl`: the grace time is what its tasks have to
end. It needs nobody's answer for that.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from taskq.settings import Settings
from taskq.worker.interrupt import blocking_run, interrupt
from taskq.worker.line import Line
from taskq.worker.run import Run
from taskq.worker.runner import Runner
from taskq.worker.stopper import STUBBORN

log = logging.getLogger("taskq.worker")

#: How often the loop shows that it turns, and the watchman looks, s.
TICK = 0.1
#: Part of the grace time after which a fenced run that blocks the loop costs the process.
SHARE = 0.6
#: Time between two interruptions of the same blocking run, s.
AGAIN = 1.0


class Watchman:
    """Watches over one worker from a thread. Begins at `start`, on the loop's thread.

    `cut_off(line)` is called on the event loop after a line was fenced; `put_down(run)` on the
    watchman's thread when the loop is lost for good.
    """

    def __init__(
        self,
        lines: Sequence[Line],
        runner: Runner,
        settings: Settings,
        *,
        cut_off: Callable[[Line], None],
        put_down: Callable[[Run | None], None],
    ) -> None:
        self._lines = list(lines)
        self._runner = runner
        self._settings = settings
        self._cut_off = cut_off
        self._put_down = put_down
        self._stopped = threading.Event()
        self._ticked = time.monotonic()
        self._blocked_since: float | None = None
        self._interrupted_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._late = 0.0
        self.blocks = 0
        """How often the loop was blocked for `block_warn` or longer."""

    def start(self) -> None:
        """Begin to watch. Called on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._ticked = time.monotonic()
        threading.Thread(target=self._run, name="taskq-watchman", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def tick(self) -> None:
        """The loop turns. Called on it about every TICK seconds."""
        now = time.monotonic()
        self._late = max(0.0, now - self._ticked - TICK)
        self._ticked = now

    @property
    def loop_lag(self) -> float:
        """How much later than asked the loop turned, or has not turned by now, s."""
        return max(self._late, time.monotonic() - self._ticked - TICK)

    def _run(self) -> None:
        while not self._stopped.wait(TICK):
            try:
                self._look_at_leases()
                self._look_at_loop()
            except Exception:  # the watch must go on, whatever it saw
                log.exception("the watchman stumbled")

    # Leases

    def _look_at_leases(self) -> None:
        if self._settings.isolation == "continue":
            return
        now = time.monotonic()
        for line in self._lines:
            silence = now - line.beaten_at
            if silence <= self._settings.heartbeat_ttl or line.fenced:
                continue
            line.fenced = True
            stopped = self._runner.stopper.fence(line)
            log.error(
                "queue %s: cut off from Redis for %.1f s: %d runs are stopped",
                line.queue,
                silence,
                stopped,
            )
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._cut_off, line)

    # The event loop

    def _look_at_loop(self) -> None:
        now = time.monotonic()
        lag = now - self._ticked - TICK
        if lag < self._settings.block_warn:
            if self._blocked_since is not None:
                log.warning("event loop free again after %.1f s", now - self._blocked_since)
                self._blocked_since = None
            return
        run, frame = blocking_run(self._loop_thread, Runner.drive.__code__)
        if self._blocked_since is None:
            self._blocked_since = self._ticked
            self.blocks += 1
            stack = "".join(traceback.format_stack(frame, limit=12)) if frame else ""
            who = f"job {run.job.id} ({run.job.task})" if run else "no task of a job"
            log.warning("event loop blocked for %.1f s by %s\n%s", lag, who, stack.rstrip())
        del frame
        if sys.gettrace() is None:  # somebody at a breakpoint is no fault
            self._enforce(run, now)

    def _enforce(self, run: Run | None, now: float) -> None:
        """A run that blocks the loop keeps its lease until its own hard deadline, no longer."""
        assert self._blocked_since is not None
        settings = self._settings
        limit = self._blocked_since + settings.timeout if run is None else run.ends_at
        if run is not None and run.why == "fenced":
            # Others may start it a grace time after the fence. The process goes before that.
            if now > run.line.beaten_at + settings.heartbeat_ttl + SHARE * settings.grace:
                self._put_down(run)
            self._interrupt(run, now)
        elif now > limit + 2 * STUBBORN:
            self._put_down(run)
        elif run is not None and now > limit + STUBBORN:
            run.why = run.why or run.bound
            self._interrupt(run, now)

    def _interrupt(self, run: Run, now: float) -> None:
        """Raise an exception in the loop's thread, where the run's code is at it. Code that waits
        in C gets it when that returns.
        """
        if now - self._interrupted_at < AGAIN:
            return
        if interrupt(self._loop_thread, Runner.drive.__code__, run):
            self._interrupted_at = now
            log.error(
                "job %s (%s) blocks the event loop past its end: interrupted",
                run.job.id,
                run.job.task,
            )
