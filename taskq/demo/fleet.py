"""The processes of the demo: its private server, its producer and its workers.

Whatever happens, what is started here is ended here: no process and no file stays behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from taskq import embedded

#: Seconds a worker has to drain before it is killed.
STOP_SECONDS = 10.0
_LAST_LINES = 12
#: Where the embedded server's program is; the only setting of the user's that the demo keeps.
_KEPT = "TASKQ_REDIS_SERVER"


class DemoFailed(Exception):
    """The demo did not show what it should; the message says what happened instead."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process we started, its name for people, and the file that has its log."""

    name: str
    process: asyncio.subprocess.Process
    log: Path


@contextlib.contextmanager
def private_server() -> Iterator[embedded.Running]:
    """A server with no data in a directory of its own, that all of taskq in here talks to.

    Raises ConfigError, StoreUnavailable if no server can be started.
    """
    directory = Path(tempfile.mkdtemp(prefix="taskq-demo-"))
    try:
        server = embedded.ensure(directory)
        with _only_setting("TASKQ_REDIS_URL", server.url):
            yield server
    finally:
        try:
            embedded.stop(directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _only_setting(name: str, value: str) -> Iterator[None]:
    """Hide the user's settings, aliases too: the demo must not touch a real queue, nor depend."""
    before = dict(os.environ)
    for key in before:
        if key.startswith(("TASKQ_", "TASK_SCHEDULER_")) and key != _KEPT:
            del os.environ[key]
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Fleet:
    """The child processes. Leaving its `async with` ends them all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._workers: list[Child] = []
        self._all: list[Child] = []

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(self, *_: object) -> None:
        families = [process for child in self._all for process in _family(child)]
        try:
            await asyncio.gather(*(_end(child) for child in self._all))
        finally:
            # Also if we are interrupted while waiting; and a worker's own processes.
            _kill(families)

    async def start_worker(self, app: str, queue: str, slots: int) -> Child:
        """Start one worker process with that many slots."""
        name = f"worker {sum(child.name.startswith('worker') for child in self._all) + 1}"
        command = ("-m", "taskq", "worker", app, "-q", queue, "-c", str(slots))
        child = await self._start(name, *command, stdout=asyncio.subprocess.DEVNULL)
        self._workers.append(child)
        return child

    async def produce(self, *arguments: str) -> AsyncIterator[list[str]]:
        """Run the producer; yields the fields of each line it prints. Raises DemoFailed."""
        command = ("-m", "taskq.demo.producer", *arguments)
        child = await self._start("producer", *command, stdout=asyncio.subprocess.PIPE)
        assert child.process.stdout is not None
        async for line in child.process.stdout:
            yield os.fsdecode(line.rstrip(b"\r\n")).split("\t")
        if await child.process.wait() != 0:
            raise _ended(child)

    async def watch(self) -> None:
        """Return never; raises DemoFailed as soon as a worker ends that should not."""
        while True:
            for child in self._workers:
                if child.process.returncode is not None:
                    raise _ended(child)
            await asyncio.sleep(0.1)

    async def kill_worker(self) -> Child:
        """SIGKILL the first worker with all its processes: no clean-up, no goodbye."""
        child = self._workers.pop(0)
        _kill(_family(child))
        await child.process.wait()
        return child

    def last_words(self) -> str:
        """The end of the log of each worker that still runs, for when nothing moves."""
        return "\n".join(
            f"{child.name} still runs and says:\n{_tail(child.log)}"
            for child in self._workers
            if child.process.returncode is None
        )

    async def _start(self, name: str, *command: str, stdout: int) -> Child:
        log = self._directory / f"{name.replace(' ', '-')}.log"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                # Ctrl+C is for us alone, who then end the children in order.
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._all.append(child)
        return child


async def _end(child: Child) -> None:
    if child.process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.process.terminate()
    try:
        await asyncio.wait_for(child.process.wait(), STOP_SECONDS)
    except TimeoutError:
        _kill(_family(child))
        await child.process.wait()


def _family(child: Child) -> list[psutil.Process]:
    """The process, first, and all it started; empty if it has ended."""
    if child.process.returncode is not None:
        return []
    try:
        leader = psutil.Process(child.process.pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        # By identity, not by number alone: psutil spares a stranger that has got an old pid.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _ended(child: Child) -> DemoFailed:
    return DemoFailed(
        f"{child.name} (pid {child.process.pid}) ended early with code "
        f"{child.process.returncode}; its last lines:\n{_tail(child.log)}"
    )


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
    return "\n".join(f"  {line}" for line in lines) or "  (nothing)"
