"""`python -m bench.endurance.producer RATE SECONDS`: calls begin on time, whether or not earlier
ones have returned. Answers one line of JSON; holds nothing that grows with the jobs.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from bench.endurance.app import app, timed

_TICK = 0.0005


class Sender:
    """Sends at a rate, and counts what became of it."""

    def __init__(self) -> None:
        self.sent = self.failed = 0
        self.trouble = ""
        self._open: set[asyncio.Task[Any]] = set()

    async def send(self, rate: float, seconds: float) -> None:
        """All of it, replies included."""
        count, began = round(rate * seconds), time.perf_counter()
        while self.sent < count:
            due = min(count, int((time.perf_counter() - began) * rate) + 1)
            while self.sent < due:
                call = asyncio.ensure_future(timed.enqueue(time.monotonic_ns()))
                self._open.add(call)
                call.add_done_callback(self._ended)
                self.sent += 1
            await asyncio.sleep(_TICK)
        if self._open:
            await asyncio.wait(self._open)

    def _ended(self, call: asyncio.Task[Any]) -> None:
        self._open.discard(call)
        error = call.exception()
        if error is not None:
            self.failed += 1
            self.trouble = self.trouble or f"{type(error).__name__}: {error}"


async def main(rate: str, seconds: str) -> None:
    """Send, and say what was sent."""
    sender = Sender()
    async with app:
        began = time.perf_counter()
        await sender.send(float(rate), float(seconds))
        wall = time.perf_counter() - began
    answer = {"sent": sender.sent, "failed": sender.failed, "trouble": sender.trouble}
    print(json.dumps({**answer, "rate": sender.sent / wall}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
