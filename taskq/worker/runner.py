"""Runs claimed jobs: finds the task, decodes, calls it where it belongs, and writes down how it
ended.

The report is only noted on the queue's line; the pump sends it. Never talks to Redis.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import sys
import time
import types
from collections.abc import Callable, Coroutine
from typing import Any

from taskq.classes import PROCESS, TASK, with_part
from taskq.codec import Codec
from taskq.commands import Ack, ClaimedJob, Failure
from taskq.context import Context
from taskq.errors import InvalidName, LeaseLost
from taskq.inherit import PARENT
from taskq.keys import check_name, is_class
from taskq.registry import Registry
from taskq.settings import Settings
from taskq.worker.line import Line
from taskq.worker.policy import DeadlinePassed, TaskTimeout, failure_of, retry_rule
from taskq.worker.processes import ProcessSlots, Work
from taskq.worker.run import Run
from taskq.worker.stopper import Stopper
from taskq.worker.threads import Threads

log = logging.getLogger("taskq.job")

#: Ten years, ms. PEXPIRE refuses far more, half-way through an ack: its neighbours would be lost.
LONGEST_KEPT = 315_360_000_000
EAGER = sys.version_info >= (3, 12)

Report = Callable[[Line, Context, float, str], Coroutine[Any, Any, None]]


class Runner:
    """Starts and stops runs. `ring` tells the pump that there is something to report, `look` that
    a queue (None: any) may have a job that can run now.
    """

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        *,
        process_slots: int,
        ring: Callable[[], None],
        look: Callable[[str | None], None],
        report: Report,
    ) -> None:
        self.running: dict[tuple[str, str], Run] = {}
        """By queue and job id: an id names a job only within its queue."""
        self.taken = 0
        """Slots the runs occupy: what they cost."""
        self._fragile = 0
        self.state: Any = None
        self.done = 0
        self.failed = 0
        self.threads = Threads(settings.concurrency)
        self.processes = ProcessSlots(process_slots)
        self._tasks = registry.tasks
        self._codec: Codec = registry.codec
        self._settings = settings
        self._ring = ring
        self._look = look
        self._report = report
        self._default_keep_ms = round(settings.result_ttl * 1000)
        self.stopper = Stopper(
            self.running, self.threads, fail=self.fail, over=self.over, ring=ring
        )

    def start(self, line: Line, job: ClaimedJob, now_ms: int) -> None:
        """Begin a run. `now_ms` is the server's clock at the claim. Never raises."""
        if not job.id.isascii():
            self._refuse(line, job)
            return
        task = self._tasks.get(job.task)
        if task is None:
            self._hand_on(line, job)
            return
        if task.executor == "process" and not self.processes.free:
            self._leave(line, job, PROCESS)
            return
        run = Run(line, job, task, now_ms)
        old = self.running.get((line.queue, job.id))
        if old is not None:
            self.stopper.lose(old)  # Redis has granted a new lease on it, so the old one is gone
            self.over(old)
        if run.fragile and self.runs_fragile():
            self._leave(line, job, "")
            return
        self.running[line.queue, job.id] = run
        self.taken += run.cost
        self._fragile += run.fragile
        try:
            run.limit_time(self._settings.timeout)
            if run.slack is not None:
                line.tally.began(task.name, run.slack)
            if task.executor == "process":
                self._start_process(run)
                return
            args, kwargs = self._codec.decode_call(job.payload)
            task.check(args, kwargs)
            if task.context_name is not None:
                run.context = self._context(run)
                args = task.inject(run.context, args, kwargs)
            if run.parent is None:
                self._start_here(run, args, kwargs)
            else:  # in a context of its own, where what it enqueues finds its deadline
                context = contextvars.copy_context()
                context.run(PARENT.set, run.parent)
                context.run(self._start_here, run, args, kwargs)
        except Exception as error:
            self.fail(run, error)

    def _start_here(self, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        task = run.task
        if task.executor == "async":
            self._start_coroutine(run, task.fn(*args, **kwargs))
        else:
            call = functools.partial(task.fn, *args, **kwargs)
            run.handle = self.threads.run(call)
            run.handle.add_done_callback(functools.partial(self._thread_ended, run))

    def _refuse(self, line: Line, job: ClaimedJob) -> None:
        """No id of ours, perhaps no text: nobody enqueued it, and a task could not print it."""
        log.error("queue %s: job %r has no valid id; it is dead", line.queue, job.id)
        problem = "InvalidName: its id is no valid name"
        line.failures.append(Failure(job.id, job.token, None, "bad_payload", problem, ""))
        self._ring()

    def _hand_on(self, line: Line, job: ClaimedJob) -> None:
        """This worker does not know the task: give the job back, to a class only those who know it
        read.
        """
        try:
            part = TASK + check_name(job.task, "task name")
        except InvalidName as error:
            line.failures.append(Failure(job.id, job.token, None, "bad_payload", str(error), ""))
        else:
            log.warning("job %s: no task %r here; left to a worker that knows it", job.id, job.task)
            self._leave(line, job, part)
            return
        self._ring()

    def _leave(self, line: Line, job: ClaimedJob, part: str) -> None:
        """Give a job back unrun, to those who serve its class with this part added."""
        job_class = ""  # keeps the one it has
        if part:
            old = job.text(b"class") or ""
            joined = with_part(old, part)
            # What somebody wrote there by hand may be no class at all.
            job_class = joined if is_class(joined) else part
        line.released.append((job.id, job.token, job_class))
        self._ring()

    def _context(self, run: Run) -> Context:
        job = run.job
        headers = job.fields.get(b"headers")
        return Context(
            job_id=job.id,
            task=job.task,
            queue=run.line.name,
            attempt=(job.number(b"attempt") or 0) + 1,
            token=int(job.token),
            worker_id=run.line.worker,
            deadline_ms=job.number(b"deadline_ms"),
            headers=self._codec.decode_headers(headers) if headers else None,
            state=self.state,
            report=functools.partial(self._report, run.line)
            if run.task.executor == "async"
            else None,
        )

    # Coroutines

    def _start_coroutine(self, run: Run, coroutine: Coroutine[Any, Any, Any]) -> None:
        loop = asyncio.get_running_loop()
        if EAGER:
            # Begins at once; a task that never waits is over when this returns, without a turn of
            # the loop.
            task = asyncio.Task(self.drive(run, coroutine), loop=loop, eager_start=True)  # type: ignore[call-arg,unused-ignore]
            if not task.done():
                run.handle = task
        else:
            run.handle = loop.create_task(self.drive(run, coroutine))

    async def drive(self, run: Run, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Await a run's coroutine and note how it ended. The watchman knows a blocking run by this
        frame in the loop's stack.
        """
        try:
            value = await coroutine
        except (
            BaseException
        ) as error:  # SystemExit and KeyboardInterrupt too: a task must not end the worker
            self.fail(run, error)
        else:
            self._complete(run, value)

    # Threads

    def _thread_ended(self, run: Run, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            self.fail(run, asyncio.CancelledError())
        elif (error := future.exception()) is not None:
            self.fail(run, error)
        elif isinstance(value := future.result(), types.CoroutineType):
            self._start_coroutine(run, value)
        else:
            self._complete(run, value)

    # Processes

    def _start_process(self, run: Run) -> None:
        job, fn = run.job, run.task.fn
        work = Work(
            module=fn.__module__,
            attribute=fn.__qualname__,
            payload=job.payload,
            max_result=self._settings.max_result,
            job_id=job.id,
            task=job.task,
            queue=run.line.name,
            attempt=(job.number(b"attempt") or 0) + 1,
            token=int(job.token),
            worker_id=run.line.worker,
            deadline_ms=job.number(b"deadline_ms"),
            parent=run.parent,
        )
        run.slot = self.processes.take()
        run.handle = asyncio.get_running_loop().create_task(self._drive_process(run, work))

    async def _drive_process(self, run: Run, work: Work) -> None:
        slot = run.slot
        try:
            packed = await slot.run(work)
        except BaseException as error:
            self._free_process(run)
            self.fail(run, error)
        else:
            self._free_process(run)
            self._note_ack(run, packed)

    def _free_process(self, run: Run) -> None:
        self.processes.give_back(run.slot)
        self._look(None)  # every queue may have a job for it

    # Ends

    def over(self, run: Run) -> bool:
        """Take a run off the list. False when it was left behind and reported before: the job may
        be running anew by then, and that run must stay.
        """
        if not self.runs(run):
            return False
        del self.running[run.line.queue, run.job.id]
        self.taken -= run.cost
        self._fragile -= run.fragile
        return True

    def _complete(self, run: Run, value: Any) -> None:
        if value is None:
            self._note_ack(run, b"")
            return
        try:
            packed = self._codec.encode_value(value, limit=self._settings.max_result)
        except Exception as error:
            self.fail(run, error)
        else:
            self._note_ack(run, packed)

    def _note_ack(self, run: Run, packed: bytes) -> None:
        job = run.job
        if not self.over(run):
            return
        if run.fragile:
            self._look(None)
        keep_ms = job.number(b"result_ttl_ms") if b"result_ttl_ms" in job.fields else None
        if keep_ms is None:
            ttl = run.task.defaults.result_ttl
            keep_ms = self._default_keep_ms if ttl is None else round(ttl * 1000)
        keep_ms = min(max(keep_ms, 0), LONGEST_KEPT)
        self.done += 1
        self._measure(run)
        run.line.acks.append(Ack(job.id, job.token, packed, keep_ms))
        self._ring()

    @staticmethod
    def _measure(run: Run) -> None:
        """Note how long a run took that came to an end of its own, or of its time."""
        seconds = time.monotonic() - run.began
        tally = run.line.tally
        tally.ended(run.job.task, seconds)
        if run.slack is not None and seconds >= run.slack:
            tally.was_late(run.job.task)

    def fail(self, run: Run, error: BaseException) -> None:
        """A run ended in `error`, or because it was stopped: note what follows from that."""
        if not self.over(run):
            return
        if run.fragile:
            self._look(None)
        line, job = run.line, run.job
        if run.why in ("shutdown", "fenced"):
            line.released.append((job.id, job.token, ""))
        elif run.why == "cancel":
            line.cancelled.append((job.id, job.token))
        elif run.why == "lost" or isinstance(error, LeaseLost):
            log.warning("job %s: lease lost, its run was stopped", job.id)
        else:
            try:
                self._note_failure(run, error)
            except Exception as problem:  # whatever goes wrong here, the job's end must be reported
                log.exception("job %s: its failure could not be worked out", job.id)
                line.failures.append(
                    Failure(job.id, job.token, None, "failed", type(problem).__name__, "")
                )
        self._ring()

    def failure_of(self, run: Run, error: BaseException) -> Failure:
        """The report for a run that ended in `error`, or was stopped for its time."""
        if run.why == "timeout":
            error = TaskTimeout(f"ran longer than {run.timeout:g} s")
        elif run.why == "deadline":
            error = DeadlinePassed("was still running at its deadline")
        rule = retry_rule(run.job, run.task.defaults, self._settings.retries)
        server_now = run.now_ms + round((time.monotonic() - run.began) * 1000)
        return failure_of(run.job, error, rule, server_now)

    def _note_failure(self, run: Run, error: BaseException) -> None:
        job = run.job
        failure = self.failure_of(run, error)
        self.failed += 1
        self._measure(run)
        if failure.after_ms is None:
            log.error(
                "job %s (%s) is dead: %s: %s", job.id, job.task, failure.reason, failure.error
            )
        else:
            log.warning(
                "job %s (%s) failed, again in %.1f s: %s",
                job.id,
                job.task,
                failure.after_ms / 1000,
                failure.error,
            )
        run.line.failures.append(failure)

    def runs_fragile(self) -> bool:
        """Is one of the runs a job whose next crash would be its last?"""
        return self._fragile > 0

    def runs(self, run: Run) -> bool:
        """True while this very run goes on."""
        return self.running.get((run.line.queue, run.job.id)) is run

    def close(self) -> None:
        """End processes and take no more runs on threads."""
        self.processes.close()
        self.threads.close()
