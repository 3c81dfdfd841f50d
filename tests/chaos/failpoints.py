"""The app of tasks.py in a worker that is broken on purpose, as an environment variable says.

A fail point is a moment no signal from outside can hit: it is made by wrapping one method of the
worker. Wall clocks are moved the same way.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taskq.store import Store
from taskq.worker.runner import Runner
from tests.chaos.ledger import FOLDER
from tests.chaos.points import POINT, SKEW
from tests.chaos.tasks import app

__all__ = ["app"]


def _die_once(name: str) -> None:
    try:
        Path(os.environ[FOLDER], f"died-{name}").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _before_start(start: Callable[..., None]) -> Callable[..., None]:
    def dying_start(self: Runner, *words: Any) -> None:
        _die_once("before_start")
        start(self, *words)

    return dying_start


def _after(script: str, run: Callable[..., Any]) -> Callable[..., Any]:
    async def dying_run(self: Store, call: Any, **words: Any) -> Any:
        reply = await run(self, call, **words)
        claimed = script != "claim" or getattr(reply, "jobs", None)
        if call.script == script and claimed:
            _die_once(f"after_{script}")
        return reply

    return dying_run


def _shift(seconds: float) -> None:
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + round(seconds * 1e9)


match os.environ.get(POINT):
    case "before_start":
        Runner.start = _before_start(Runner.start)  # type: ignore[method-assign]
    case "after_ack":
        Store.run = _after("ack", Store.run)  # type: ignore[method-assign]
    case "after_claim":
        Store.run = _after("claim", Store.run)  # type: ignore[method-assign]
if SKEW in os.environ:
    _shift(float(os.environ[SKEW]))
