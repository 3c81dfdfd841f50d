"""Stops a run that blocks the event loop's thread: an exception raised inside its code, from
another thread.

Python lets one thread leave an exception for another, which meets it at its next step; code that
waits in C, when that returns. The run may end at that very moment, so the exception may come too
late and meet the worker's own code: whoever drives the loop goes on when it sees `Interrupted`.
"""

from __future__ import annotations

import ctypes
import sys
from types import CodeType, FrameType

from taskq.worker.run import Run


class Interrupted(BaseException):
    """Raised inside a coroutine that blocks the event loop and may do so no longer."""


def blocking_run(thread: int, code: CodeType) -> tuple[Run | None, FrameType | None]:
    """The run whose coroutine a thread is in now, and the thread's innermost frame. `code`: of the
    coroutine that drives a run, in a local `run`.
    """
    innermost = frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code is code:
            run = frame.f_locals.get("run")
            return (run if isinstance(run, Run) else None), innermost
        frame = frame.f_back
    return None, innermost


def interrupt(thread: int, code: CodeType, run: Run) -> bool:
    """Raise Interrupted in `thread` if `run` is what it is in; False when it is not any more.

    Nothing may happen between the look and the call: each wait or write lets the other thread go
    on. What it could not use by then is taken back.
    """
    if blocking_run(thread, code)[0] is not run:
        return False
    _leave(thread, Interrupted)
    if blocking_run(thread, code)[0] is not run:
        _leave(thread, None)
    return True


def _leave(thread: int, error: type[BaseException] | None) -> None:
    what = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)
