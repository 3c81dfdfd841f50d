"""Runs plain functions in processes that can really be killed: one single-process pool per slot.

Each slot is a `ProcessPoolExecutor` of one, so killing a stuck process breaks no other slot. Only
payload bytes, names and plain text cross the pipe; the child imports the same app and encodes the
result itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from taskq.context import Context
from taskq.errors import Discard, Retry
from taskq.inherit import PARENT, Parent
from taskq.task import Task
from taskq.worker.policy import RemoteError, error_line, traceback_text

log = logging.getLogger("taskq.job")


@dataclass(frozen=True, slots=True)
class Work:
    """What a child process needs for one run."""

    module: str
    attribute: str
    payload: bytes
    max_result: int
    job_id: str
    task: str
    queue: str
    attempt: int
    token: int
    worker_id: str
    deadline_ms: int | None
    parent: Parent | None = None


class ProcessDied(Exception):
    """The process that ran the task ended before the task did."""


class ProcessSlots:
    """`count` slots; each starts its process at its first job, or in `warm_up`."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle: list[_Slot] = [_Slot() for _ in range(count)]
        self._busy: set[_Slot] = set()

    @property
    def free(self) -> int:
        """Slots without a job."""
        return len(self._idle)

    def take(self) -> _Slot:
        """A free slot; the caller gives it back with `give_back`."""
        slot = self._idle.pop()
        self._busy.add(slot)
        return slot

    def give_back(self, slot: _Slot) -> None:
        """The slot's job is over."""
        self._busy.discard(slot)
        self._idle.append(slot)

    async def warm_up(self) -> None:
        """Start all processes now, so that the first jobs do not wait for it. One that dies while
        it starts is started again by its first job.
        """
        await asyncio.gather(*(slot.warm_up() for slot in self._idle))

    def close(self) -> None:
        """End all processes, busy ones too."""
        for slot in (*self._idle, *self._busy):
            slot.kill()


class _Slot:
    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._pid = 0

    async def start(self) -> ProcessPoolExecutor:
        pool = self._pool
        if pool is None:
            pool = self._pool = ProcessPoolExecutor(
                1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin
            )
            pid = await asyncio.get_running_loop().run_in_executor(pool, os.getpid)
            if self._pool is not pool:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                raise ProcessDied("stopped while its process was starting")
            self._pid = pid
        return pool

    async def warm_up(self) -> None:
        """Start the process, if that works."""
        try:
            await self.start()
        except (BrokenProcessPool, ProcessDied) as error:
            log.warning("a process for tasks died while it started: %s", error)
            self.kill()

    async def run(self, work: Work) -> bytes:
        """The encoded result. Raises RemoteError, Retry, Discard or ProcessDied."""
        try:
            loop = asyncio.get_running_loop()
            try:
                running = loop.run_in_executor(await self.start(), perform, work)
            except BrokenProcessPool:  # it died while it was idle: this job has not begun
                self.kill()
                running = loop.run_in_executor(await self.start(), perform, work)
            kind, *parts = await running
        except BrokenProcessPool as error:
            self.kill()
            raise ProcessDied("the process that ran the task died (killed, or os._exit)") from error
        if kind == "ok":
            result: bytes = parts[0]
            return result
        if kind == "retry":
            raise Retry(parts[0], parts[1])
        if kind == "discard":
            raise Discard(parts[0])
        raise RemoteError(*parts)

    def strike(self) -> None:
        """Kill the process, from any thread; `run` notices."""
        if pid := self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the process at once; the next run starts a new one."""
        pool, self._pool = self._pool, None
        pid, self._pid = self._pid, 0  # 0 while a process starts: an old number may be another's
        if pool is not None:
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    """In the child: leave Ctrl+C to the worker, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, name="taskq-parent", daemon=True).start()


def perform(work: Work) -> tuple[Any, ...]:
    """In the child: run one call. Everything comes back as plain values, errors too."""
    PARENT.set(work.parent)
    try:
        task = _find(work.module, work.attribute)
        codec = task.sender.codec
        args, kwargs = codec.decode_call(work.payload)
        task.check(args, kwargs)
        if task.context_name is not None:
            context = Context(
                job_id=work.job_id,
                task=work.task,
                queue=work.queue,
                attempt=work.attempt,
                token=work.token,
                worker_id=work.worker_id,
                deadline_ms=work.deadline_ms,
            )
            args = task.inject(context, args, kwargs)
        value = task.fn(*args, **kwargs)
        return "ok", b"" if value is None else codec.encode_value(value, limit=work.max_result)
    except Retry as signal_:
        return "retry", signal_.delay, str(signal_)
    except Discard as signal_:
        return "discard", signal_.reason
    except BaseException as error:
        names = [f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__]
        return "error", error_line(error), traceback_text(error), names


def _find(module: str, attribute: str) -> Task[Any, Any]:
    """The task the parent's registry named; the names never come from Redis."""
    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    if not isinstance(found, Task):
        raise TypeError(
            f"{module}.{attribute} is not a task: keep the decorated name in its module"
        )
    return found
