"""What is to be done about a schedule whose tick is due. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from taskq.cron.rules import next_tick
from taskq.cron.schedule import Schedule

#: A tick that is later than this was missed, ms: nobody could fire it in time.
GRACE_MS = 60_000
#: Ticks of one schedule that are fired in one go.
MOST = 100


class Step(NamedTuple):
    """Enqueue the job of `tick` (None: nothing), where the timer stands at `due`, and move it on to
    `following` (None: never). All Unix ms.
    """

    tick: int | None
    due: int
    following: int | None


def steps(schedule: Schedule, due: int, now: int) -> Iterator[Step]:
    """What brings a due schedule up to `now`, in order. With `missed="all"` it may take several
    calls: 100 ticks at a time.
    """
    if schedule.missed == "all":
        yield from itertools.islice(_each(schedule, due, now), MOST)
        return
    newest = schedule.rule.latest(due, now)
    in_time = now - newest <= GRACE_MS
    tick = newest if in_time or schedule.missed == "once" else None
    yield Step(tick, due, next_tick(schedule.rule, now))


def _each(schedule: Schedule, due: int, now: int) -> Iterator[Step]:
    following = schedule.rule.after(due)
    while due <= now:
        later = next(following, None)
        yield Step(due, due, later)
        if later is None:
            return
        due = later
