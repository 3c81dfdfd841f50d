"""taskq.options: what may be given for a task and for a call."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from taskq.errors import InvalidName, InvalidOption, TaskqError
from taskq.limit import Limit
from taskq.options import NOTHING, Options, checked, checked_for_call
from taskq.retry import Backoff

ONE = Limit("a", concurrency=1)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

BAD: dict[str, list[object]] = {
    "queue": ["", "a b", "a:b", "{a", "x" * 65, 5],
    "id": ["", "a b", "a:b", "*", "x" * 65, 5],
    "priority": ["high", 1.5, -1, 10, 10**9, math.nan, True, "5"],
    "delay": [-5, math.inf, math.nan, "5 minutes", True, 10**12],
    "at": [
        "tomorrow",
        5,
        datetime(2026, 1, 1),
        datetime(9999, 1, 1, tzinfo=UTC),
        datetime(1, 1, 2, tzinfo=UTC),
    ],
    "deadline": [0, -1, math.inf, "soon", datetime(2026, 1, 1), True],
    "on_miss": ["skip", 1, ["run"]],
    "timeout": [0, -1, math.inf, math.nan, "30", False],
    "retries": [-1, 10**9, 1.0, "3", True],
    "backoff": ["fast", -1, [], {1}],
    "retry_on": ["ValueError", 5, [ValueError, "x"]],
    "result_ttl": [-1, math.nan, "1h"],
    "requires": [
        *(5, {"gpu": 1}, ["a b"], ["a:b"], [""], ["process"], "fragile", {"a+b"}, ["task.x"]),
        *(["x" * 33], ["a="], [b"gpu"], [f"label-{number}" for number in range(20)]),
    ],
    "cost": [0, -1, 10_001, 1.5, True, "2"],
    "headers": ["x", {"a b": "c"}, {"a": 1}, {1: "a"}, {"": "a"}],
    "limits": ["a", ["a"], [ONE, ONE], [ONE] * 11, {"a": 1}],
    "group": ["", "a b", "a|b", "{", "{a b}", "x" * 101, 5],
    "key": ["", "a b", "a|b", "}", "x" * 201, 5, ["a"]],
    "unique": ["always", 0, -1, math.nan, math.inf, True, ["queued"]],
    "on_duplicate": ["drop", 1, ["keep"]],
    "admit": ["maybe", True, ["warn"]],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values], ids=repr
)
def test_a_bad_value_is_refused_in_one_line_that_names_the_option(name: str, value: object) -> None:
    with pytest.raises((InvalidOption, InvalidName)) as caught:
        checked({name: value})

    message = str(caught.value)
    assert name in message.replace("job id", "id")
    assert "\n" not in message
    assert len(message) < 300
    assert isinstance(caught.value, TaskqError)


GOOD: dict[str, list[Any]] = {
    "queue": ["mail", "x" * 64],
    "id": ["order-17"],
    "priority": [0, 5, 9],
    "delay": [0.5, 3600, 0],
    "at": [NOW, NOW.astimezone(timezone(timedelta(hours=9))), datetime(1970, 1, 1, tzinfo=UTC)],
    "deadline": [0.001, 10, NOW],
    "on_miss": ["expire", "run"],
    "timeout": [0.1, 86400],
    "retries": [0, 10_000],
    "backoff": [3, (1, 2), Backoff(base=2)],
    "result_ttl": [0, 1.5],
    "headers": [{}, {"trace": "x"}],
    "limits": [(), (ONE, Limit("b:{x}", rate="5/min"))],
    "group": ["acme", "{tenant}", "x" * 100],
    "key": ["report:{day}", "k" * 200],
    "unique": ["queued", "running", 0.5, 3600],
    "on_duplicate": ["keep", "replace", "extend"],
    "admit": ["warn", "reject"],
    "requires": [(), ("gpu",), ("gpu", "region=eu-1.b"), ("x" * 32 + "=" + "y" * 32,)],
    "cost": [1, 10_000],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in GOOD.items() for value in values],
    ids=repr,
)
def test_a_good_value_is_kept(name: str, value: object) -> None:
    assert getattr(checked({name: value}), name) == value


def test_every_option_has_good_and_bad_examples_here() -> None:
    fields = set(Options.__slots__)

    assert set(BAD) == fields
    assert {*GOOD, "retry_on"} == fields


def test_an_unknown_option_is_named_with_the_known_ones() -> None:
    with pytest.raises(
        InvalidOption, match="unknown option 'prio': the options are queue, priority"
    ):
        checked({"prio": 1})


def test_delay_and_at_exclude_each_other() -> None:
    with pytest.raises(InvalidOption, match="delay and at were both given"):
        checked({"delay": 1, "at": NOW})


def test_required_labels_come_as_any_collection_or_as_one_label() -> None:
    assert checked({"requires": {"region=eu", "gpu"}}).requires == ("gpu", "region=eu")
    assert checked({"requires": ["gpu", "gpu"]}).requires == ("gpu",)
    assert checked({"requires": "gpu"}).requires == ("gpu",)


def test_a_call_can_require_nothing_of_what_its_task_requires() -> None:
    assert checked({"requires": "gpu"}).merged(checked({"requires": ()})).requires == ()


def test_none_is_not_given() -> None:
    assert checked({"delay": None, "deadline": None}) is NOTHING


def test_a_call_goes_before_the_task() -> None:
    task = checked({"priority": 3, "timeout": 9, "retries": 1})

    merged = task.merged(checked({"priority": 9, "result_ttl": 0}))

    assert merged == checked({"priority": 9, "timeout": 9, "retries": 1, "result_ttl": 0})
    assert task.merged(NOTHING) is task


def test_a_time_replaces_a_delay_and_the_other_way_round() -> None:
    delayed, timed = checked({"delay": 5}), checked({"at": NOW})

    assert delayed.merged(timed) == timed
    assert timed.merged(delayed) == delayed


@pytest.mark.parametrize(
    ("words", "at", "deadline"),
    [
        ({}, "", ""),
        ({"delay": 1.5, "deadline": 10}, "+1500", "+10000"),
        ({"delay": 0}, "", ""),
        ({"at": NOW, "deadline": NOW}, "1795435200000", "1795435200000"),
        ({"at": NOW.astimezone(timezone(timedelta(hours=-7)))}, "1795435200000", ""),
    ],
)
def test_times_travel_as_whole_milliseconds(
    words: dict[str, object], at: str, deadline: str
) -> None:
    options = checked(words)

    assert (options.at_word(), options.deadline_word()) == (at, deadline)


def test_what_the_worker_must_obey_travels_with_the_job() -> None:
    words = {
        "timeout": 1.5,
        "retries": 0,
        "backoff": (1, 2),
        "retry_on": OSError,
        "result_ttl": 0,
        "on_miss": "run",
    }

    assert checked(words).extras() == (
        *("on_miss", "run", "timeout_ms", 1500, "retries", 0, "backoff", "list 1 2"),
        *("retry_on", "builtins.OSError", "result_ttl_ms", 0),
    )
    assert NOTHING.extras() == ()


def test_a_callable_backoff_belongs_on_the_task() -> None:
    rule = {"backoff": lambda attempt, error: 1.0}

    assert checked(rule).backoff is rule["backoff"]
    with pytest.raises(InvalidOption, match="a callable belongs on the task"):
        checked_for_call(rule)
