"""Processes of a run: workers, measured from outside, and producers, which answer in JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
_LOG_LINES = 15


class BenchError(Exception):
    """A measurement that cannot be made; the message says why."""


def environment(**words: str) -> dict[str, str]:
    """The environment of a child: ours, this source tree first, nothing of taskq's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TASK")}
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path, "TASKQ_LOG_LEVEL": "warning", **words}


class WorkerProcess:
    """One worker, as a context: started, waited for until `up`, ended with SIGTERM."""

    def __init__(self, command: Sequence[str], env: dict[str, str], up: Callable[[], bool]) -> None:
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 (closed by `end`)
        self._up = up
        self._process = psutil.Popen(
            command, env=env, cwd=ROOT, stdout=self._log, stderr=subprocess.STDOUT
        )

    def __enter__(self) -> WorkerProcess:
        try:
            self.wait_until(self._up, 20, "start")
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Let it drain and wait until it is gone. Harmless when it is already."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except psutil.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if not self._log.closed:
            self._log.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        return "".join(self._log.readlines()[-_LOG_LINES:])

    def wait_until(
        self, done: Callable[[], bool], seconds: float, what: str, *, every: float = 0.01
    ) -> None:
        """Ask `done` until it is true. BenchError when the worker ends or the time is over."""
        end = time.monotonic() + seconds
        while not done():
            if self._process.poll() is not None:
                raise BenchError(f"the worker ended before it did {what}:\n{self._last_words()}")
            if time.monotonic() > end:
                raise BenchError(f"no {what} within {seconds:g} s:\n{self._last_words()}")
            time.sleep(every)

    @property
    def cpu(self) -> float:
        """CPU seconds so far, user and system, all threads."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return int(self._process.memory_info().rss)


def produce(env: dict[str, str], *words: object) -> dict[str, Any]:
    """Run `bench.producer` to its end; what it answers."""
    command = [sys.executable, "-m", "bench.producer", *map(str, words)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-_LOG_LINES:])
        raise BenchError(f"producer {' '.join(map(str, words))}:\n{tail}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
