"""Workers for tests: in this process as a task of the event loop, or as a process of its own;
and counts of commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

import redis

from taskq import TaskQ
from taskq.worker.worker import Worker
from tests.helpers import eventually, wait_until

ROOT = Path(__file__).resolve().parents[2]


def quick(namespace: str, **settings: object) -> dict[str, Any]:
    """Settings with short heartbeats, so that tests need not wait long, and without regard to how
    busy the machine is; `settings` win.
    """
    return {
        "namespace": namespace,
        "heartbeat": 0.3,
        "heartbeat_ttl": 3.0,
        "grace": 0.5,
        "drain": 5.0,
        "process_slots": 2,
        "load_aware": "off",
        **settings,
    }


@contextlib.asynccontextmanager
async def working(app: TaskQ, **words: Any) -> AsyncIterator[Worker]:
    """A worker of `app` in this event loop; stopped, and its errors raised, when the block ends."""
    worker = Worker(app, **words)
    run = asyncio.create_task(worker.run(), name="test-worker")
    try:
        await eventually(lambda: _up(worker, run))
        yield worker
    finally:
        worker.stop()
        await asyncio.wait([run], timeout=10)
        if not run.done():
            worker.stop()
        await asyncio.wait_for(run, 10)


def _up(worker: Worker, run: asyncio.Task[None]) -> bool:
    return run.done() or worker.heart._beats > 0


async def idle(worker: Worker) -> None:
    """Wait until the worker sleeps on its wake lists with nothing to do."""
    await eventually(lambda: worker.pump.idle and worker.pump.ears.listening)


def calls(client: redis.Redis) -> dict[str, int]:
    """How often each command has run on the server, by lower-case name."""
    stats: Any = client.info("commandstats")
    return {name.removeprefix("cmdstat_").lower(): stat["calls"] for name, stat in stats.items()}


def since(client: redis.Redis, before: dict[str, int]) -> dict[str, int]:
    """Commands that ran since `before`, without the looking itself."""
    now = calls(client)
    ran = {name: count - before.get(name, 0) for name, count in now.items()}
    ran.pop("info", None)
    return {name: count for name, count in ran.items() if count}


class HasUrl(Protocol):
    """A server, or a group of them."""

    @property
    def url(self) -> str: ...


class WorkerProcess:
    """`taskq worker APP` as a process of its own. `log` is its stderr."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self._popen = popen
        self._log = log
        self.pid = popen.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self, timeout: float = 15.0) -> int:
        """Its exit code."""
        return self._popen.wait(timeout)

    def lines(self, path: Path, count: int, timeout: float = 15.0) -> list[str]:
        """The lines its tasks have written to `path`, once there are `count`;
        AssertionError when it ends before.
        """

        def look() -> list[str] | None:
            found = path.read_text().splitlines() if path.exists() else []
            if len(found) < count and self._popen.poll() is not None:
                raise AssertionError(f"the worker ended early: {self.log[-2000:]}")
            return found if len(found) >= count else None

        return wait_until(look, timeout, f"{count} lines in {path.name}") or []


@contextlib.contextmanager
def worker_process(
    server: HasUrl, namespace: str, *, app: str = "tests.integration.chores:app", **settings: object
) -> Iterator[WorkerProcess]:
    """Run `taskq worker` with these settings until the block ends, then kill what is left of it."""
    words = {**quick(namespace), "redis_url": server.url, **settings}
    environment = {
        **os.environ,
        **{f"TASKQ_{name.upper()}": str(value) for name, value in words.items()},
    }
    with tempfile.TemporaryDirectory(prefix="taskq-test-") as folder:
        path = Path(folder) / "log"
        with path.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", "taskq", "worker", app],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield WorkerProcess(popen, path)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()


def wait_for_lines(path: Path, count: int, timeout: float = 10.0) -> list[str]:
    """The lines of a file once it has at least `count` of them."""

    def lines() -> list[str] | None:
        found = path.read_text().splitlines() if path.exists() else []
        return found if len(found) >= count else None

    return wait_until(lines, timeout, f"{count} lines in {path.name}") or []
