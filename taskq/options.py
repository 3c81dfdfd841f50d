"""The options of a task and of one call: checked when given, merged task first, call last."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict

from taskq.classes import check_labels
from taskq.errors import InvalidOption
from taskq.keys import check_name
from taskq.limit import Limit, check_limits
from taskq.retry import BackoffRule, backoff_to_text, check_backoff, error_names
from taskq.template import LONGEST_KEY, check_template

#: The longest time span an option takes, s (about ten years).
LONGEST = 3650 * 86400.0
#: Slots a job may take.
MOST_SLOTS = 10_000
Word = str | bytes | int | float


class OptionWords(TypedDict, total=False):
    """What `.options(...)` takes. Durations in seconds; times are aware datetimes."""

    queue: str
    priority: int
    deadline: float | datetime | None
    on_miss: Literal["expire", "run"]
    delay: float | None
    at: datetime | None
    timeout: float
    retries: int
    backoff: BackoffRule
    retry_on: object
    result_ttl: float
    id: str
    headers: Mapping[str, str]
    limits: Sequence[Limit]
    group: str
    key: str
    unique: Literal["queued", "running"] | float
    on_duplicate: Literal["keep", "replace", "extend"]
    admit: Literal["warn", "reject"]
    requires: Collection[str]
    cost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options that were given; None means not given. Build with `checked`."""

    queue: str | None = None
    priority: int | None = None
    deadline: float | datetime | None = None
    on_miss: str | None = None
    delay: float | None = None
    at: datetime | None = None
    timeout: float | None = None
    retries: int | None = None
    backoff: BackoffRule | None = None
    retry_on: tuple[str, ...] | None = None
    result_ttl: float | None = None
    id: str | None = None
    headers: Mapping[str, str] | None = None
    limits: tuple[Limit, ...] | None = None
    group: str | None = None
    key: str | None = None
    unique: str | float | None = None
    on_duplicate: str | None = None
    admit: str | None = None
    requires: tuple[str, ...] | None = None
    cost: int | None = None

    def merged(self, other: Options) -> Options:
        """These options with `other`'s given ones on top. A delay replaces a time, and the other
        way round.
        """
        if other is NOTHING:
            return self
        changes = {name: value for name in _NAMES if (value := getattr(other, name)) is not None}
        if "at" in changes:
            changes.setdefault("delay", None)
        if "delay" in changes and other.delay is not None:
            changes["at"] = None
        return replace(self, **changes)

    @property
    def ordered(self) -> bool:
        """Is anything given that decides who runs next, beside priority and times?"""
        return not (
            self.limits is None
            and self.group is None
            and self.key is None
            and self.unique is None
            and self.on_duplicate is None
            and self.admit is None
        )

    def extras(self) -> tuple[Word, ...]:
        """Field names and values that travel with the job, so that its worker obeys them."""
        words: list[Word] = []
        if self.on_miss == "run":
            words += ("on_miss", "run")
        if self.timeout is not None:
            words += ("timeout_ms", round(self.timeout * 1000))
        if self.retries is not None:
            words += ("retries", self.retries)
        if self.backoff is not None:
            words += ("backoff", backoff_to_text(self.backoff))
        if self.retry_on is not None:
            words += ("retry_on", " ".join(self.retry_on))
        if self.result_ttl is not None:
            words += ("result_ttl_ms", round(self.result_ttl * 1000))
        return tuple(words)

    def at_word(self) -> str:
        """When the job may start, as the enqueue script reads it."""
        if self.at is not None:
            return str(unix_ms(self.at))
        if self.delay:
            return f"+{round(self.delay * 1000)}"
        return ""

    def deadline_word(self) -> str:
        """When it must have run, as the enqueue script reads it."""
        if self.deadline is None:
            return ""
        if isinstance(self.deadline, datetime):
            return str(unix_ms(self.deadline))
        return f"+{round(self.deadline * 1000)}"


NOTHING = Options()
_NAMES = tuple(field.name for field in fields(Options))


def unix_ms(when: datetime) -> int:
    return round(when.timestamp() * 1000)


