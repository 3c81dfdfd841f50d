"""How long a producer waits for room in a full queue. Both clients use it. No I/O."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from taskq.errors import QueueFull

#: The first and the longest pause between two tries, s.
FIRST = 0.05
LONGEST = 1.0


class Patience:
    """The wait of one send: pauses that grow, jittered, `seconds` in all."""

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._draw = draw
        self._end = clock() + seconds
        self._most = FIRST

    def pause(self, full: QueueFull) -> float:
        """Seconds to wait before the next try. Raises QueueFull when the time is over."""
        left = self._end - self._clock()
        if left <= 0:
            waited = f"{full} (waited {self._seconds:g} s, as full_timeout says)"
            raise QueueFull(waited, on_full=full.on_full, room=full.room, most=full.most) from full
        most, self._most = self._most, min(LONGEST, 2 * self._most)
        return min(left, most * (0.5 + self._draw() / 2))
