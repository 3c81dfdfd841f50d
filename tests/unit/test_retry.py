"""taskq.retry: when a failed job runs again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.errors import InvalidOption
from taskq.retry import (
    DEFAULT_BACKOFF,
    Backoff,
    backoff_from_text,
    backoff_to_text,
    check_backoff,
    delay_for,
    error_names,
    may_retry,
)

ERROR = ValueError("no")
SECONDS = st.floats(0, 366 * 86400, allow_nan=False)
RULES = (
    SECONDS
    | st.lists(SECONDS, min_size=1, max_size=8).map(tuple)
    | st.builds(Backoff, base=SECONDS, factor=SECONDS, cap=SECONDS, jitter=st.booleans())
)


def full() -> float:
    return 1.0


def test_delays_double_up_to_the_cap() -> None:
    delays = [DEFAULT_BACKOFF.delay(attempt, full) for attempt in range(1, 12)]

    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600]


def test_full_jitter_draws_between_nothing_and_the_step() -> None:
    assert DEFAULT_BACKOFF.delay(3, lambda: 0.0) == 0
    assert DEFAULT_BACKOFF.delay(3, lambda: 0.25) == 1
    assert {0 <= DEFAULT_BACKOFF.delay(3) <= 4 for _ in range(100)} == {True}


def test_without_jitter_the_step_itself() -> None:
    assert Backoff(base=3, factor=1, jitter=False).delay(9) == 3


def test_a_huge_attempt_is_the_cap() -> None:
    assert Backoff(cap=7, jitter=False).delay(10**6) == 7


@pytest.mark.parametrize("name", ["base", "factor", "cap"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1", None, True, 1e12])
def test_a_backoff_of_bad_numbers_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidOption, match=f"Backoff\\({name}="):
        Backoff(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rule", [-1, math.nan, math.inf, "5 minutes", None, True, [], [1, -1], [1, "2"], {}]
)
def test_a_rule_that_is_none_is_refused(rule: object) -> None:
    with pytest.raises(InvalidOption, match="backoff="):
        check_backoff(rule)


@pytest.mark.parametrize(
    ("rule", "delays"),
    [
        (5, [5, 5, 5]),
        (0, [0, 0, 0]),
        ([1, 2.5], [1, 2.5, 2.5]),
        (lambda attempt, error: attempt * 10, [10, 20, 30]),
    ],
)
def test_constants_lists_and_callables(rule: Any, delays: list[float]) -> None:
    checked = check_backoff(rule)

    assert [delay_for(checked, attempt, ERROR) for attempt in (1, 2, 3)] == delays


def test_a_callable_sees_the_attempt_and_the_error() -> None:
    seen = []

    delay_for(lambda *words: seen.append(words) or 1, 4, ERROR)  # type: ignore[func-returns-value]

    assert seen == [(4, ERROR)]


@pytest.mark.parametrize("answer", [None, -1, math.nan, "soon"])
def test_a_callable_that_answers_nonsense_falls_back_to_the_default(answer: object) -> None:
    rule: Callable[..., Any] = lambda attempt, error: answer  # noqa: E731

    assert delay_for(rule, 3, ERROR, full) == 4


@given(RULES, st.integers(1, 30))
def test_a_rule_that_travelled_as_text_gives_the_same_delays(rule: Any, attempt: int) -> None:
    travelled = backoff_from_text(backoff_to_text(rule))

    assert delay_for(travelled, attempt, ERROR, full) == delay_for(rule, attempt, ERROR, full)


@pytest.mark.parametrize(
    "text",
    ["", "x", "list", "list a", "exponential 1", "exponential -1 2 3", "list -1", "steps nan 1 1"],
)
def test_text_that_is_no_rule_is_the_default(text: str) -> None:
    assert backoff_from_text(text) == DEFAULT_BACKOFF


def test_a_callable_cannot_travel() -> None:
    with pytest.raises(InvalidOption, match="a callable belongs on the task"):
        backoff_to_text(lambda attempt, error: 1.0)


def test_classes_are_named_and_their_subclasses_match() -> None:
    names = error_names((OSError, ValueError))

    assert names == ("builtins.OSError", "builtins.ValueError")
    assert error_names(OSError) == ("builtins.OSError",)
    assert may_retry(ConnectionResetError(), names)
    assert not may_retry(KeyError(), names)
    assert may_retry(KeyError(), ())


@pytest.mark.parametrize("errors", ["OSError", OSError(), [OSError, "x"], int, None, 5])
def test_what_is_no_exception_class_is_refused(errors: object) -> None:
    with pytest.raises(InvalidOption, match="is not an exception class"):
        error_names(errors)
