"""Whether the process in a record still lives, and ending it.

Only of the one recorded: a pid that now belongs to somebody else is neither waited for nor
signalled. What the process is for, and how it is asked politely, is not known here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

import psutil

from taskq.embedded.place import Place, Record
from taskq.errors import StoreUnavailable

_EXIT_SECONDS = 5.0
_POLL_SECONDS = 0.01
# A step of the wall clock moves the start time that Linux reports for a process.
_CLOCK_SLACK_SECONDS = 2.0


def alive(place: Place, record: Record) -> bool:
    """Is the recorded process there, not another one that got its pid?

    A zombie is not; it is reaped if it is our child.
    """
    since = created(record.pid)
    if since is None or abs(since - record.created) > _CLOCK_SLACK_SECONDS:
        return False
    try:
        process = psutil.Process(record.pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            # The slack is wide enough for a neighbour; but only a server works in our directory.
            return os.path.samefile(process.cwd(), place.directory)
    except psutil.ZombieProcess:
        pass
    except psutil.Error:
        return False
    except OSError:
        return True  # halfway through its end: it has no directory any more, but is not gone
    try:
        # 0: its first thread is a zombie while others still end; it cannot be reaped yet.
        return os.waitpid(record.pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False


def end(place: Place, record: Record) -> None:
    """Wait until the process is gone, then SIGTERM, then SIGKILL, 5 s each.

    Raises StoreUnavailable if it is there even then.
    """
    if wait(lambda: not alive(place, record), _EXIT_SECONDS):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, number)
        if wait(lambda: not alive(place, record), _EXIT_SECONDS):
            return
    raise StoreUnavailable(f"embedded server: pid {record.pid} does not end; see what holds it up")


def created(pid: int) -> float | None:
    """When the process started, seconds since the epoch; None if there is no such process."""
    # Never 0: to kill it would be to kill our own process group.
    try:
        return psutil.Process(pid).create_time() if pid > 0 else None
    except (psutil.Error, ValueError):
        return None


def wait(done: Callable[[], bool], seconds: float) -> bool:
    """Ask `done` again and again; False if it is not true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
