"""How a worker ends: what runs may end, for a while; the rest is given back unpunished."""

from __future__ import annotations

import asyncio
import logging
import math
import time

from taskq.settings import Settings
from taskq.worker.pump import Pump
from taskq.worker.runner import Runner

log = logging.getLogger("taskq.worker")

#: What cancelled coroutines get to end when the worker leaves, s.
LAST_MOMENT = 2.0
#: Time between two lines of the countdown, s.
COUNT_EVERY = 5.0


async def drain(pump: Pump, runner: Runner, settings: Settings, hurry: asyncio.Event) -> None:
    """Wait for what runs, at most `settings.drain` seconds or until `hurry`; give the rest back."""
    pump.accepting = False
    end = time.monotonic() + settings.drain
    told = math.inf

    def busy() -> bool:
        # A claim sent before the stop may still bring some.
        return bool(runner.running) or pump.flying

    while busy() and not hurry.is_set() and (left := end - time.monotonic()) > 0:
        if runner.running and left <= told - COUNT_EVERY:
            again = "; again to stop at once" if told == math.inf else ""
            log.info("draining: %d jobs run, %.0f s left%s", len(runner.running), left, again)
            told = left
        try:
            async with asyncio.timeout(0.02):
                await hurry.wait()
        except TimeoutError:
            pass
    if busy():
        log.warning("giving back %d jobs that still run", len(runner.running))
        pump.giving_back = True
        runner.stopper.abandon_all()
        await _settle(pump, runner, LAST_MOMENT)
        runner.stopper.release_all()
    await _settle(pump, runner, max(settings.socket_timeout, LAST_MOMENT))


async def _settle(pump: Pump, runner: Runner, seconds: float) -> None:
    """Wait until nothing runs and everything owed has reached Redis, at most so long."""
    end = time.monotonic() + seconds
    while (runner.running or pump.owes) and time.monotonic() < end:
        pump.ring()
        await asyncio.sleep(0.005)
