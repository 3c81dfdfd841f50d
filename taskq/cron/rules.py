"""When a schedule ticks: cron lines and intervals. Pure; times are Unix ms, on whole seconds.

What a cron line means, also where clocks change, is cronsim's knowledge: that of Debian's cron.
"""

from __future__ import annotations

import itertools
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TypeAlias

from cronsim import CronSim, CronSimError

from taskq.errors import InvalidOption
from taskq.options import LONGEST

#: The longest cron line that is read, characters.
MOST_CHARACTERS = 200
#: How far back the newest tick is looked for at first, ms.
_WINDOW = 60_000


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron line of five fields, or six with seconds first, read in the time zone `tz`."""

    line: str
    tz: str = "UTC"

    def __str__(self) -> str:
        return f"cron {self.line!r} {self.tz}"

    def after(self, ms: int) -> Iterator[int]:
        """The ticks later than `ms`, in order; it ends when there is none for 50 years."""
        start = datetime.fromtimestamp(ms // 1000, zone_of(self.tz))
        last = ms
        for moment in CronSim(self.line, start):
            tick = round(moment.timestamp()) * 1000
            # In the hour that a clock repeats, lines with a fixed time begin with ticks of its
            # first round, which have been.
            if tick > last:
                yield tick
                last = tick

    def latest(self, due: int, now: int) -> int:
        """The newest tick up to `now`; `due` is one."""
        width = _WINDOW
        while True:
            start = max(due, now - width)
            newest = None
            for tick in self.after(start):
                if tick > now:
                    break
                newest = tick
            if newest is not None or start == due:
                return newest or due
            width *= 4


@dataclass(frozen=True, slots=True)
class Every:
    """A tick every so many seconds, counted from the beginning of 1970 UTC: every 30 s is at :00
    and :30 for whoever computes it.
    """

    seconds: int

    def __str__(self) -> str:
        return f"every {self.seconds} s"

    def after(self, ms: int) -> Iterator[int]:
        """The ticks later than `ms`, in order."""
        step = self.seconds * 1000
        return itertools.count((ms // step + 1) * step, step)

    def latest(self, due: int, now: int) -> int:
        """The newest tick up to `now`; `due` is one."""
        step = self.seconds * 1000
        return max(due, now // step * step)


Rule: TypeAlias = Cron | Every


def next_tick(rule: Rule, after_ms: int) -> int | None:
    """The first tick later than that; None when there is none any more."""
    return next(iter(rule.after(after_ms)), None)


def zone_of(name: str) -> tzinfo:
    """The time zone of that name; InvalidOption when this machine does not know it."""
    if name == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidOption(
            f"tz={_shown(name)}: no such time zone here; use a name as 'Europe/Rome' or 'UTC'"
            " (a machine without time zones needs `pip install tzdata`)"
        ) from None


def cron_rule(line: object, tz: object = "UTC") -> Cron:
    """A rule from what a user gave; InvalidOption, in one line, when it would never tick."""
    checked = cron_line(line)
    if not isinstance(tz, str) or not tz:
        raise InvalidOption(f"tz={_shown(tz)}: use a name as 'Europe/Rome'")
    zone_of(tz)
    return Cron(checked, tz)


def cron_line(line: object) -> str:
    """A line that ticks, one blank between its fields; else InvalidOption."""
    if not isinstance(line, str):
        raise InvalidOption(f"cron {_shown(line)}: use text, as '0 9 * * mon-fri'")
    fields = line.split()
    if len(line) > MOST_CHARACTERS or len(fields) not in (5, 6):
        count = f"{len(fields)} fields" if len(line) <= MOST_CHARACTERS else "too long"
        raise InvalidOption(
            f"cron {_shown(line)}: {count}; use five: minute hour day-of-month month day-of-week"
            " (six with the second first)"
        )
    checked = " ".join(fields)
    try:
        # From a leap year's beginning: what ticks at all does so within 50 years.
        first = next_tick(Cron(checked), 946_684_800_000)
    except CronSimError as error:
        raise InvalidOption(f"cron {_shown(line)}: {str(error).lower()}") from None
    except Exception as error:  # its parser was not made for every nonsense
        raise InvalidOption(f"cron {_shown(line)}: not understood ({error})") from None
    if first is None:
        raise InvalidOption(f"cron {_shown(line)}: no day is ever like that")
    return checked


def every_rule(span: object) -> Every:
    """An interval from seconds or a timedelta; InvalidOption otherwise."""
    value = span.total_seconds() if isinstance(span, timedelta) else span
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and 1 <= value <= LONGEST and value == int(value):  # type: ignore[operator, call-overload]
        return Every(int(value))  # type: ignore[call-overload]
    raise InvalidOption(
        f"every {_shown(span)}: use whole seconds from 1 to {LONGEST:.0f}, or a timedelta of them"
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
