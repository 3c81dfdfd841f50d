"""How fit a worker is to take more jobs, and how many slots it uses because of that. No I/O beyond
a look at the process and the machine, once a second.

Two figures, because they answer two questions.

`score` (0.1 to 1) says who should take the next job: the least of what memory, the event loop and
the CPU allow. A worker below 1 lets others answer a wake-up first (ears.py); the roster shows it.

`slots` says how many jobs at once do good here, and only memory and the loop decide. A CPU that our
own jobs keep busy is no reason to take fewer: it is what the worker is for, the batches that feed
the loop would shrink with the slots, and a single worker would only leave jobs to nobody. When too
much runs at once for the CPU, the loop turns late, and that is seen. Lateness below a tenth of a
second is what a busy loop on a busy machine has anyway; it costs nothing here.

Slots fall by a fifth a second and rise by a tenth after three good seconds, and never for a change
of less than a tenth: fewer slots make the loop turn in time, and that must not raise them at once.
One is always left, or a worker that is unwell for good would look dead.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable

import psutil

#: How often memory and CPU are looked at, s.
LOOK_EVERY = 1.0
#: What the lateness of the loop is averaged over, s.
LATE_OVER = 2.0
#: Nobody is less fit than this.
LEAST = 0.1
#: The CPU alone makes nobody less fit than this.
LEAST_CPU = 0.5
#: Good looks in a row before slots rise.
PATIENCE = 3
#: How much later than others the least fit answers a wake-up, s.
LATEST = 0.02


def fall(value: float, good: float, bad: float, least: float = LEAST) -> float:
    """1 up to `good`, `least` from `bad` on, and evenly in between."""
    if value <= good:
        return 1.0
    return max(least, 1.0 - (1.0 - least) * (value - good) / (bad - good))


class Health:
    """Of one worker with `slots` slots. `rss()` is its memory and `most_rss` what it may have (0:
    nobody says), in bytes. With `aware` False it is always well.
    """

    def __init__(
        self, slots: int, *, rss: Callable[[], int], most_rss: int = 0, aware: bool = True
    ) -> None:
        self._all = slots
        self._rss = rss
        self._most_rss = most_rss
        self._aware = aware
        self._late = 0.0
        self._ticked: float | None = None
        self._looked = -math.inf
        self._cpu_used = time.process_time()
        self._use = 0.0
        self._room = 1.0
        self._good = 0
        self.score = 1.0
        """How fit it is to take the next job."""
        self.slots = slots
        """Slots it uses."""
        self.delay = 0.0
        """How long it lets others answer a wake-up first, s."""

    @property
    def word(self) -> str:
        """For people: `ok`, or `busy` and the score."""
        return "ok" if self.score > 0.95 else f"busy {self.score:.1f}"

    def tick(self, now: float, lag: float) -> None:
        """The loop turned `lag` s late. Called about ten times a second; `now` is monotonic."""
        if not self._aware:
            return
        passed = lag if self._ticked is None else now - self._ticked
        self._ticked = now
        # By time, not by ticks: a loop that is late ticks less often.
        self._late += (lag - self._late) * (1.0 - math.exp(-passed / LATE_OVER))
        if now - self._looked >= LOOK_EVERY:
            self._look(now - self._looked)
            self._looked = now

    def _look(self, passed: float) -> None:
        room = min(fall(self._late, 0.1, 1.0), self._memory())
        self._move(room)
        self.score = min(room, self._cpu(passed))
        self.delay = 0.0 if self.score > 0.95 else (1.0 - self.score) * LATEST

    def _memory(self) -> float:
        fit = fall(psutil.virtual_memory().percent, 90.0, 98.0)
        if self._most_rss:
            fit = min(fit, fall(self._rss() / self._most_rss, 0.85, 1.0))
        return fit

    def _cpu(self, passed: float) -> float:
        """Of this process against the one core that Python code can use; of the machine against
        its cores.
        """
        used = time.process_time()
        share = (used - self._cpu_used) / passed
        self._cpu_used = used
        self._use += (share - self._use) / 3
        waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
        return min(fall(self._use, 0.7, 1.0, LEAST_CPU), fall(waiting, 2.0, 6.0, LEAST_CPU))

    def _move(self, room: float) -> None:
        """Bring the slots nearer to what there is room for; see the top of this file."""
        if room < self._room - 0.09:
            self._room = max(room, self._room - 0.2)
            self._good = 0
        elif room > self._room + 0.09:
            self._good += 1
            if self._good >= PATIENCE:
                self._room = min(room, self._room + 0.1)
        else:
            self._good = 0
            if room == 1.0:
                self._room = 1.0
        self.slots = max(1, round(self._all * self._room))