def seconds(name: str, value: object, *, least: float = 0.0, above: bool = False) -> float:
    """A span of time in seconds within `least` (exclusive with `above`) and ten years, else
    InvalidOption.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and math.isfinite(value):  # type: ignore[arg-type]
        span = float(value)  # type: ignore[arg-type]
        if (span > least if above else span >= least) and span <= LONGEST:
            return span
    sign = ">" if above else ">="
    raise InvalidOption(
        f"{name}={_show(value)}: use seconds as a number {sign} {least:g} and <= {LONGEST:g}"
    )


def whole(name: str, value: object, least: int, most: int) -> int:
    """A whole number within a range, else InvalidOption."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise InvalidOption(f"{name}={_show(value)}: use a whole number from {least} to {most}")


def moment(name: str, value: object) -> datetime:
    """An aware datetime between 1970 and 2200, else InvalidOption."""
    if not isinstance(value, datetime):
        raise InvalidOption(f"{name}={_show(value)}: use an aware datetime")
    if value.tzinfo is None or value.utcoffset() is None:
        raise InvalidOption(
            f"{name}={_show(value)}: has no time zone; use datetime.now(UTC) or add tzinfo="
        )
    if not 1970 <= value.astimezone(UTC).year < 2200:
        raise InvalidOption(f"{name}={_show(value)}: use a year from 1970 to 2199")
    return value


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _deadline(value: object) -> float | datetime:
    if isinstance(value, datetime):
        return moment("deadline", value)
    return seconds("deadline", value, above=True)


def _one_of(name: str, *choices: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            listed = ", ".join(repr(choice) for choice in choices[:-1])
            raise InvalidOption(f"{name}={_show(value)}: use {listed} or {choices[-1]!r}")
        return value

    return check


def _unique(value: object) -> str | float:
    if isinstance(value, str) and value in ("queued", "running"):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return seconds("unique", value, above=True)
    raise InvalidOption(f"unique={_show(value)}: use 'queued', 'running' or a number of seconds")


_HEADER = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidOption(f"headers={_show(value)}: use a mapping of text to text")
    for name, content in value.items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name) or not isinstance(content, str):
            raise InvalidOption(
                f"headers: {_show(name)}={_show(content)}: use short names and text values"
            )
    return dict(value)


_CHECKS: dict[str, Callable[[Any], object]] = {
    "queue": lambda value: check_name(value, "queue"),
    "priority": lambda value: whole("priority", value, 0, 9),
    "deadline": _deadline,
    "on_miss": _one_of("on_miss", "expire", "run"),
    "delay": lambda value: seconds("delay", value),
    "at": lambda value: moment("at", value),
    "timeout": lambda value: seconds("timeout", value, above=True),
    "retries": lambda value: whole("retries", value, 0, 10_000),
    "backoff": check_backoff,
    "retry_on": error_names,
    "result_ttl": lambda value: seconds("result_ttl", value),
    "id": lambda value: check_name(value, "job id"),
    "headers": _headers,
    "limits": check_limits,
    "group": lambda value: check_template(value, "group"),
    "key": lambda value: check_template(value, "key", LONGEST_KEY),
    "unique": _unique,
    "on_duplicate": _one_of("on_duplicate", "keep", "replace", "extend"),
    "admit": _one_of("admit", "warn", "reject"),
    "requires": lambda value: check_labels("requires", value),
    "cost": lambda value: whole("cost", value, 1, MOST_SLOTS),
}


def checked(words: Mapping[str, object]) -> Options:
    """Options from keyword arguments; None counts as not given. InvalidOption or InvalidName, one
    line.
    """
    given: dict[str, object] = {}
    for name, value in words.items():
        check = _CHECKS.get(name)
        if check is None:
            known = ", ".join(_CHECKS)
            raise InvalidOption(f"unknown option {name!r}: the options are {known}")
        if value is not None:
            given[name] = check(value)
    if "delay" in given and "at" in given:
        raise InvalidOption("delay and at were both given: use one of them")
    return Options(**given) if given else NOTHING  # type: ignore[arg-type]


def checked_for_call(words: Mapping[str, object]) -> Options:
    """Options of one call: as `checked`, and everything must be able to travel to the worker."""
    options = checked(words)
    if options.backoff is not None:
        backoff_to_text(options.backoff)
    return options
