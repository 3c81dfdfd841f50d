"""Limits as values: names, rates, the words the scripts read, and what fills in a template."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid

import pytest

from taskq.errors import InvalidOption
from taskq.limit import Definition, Limit, check_limits, check_on
from taskq.template import check_template, fields_of, fill


@pytest.mark.parametrize(
    ("rate", "every"),
    [
        ("100/s", 10_000),
        ("5/min", 12_000_000),
        ("1000/h", 3_600_000),
        ("1/10s", 10_000_000),
        ("3/s", 333_334),
        (" 2 / s ", 500_000),
        ("0.5/s", 2_000_000),
        ("1/d", 86_400_000_000),
        (100, 10_000),
        (0.1, 10_000_000),
        (1_000_000, 1),
    ],
)
def test_a_rate_becomes_microseconds_between_two_starts(rate: str | float, every: int) -> None:
    words = Limit("a", rate=rate, burst=1).words("job")

    assert words == f"every_us={every} burst_us=0 on=job"


@pytest.mark.parametrize(
    "rate",
    [
        "",
        "fast",
        "/s",
        "1/",
        "1/0s",
        "0/s",
        "-1/s",
        "1/week",
        "1e3/s",
        "1/s ec",
        "\u0661/s",
        0,
        -1,
        True,
    ],
)
def test_what_is_no_rate_is_refused_in_one_line(rate: str | float) -> None:
    with pytest.raises(InvalidOption, match=r"limit 'a': rate=") as caught:
        Limit("a", rate=rate)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), 2_000_000, "1/999999d"])
def test_a_rate_out_of_reach_is_refused(rate: float) -> None:
    with pytest.raises(InvalidOption, match="rate="):
        Limit("a", rate=rate)


@pytest.mark.parametrize(("burst", "us"), [(None, 90_000), (1, 0), (10, 90_000), (100, 990_000)])
def test_a_burst_is_what_may_start_at_once(burst: int | None, us: int) -> None:
    assert Limit("a", rate="100/s", burst=burst).words("queue") == (
        f"every_us=10000 burst_us={us} on=queue"
    )


def test_slow_rates_start_one_at_a_time_unless_told_otherwise() -> None:
    assert "burst_us=0" in Limit("a", rate="5/min").words("job")


def test_concurrency_and_rate_go_together() -> None:
    assert Limit("a", 3, "1/s").words("task.t") == (
        "concurrency=3 every_us=1000000 burst_us=0 on=task.t"
    )


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "3", 1_000_001])
@pytest.mark.parametrize("word", ["concurrency", "burst"])
def test_numbers_out_of_range_are_refused(word: str, number: object) -> None:
    with pytest.raises(InvalidOption, match=f"limit 'a': {word}="):
        Limit("a", **{"rate": "1/s", word: number})  # type: ignore[arg-type]


def test_a_limit_that_limits_nothing_is_refused() -> None:
    with pytest.raises(InvalidOption, match="give concurrency= or rate="):
        Limit("a")
    with pytest.raises(InvalidOption, match="burst= belongs to rate="):
        Limit("a", concurrency=1, burst=3)


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a|b", "{", "a}", "{a b}", "{}", "a{{x}}", "é", "a\n", "x" * 101, None, 3, b"a"],
)
def test_a_name_that_cannot_be_one_is_refused_in_one_line(name: object) -> None:
    with pytest.raises(InvalidOption, match="limit ") as caught:
        Limit(name, concurrency=1)  # type: ignore[arg-type]

    assert "\n" not in str(caught.value)
    assert str(caught.value).isascii()


@pytest.mark.parametrize("name", ["pause:task.x", "key:x"])
def test_our_own_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidOption, match="taskq's own"):
        Limit(name, concurrency=1)


def test_names_may_hold_any_other_printable_character() -> None:
    assert Limit("api.example.com/v1?x=[1]:%~", concurrency=1).plain
    assert not Limit("tenant:{tenant}:{task}", concurrency=1).plain


def test_a_list_of_limits_is_checked_as_a_whole() -> None:
    one = Limit("a", concurrency=1)

    assert check_limits(one) == check_limits([one]) == (one,)
    with pytest.raises(InvalidOption, match="twice"):
        check_limits([one, Limit("a", concurrency=2)])
    with pytest.raises(InvalidOption, match="at most 10"):
        check_limits([Limit(f"a{n}", concurrency=1) for n in range(11)])
    for wrong in ("a", 3, ["a"], {"a": one}):
        with pytest.raises(InvalidOption, match=r"use a list of Limit"):
            check_limits(wrong)


@pytest.mark.parametrize(
    ("rate", "shown"),
    [("100/s", "100/s"), ("5/min", "5/min"), ("1/10s", "6/min"), ("1/2d", "1/172800s"), (3, "3/s")],
)
def test_a_definition_is_read_back_as_people_write_it(rate: str | float, shown: str) -> None:
    found = Definition.read("a", Limit("a", 3, rate, burst=2).words("task.t"))

    assert (found.concurrency, found.burst, found.on) == (3, 2, "task.t")
    assert found.rate == shown
    assert not found.by_hand


@pytest.mark.parametrize("text", ["", "x", "concurrency=-1", "concurrency=1e3 every_us=", "= =x"])
def test_a_definition_that_makes_no_sense_limits_nothing(text: str) -> None:
    found = Definition.read("a", text)

    assert (found.concurrency, found.rate, found.on) == (None, None, "")


@pytest.mark.parametrize("on", ["queue", "job", "task.send", "group.acme/eu"])
def test_a_limit_is_for_a_queue_a_task_a_group_or_those_that_name_it(on: str) -> None:
    assert check_on(on) == on


@pytest.mark.parametrize(
    "on", ["", "all", "task.", "group", "group.{x}", "group.a=b", "task.a b", 3]
)
def test_jobs_that_no_limit_can_be_for_are_refused(on: object) -> None:
    with pytest.raises(InvalidOption):
        check_on(on)


class Plan(enum.Enum):
    GOLD = "gold"


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("acme", "acme"),
        (7, "7"),
        (True, "True"),
        (1.5, "1.5"),
        (Plan.GOLD, "gold"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.date(2030, 1, 2), "2030-01-02"),
        (datetime.datetime(2030, 1, 2, 3, tzinfo=datetime.UTC), "2030-01-02T03:00:00+00:00"),
    ],
)
def test_arguments_fill_in_a_template(value: object, word: str) -> None:
    assert fill("t:{x}/{x}", "limit", lambda: {"x": value}) == f"t:{word}/{word}"


def test_a_text_without_fields_asks_for_no_arguments() -> None:
    def never() -> dict[str, object]:
        raise AssertionError("asked")

    assert fill("plain", "limit", never) == "plain"
    assert fields_of("a:{b}:{c_1}") == ("b", "c_1")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "argument x is None"),
        ("a b", "argument x is 'a b'"),
        ("", "argument x is ''"),
        ("a|b", r"argument x is 'a\|b'"),
        ("{y}", "argument x is"),
        ("é", "argument x is"),
        (["a"], "argument x is"),
        (object(), "argument x is"),
        ("y" * 101, "use at most 100 characters"),
    ],
)
def test_arguments_that_cannot_fill_in_are_named_in_one_line(value: object, problem: str) -> None:
    with pytest.raises(InvalidOption, match=problem) as caught:
        fill("{x}", "limit", lambda: {"x": value})

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_field_that_is_no_argument_is_named_with_those_there_are() -> None:
    with pytest.raises(InvalidOption, match="no argument 'tenant': it has a, task"):
        fill("t:{tenant}", "limit", lambda: {"a": 1, "task": "t"})


def test_the_length_of_a_key_is_its_own() -> None:
    assert check_template("k" * 200, "key", 200)
    with pytest.raises(InvalidOption, match="at most 200"):
        check_template("k" * 201, "key", 200)
