"""When a failed job runs again: pure rules, no I/O.

Exponential with full jitter (`Backoff`), a constant, a list, or a callable `(attempt, error) ->
seconds`. All but the callable can be written as text, so a job can carry its own rule to the
worker.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from taskq.errors import InvalidOption


def _is_seconds(value: object) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 <= value <= 366 * 86400
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff: `base * factor ** (attempt - 1)` seconds, at most `cap`.

    With `jitter` (default) the delay is drawn evenly between 0 and that: failures that came
    together part ways.
    """

    base: float = 1.0
    factor: float = 2.0
    cap: float = 600.0
    jitter: bool = True

    def __post_init__(self) -> None:
        for name in ("base", "factor", "cap"):
            value = getattr(self, name)
            if not _is_seconds(value):
                raise InvalidOption(f"Backoff({name}={value!r}): a number >= 0 is needed")

    def delay(self, attempt: int, draw: Callable[[], float] = random.random) -> float:
        """Seconds until run `attempt + 1`; `attempt` failures so far, 1 or more."""
        try:
            most = min(self.cap, self.base * self.factor ** (attempt - 1))
        except OverflowError:
            most = self.cap
        return most * draw() if self.jitter else most


BackoffRule: TypeAlias = (
    Backoff | float | int | Sequence[float] | Callable[[int, BaseException], float]
)
DEFAULT_BACKOFF = Backoff()


def check_backoff(rule: object) -> BackoffRule:
    """Return `rule` if it is one; InvalidOption otherwise."""
    if isinstance(rule, Backoff) or callable(rule) or _is_seconds(rule):
        return rule  # type: ignore[return-value]
    if isinstance(rule, (list, tuple)) and rule and all(_is_seconds(item) for item in rule):
        return tuple(rule)
    raise InvalidOption(
        f"backoff={rule!r}: use seconds, a list of seconds, Backoff(...)"
        " or a callable(attempt, error)"
    )


def backoff_to_text(rule: BackoffRule) -> str:
    """`rule` as text for the wire; InvalidOption for a callable, which cannot travel."""
    if isinstance(rule, Backoff):
        kind = "exponential" if rule.jitter else "steps"
        return f"{kind} {rule.base!r} {rule.factor!r} {rule.cap!r}"
    if isinstance(rule, (int, float)):
        return f"list {rule!r}"
    if callable(rule):
        raise InvalidOption(
            "backoff: a callable belongs on the task (@app.task(backoff=...)), not on one job"
        )
    return "list " + " ".join(repr(item) for item in rule)


def backoff_from_text(text: str) -> BackoffRule:
    """The rule that `backoff_to_text` wrote; the default one when the text is not understood."""
    kind, *numbers = text.split() or [""]
    try:
        values = [float(number) for number in numbers]
        if kind in ("exponential", "steps"):
            base, factor, cap = values
            return Backoff(base=base, factor=factor, cap=cap, jitter=kind == "exponential")
        if kind == "list" and values:
            return check_backoff(tuple(values))
    except ValueError:
        pass
    return DEFAULT_BACKOFF


def delay_for(
    rule: BackoffRule,
    attempt: int,
    error: BaseException,
    draw: Callable[[], float] = random.random,
) -> float:
    """Seconds to wait after failure number `attempt` (1 or more). A list's last entry repeats."""
    if isinstance(rule, Backoff):
        return rule.delay(attempt, draw)
    if isinstance(rule, (int, float)):
        return float(rule)
    if callable(rule):
        delay = rule(attempt, error)
        return float(delay) if _is_seconds(delay) else DEFAULT_BACKOFF.delay(attempt, draw)
    return float(rule[min(attempt, len(rule)) - 1])


def error_names(errors: object) -> tuple[str, ...]:
    """Full names of exception classes, for `retry_on`; InvalidOption for anything else."""
    listed = (
        errors
        if isinstance(errors, Iterable) and not isinstance(errors, (str, bytes))
        else (errors,)
    )
    names = []
    for error in listed:
        if not (isinstance(error, type) and issubclass(error, BaseException)):
            raise InvalidOption(f"retry_on: {error!r} is not an exception class")
        names.append(f"{error.__module__}.{error.__qualname__}")
    return tuple(names)


def may_retry(error: BaseException, names: Sequence[str]) -> bool:
    """True when `error` is of one of the named classes, or no names are given."""
    if not names:
        return True
    return any(f"{cls.__module__}.{cls.__qualname__}" in names for cls in type(error).__mro__)
