"""Processes of a scenario: a worker with its log and its descendants, and who is still there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil


class BedWorker:
    """A `taskq worker` process, with children when it is a supervisor."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path, name: str) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.name = name
        self._log = log

    @property
    def log(self) -> str:
        """What it wrote to stderr."""
        return self._log.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def pids(self) -> list[int]:
        """The process and all its descendants that run."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.pid).children(recursive=True)
            return [self.pid, *(child.pid for child in children)]
        return []

    def children(self) -> list[int]:
        """Pids of direct children: a supervisor's workers, or a worker's task processes."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(self.pid).children()]
        return []

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL this process, and wait until it is gone."""
        self.popen.kill()
        self.popen.wait(10)

    def stop(self) -> None:
        """SIGTERM: drain."""
        self.popen.terminate()

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def wait(self, timeout: float = 20.0) -> int:
        """Its exit code."""
        return self.popen.wait(timeout)


def bound(then: Callable[[], None] | None) -> Callable[[], None]:
    """For a new process, before its program: on Linux it dies with the thread that started it, so
    that nothing is left when the test run is killed; then `then`.
    """

    def prepare() -> None:
        if sys.platform.startswith("linux"):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if then is not None:
            then()

    return prepare


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def end_sessions(leaders: Iterable[int]) -> None:
    """SIGKILL whatever belongs to the sessions of these processes."""
    sessions = set(leaders)
    for _ in range(3):  # one may start another while we look
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) in sessions:
                    os.kill(pid, signal.SIGKILL)
