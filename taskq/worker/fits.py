"""Jobs that cost more slots than are free: when a worker looks at them again. No I/O.

Claims leave such a job behind again and again, and each passes a wake token on, as another worker
may have room. So that this becomes no spin, in one worker or between several that are all too full,
a queue whose claims bring none of what waits is looked at when a slot becomes free, and else after
a pause that grows.
"""

from __future__ import annotations

from taskq.worker.line import Line

#: Claims in a row that leave jobs behind and bring none, before there are pauses: the jobs may as
#: well have missed their deadlines.
LOOKS = 2
#: The longest pause between two looks, s.
LONGEST_PAUSE = 0.1


def pause_of(line: Line) -> float:
    """How long to leave a queue alone that was just looked at, s."""
    return min(LONGEST_PAUSE, 0.005 * 2**line.barren) if line.barren > LOOKS else 0.0


class Fits:
    """The lines of a worker with jobs that did not fit."""

    def __init__(self) -> None:
        self._tight: dict[Line, int] = {}
        """How many slots were taken then."""

    def note(self, line: Line, taken: int) -> float:
        """A claim brought none of the jobs that wait, while so many slots are taken: how long to
        wait before the next, s.
        """
        line.barren = line.barren + 1 if taken else 0
        pause = pause_of(line)
        if pause:
            self._tight[line] = taken
        return pause

    def look(self, taken: int) -> None:
        """Slots may have become free: a job that did not fit may fit now."""
        for line, then in list(self._tight.items()):
            if taken < then:
                line.hot = True
                del self._tight[line]

    def __bool__(self) -> bool:
        return bool(self._tight)
