"""`Limit`: how many jobs of a kind run at a time, and how many start in a second, over all workers.

Its definition is one line of words, which the scripts read; docs/limits.md describes what it does.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from taskq.errors import InvalidOption
from taskq.template import check_template, fields_of

#: Limits one job may be under, at most.
MOST = 10
#: Names that begin like this are taskq's own: pauses, and unique keys that wait for a run to end.
RESERVED = ("pause:", "key:")

_UNITS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_RATE = re.compile(r" *(\d{1,9}(?:\.\d{1,6})?) */ *(\d{0,6}) *(s|sec|min|m|h|d) *", re.ASCII)
_LONGEST_US = 366 * 86400 * 1_000_000
#: Without `burst`, so many seconds' worth may start at once: workers are woken by the ms.
_SLACK = 0.1


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `concurrency` jobs at a time, and at most `rate` starts: `"100/s"`, `"5/min"`,
    `"1/10s"`, or a number for each second. `burst`: starts that may come at once.

    `name` counts all that share it, within one queue; with fields, as in `"tenant:{tenant}"`, each
    value of that argument is counted apart.
    """

    name: str
    concurrency: int | None = None
    rate: str | float | None = None
    burst: int | None = None

    def __post_init__(self) -> None:
        check_template(self.name, "limit")
        if self.name.startswith(RESERVED):
            raise InvalidOption(f"limit {self.name!r}: names with pause: and key: are taskq's own")
        if self.concurrency is None and self.rate is None:
            raise InvalidOption(f"limit {self.name!r}: give concurrency= or rate=, or both")
        if self.concurrency is not None:
            _whole(self.name, "concurrency", self.concurrency)
        if self.burst is not None:
            _whole(self.name, "burst", self.burst)
            if self.rate is None:
                raise InvalidOption(f"limit {self.name!r}: burst= belongs to rate=")
        if self.rate is not None:
            every_us(self.name, self.rate)

    @property
    def plain(self) -> bool:
        """Is it one limit, the same for every call?"""
        return not fields_of(self.name)

    def words(self, on: str) -> str:
        """The definition as the scripts read it. `on`: the jobs it is for, `queue`, `task.<name>`,
        `group.<name>`, or `job` for those that name it.
        """
        found = []
        if self.concurrency is not None:
            found.append(f"concurrency={self.concurrency}")
        if self.rate is not None:
            every = every_us(self.name, self.rate)
            burst = max(1, round(_SLACK * 1e6 / every)) if self.burst is None else self.burst
            found += [f"every_us={every}", f"burst_us={(burst - 1) * every}"]
        return " ".join([*found, f"on={on}"])


def every_us(name: str, rate: object) -> int:
    """Microseconds between two starts, rounded up; InvalidOption for what is no rate."""
    per_second = 0.0
    if isinstance(rate, str) and (found := _RATE.fullmatch(rate)):
        span = int(found[2] or 1) * _UNITS[found[3]]
        per_second = float(found[1]) / span if span else 0.0
    elif isinstance(rate, (int, float)) and not isinstance(rate, bool):
        per_second = float(rate)
    if not math.isfinite(per_second) or per_second <= 0:
        shown = ascii(rate)[:60]
        raise InvalidOption(
            f"limit {name!r}: rate={shown}:"
            " use '100/s', '5/min', '1/10s', '1000/h' or a number above 0"
        )
    every = math.ceil(round(1e6 / per_second, 3))
    if per_second > 1_000_000 or every > _LONGEST_US:
        raise InvalidOption(
            f"limit {name!r}: rate={ascii(rate)[:60]}: use at most 1,000,000/s, at least 1/366d"
        )
    return every


def _whole(name: str, what: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
        raise InvalidOption(
            f"limit {name!r}: {what}={ascii(value)[:60]}: use a whole number from 1 to 1,000,000"
        )


def check_one(name: str, kind: str) -> str:
    """Return the name of one task or group, as definitions name it; InvalidOption otherwise."""
    if fields_of(check_template(name, kind)):
        raise InvalidOption(f"{kind} {name!r} is a template: name one {kind}")
    if "=" in name:
        raise InvalidOption(f"{kind} {name!r}: a name with '=' cannot be paused or limited by it")
    return name


def check_on(on: object) -> str:
    """Return `on` if it names jobs a limit may be for; InvalidOption otherwise."""
    text = on if isinstance(on, str) else ""
    kind, _, name = text.partition(".")
    if text in ("queue", "job") or (kind in ("task", "group") and name):
        if name:
            check_one(name, kind)
        return text
    raise InvalidOption(f"on={ascii(on)[:60]}: use 'queue', 'task.<name>', 'group.<name>' or 'job'")


def check_limits(value: object) -> tuple[Limit, ...]:
    """Several limits, for an option; InvalidOption when they are none, too many, or one name means
    two things.
    """
    if isinstance(value, Limit):
        value = (value,)
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, Limit) for one in value):
        raise InvalidOption(f"limits={ascii(value)[:60]}: use a list of Limit(...)")
    if len(value) > MOST:
        raise InvalidOption(f"limits={len(value)} of them: use at most {MOST}")
    names = [limit.name for limit in value]
    for name in names:
        if names.count(name) > 1:
            raise InvalidOption(f"limits={name!r} was given twice: one name is one limit")
    return tuple(value)


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition read back from Redis."""

    name: str
    concurrency: int | None
    every_us: int | None
    burst: int | None
    on: str
    by_hand: bool

    @classmethod
    def read(cls, name: str, text: str) -> Definition:
        """Read one as the scripts do: what is not understood is not there."""
        words = dict(word.partition("=")[::2] for word in text.split())

        def number(key: str) -> int | None:
            value = words.get(key, "")
            return int(value) if value.isdecimal() and len(value) < 16 else None

        every = number("every_us")
        burst = None if not every else (number("burst_us") or 0) // every + 1
        return cls(
            name=name,
            concurrency=number("concurrency"),
            every_us=every,
            burst=burst,
            on=words.get("on", ""),
            by_hand=words.get("by") == "hand",
        )

    @property
    def rate(self) -> str | None:
        """The rate for people: `100/s`, `5/min`."""
        if not self.every_us:
            return None
        for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)):
            count = seconds * 1e6 / self.every_us
            if count >= 0.9999:
                return (
                    f"{count:.4g}/{unit}"
                    if abs(count - round(count)) > 1e-3
                    else f"{count:.0f}/{unit}"
                )
        return f"1/{self.every_us / 1e6:.0f}s"
