"""Keeps worker processes alive: starts, restarts, reloads, stops them. Knows no Redis and no app.

A child learns that its parent is gone, however it died, from a pipe whose other end only the
parent holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from taskq.worker.obituary import Obituary, how_it_ended, read_lives
from taskq.worker.recycle import RECYCLED
from taskq.worker.reload import changes

log = logging.getLogger("taskq.supervisor")

#: Environment variable that marks a child, with its pipe and what its command line must not show.
MARK = "_TASKQ_CHILD"
#: Longest wait before a child that keeps dying is started again, s.
LONGEST_PAUSE = 30.0
#: A child that lived so long did not die of its start, s.
HEALTHY = 10.0
#: Exit codes that a restart cannot mend: wrong usage, bad configuration.
HOPELESS = (2, 78)
#: Seconds a child may take beyond its own drain before it is killed.
PATIENCE = 15.0
#: How children may end beside 0: one made room, or was asked to stop before it could listen.
WELL = (RECYCLED, -signal.SIGTERM)
#: Lives of dead children that are remembered, at most: newest last.
LIVES_KEPT = 200
#: Seconds a reloading child may go on with its jobs before they are given back.
RELOAD_DRAIN = 2.0


def pause_before(failures: int, draw: Callable[[], float] = random.random) -> float:
    """Seconds before a child is started again, by its failures in a row: exponential, jittered."""
    return min(LONGEST_PAUSE, 0.25 * 2.0 ** min(failures, 12)) * (0.5 + draw() / 2)


class Child:
    """One place for a worker process; whoever fills it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: asyncio.subprocess.Process | None = None
        self.code: int | None = None
        """How the last process of this place ended."""
        self.reloading = False
        self.obituary: Obituary | None = None
        """Of the process that filled this place last, when it died; the next one buries it."""

    def send(self, number: signal.Signals) -> None:
        process = self.process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


class Supervisor:
    """Runs `count` processes of `command` until told to stop.

    `burst`: a child that ends with 0 has done its work and is not started again. `reload`: a
    folder whose .py files, when they change, restart all children. `drain`: seconds a child may
    take to stop. `secrets` travel in the environment; `child_mark` reads them.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        count: int,
        drain: float,
        burst: bool = False,
        reload: Path | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self._command = list(command)
        self._children = [Child(number) for number in range(1, count + 1)]
        self._drain = drain
        self._burst = burst
        self._reload = reload
        self._secrets = dict(secrets or {})
        self._stops = 0
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._read_end, self._write_end = os.pipe()

    async def run(self) -> int:
        """Until all children have ended: 0, or their code when a restart is hopeless, else 1."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        watcher = asyncio.create_task(self._watch()) if self._reload else None
        try:
            await asyncio.gather(*(self._keep(child) for child in self._children))
        finally:
            if watcher is not None:
                watcher.cancel()
            for child in self._children:
                child.send(signal.SIGKILL)
            os.close(self._write_end)
            os.close(self._read_end)
        codes = {0 if child.code in WELL else child.code for child in self._children}
        hopeless = next((code for code in HOPELESS if code in codes), None)
        return 0 if codes == {0} else hopeless or 1

    def stop(self) -> None:
        """First: all drain. Second: at once. Third: kill."""
        self._stops += 1
        if self._stops == 1:
            log.info("stopping %d workers; again to stop at once", len(self._children))
            asyncio.get_running_loop().call_later(self._drain + PATIENCE, self._kill)
        self._stopping.set()
        for child in self._children:
            child.send(signal.SIGTERM if self._stops < 3 else signal.SIGKILL)

    def _kill(self) -> None:
        for child in self._children:
            if child.process is not None and child.process.returncode is None:
                log.error("worker %d does not stop: killed", child.number)
                child.send(signal.SIGKILL)

    async def _keep(self, child: Child) -> None:
        """Fill one place until it is not needed any more."""
        failures = 0
        while True:
            began = time.monotonic()
            code = child.code = await self._run_one(child)
            if self._stopping.is_set() or (self._burst and code == 0):
                return
            if child.reloading or code == RECYCLED:
                child.reloading, failures = False, 0
                continue
            if code in HOPELESS:
                if self._reload is None:
                    # The others would end the same way.
                    self.stop()
                    return
                log.error("worker %d ended with code %d; waiting for a change", child.number, code)
                await self._wait(self._changed)
                continue
            failures = 0 if time.monotonic() - began > HEALTHY else failures + 1
            pause = pause_before(failures)
            log.warning("worker %d %s; again in %.1f s", child.number, how_it_ended(code), pause)
            await self._wait(self._changed, pause)
            if self._stopping.is_set():
                return

    async def _run_one(self, child: Child) -> int:
        if self._stopping.is_set():
            return child.code or 0
        mark: dict[str, object] = {"pipe": self._read_end, "number": child.number, **self._secrets}
        if child.obituary is not None:
            mark["obituary"] = child.obituary.to_mark()
        hear, tell = os.pipe()
        try:
            os.set_blocking(tell, False)
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, MARK: json.dumps({**mark, "tell": tell})},
                pass_fds=(self._read_end, tell),
                # Out of our process group: Ctrl+C is for us, who pass it on once.
                process_group=0,
            )
            child.process = process
            log.debug("worker %d is pid %d", child.number, process.pid)
            if self._stopping.is_set():
                child.send(signal.SIGTERM)
            code = await process.wait()
        finally:
            os.close(tell)
            told = _read_all(hear)
        # What it could not bury yet itself is handed on.
        lives = (*(child.obituary.lives if child.obituary and code else ()), *read_lives(told))
        child.obituary = Obituary(lives[-LIVES_KEPT:], how_it_ended(code)) if code else None
        return code

    async def _wait(self, event: asyncio.Event, seconds: float | None = None) -> None:
        """Until the event, a stop, or the time."""
        waits = [asyncio.create_task(event.wait()), asyncio.create_task(self._stopping.wait())]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _watch(self) -> None:
        assert self._reload is not None
        loop = asyncio.get_running_loop()
        async for paths in changes(self._reload):
            log.info(
                "%s changed: reloading", ", ".join(os.path.relpath(path) for path in paths[:3])
            )
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
            for child in self._children:
                process = child.process
                if process is not None and process.returncode is None:
                    child.reloading = True
                    child.send(signal.SIGTERM)
                    loop.call_later(RELOAD_DRAIN, self._hurry, child, process)

    def _hurry(self, child: Child, process: asyncio.subprocess.Process) -> None:
        if child.process is process:
            child.send(signal.SIGTERM)


def _read_all(pipe: int) -> bytes:
    """What is in a pipe by now; a grandchild may hold its other end open for longer."""
    os.set_blocking(pipe, False)
    told = b""
    with contextlib.suppress(BlockingIOError):
        while part := os.read(pipe, 65536):
            told += part
    os.close(pipe)
    return told


def child_mark() -> dict[str, object] | None:
    """In a child: what its supervisor told it, taken out of the environment; None elsewhere."""
    text = os.environ.pop(MARK, None)
    if text is None:
        return None
    mark: dict[str, object] = json.loads(text)
    return mark


def follow_parent(pipe: int, stop: Callable[[], object]) -> None:
    """In a child: call `stop`, on a thread of its own, when the parent is gone."""
    os.set_inheritable(pipe, False)

    def follow() -> None:
        while os.read(pipe, 1):
            pass
        log.warning("the supervisor is gone: draining")
        stop()

    threading.Thread(target=follow, name="taskq-parent", daemon=True).start()
