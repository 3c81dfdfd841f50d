"""taskq/cron/rules.py: when cron lines and intervals tick, also where clocks change."""

from __future__ import annotations

import itertools
import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.cron.rules import Cron, Every, cron_rule, every_rule, next_tick, zone_of
from taskq.errors import InvalidOption

ROME = zoneinfo.ZoneInfo("Europe/Rome")


def ms(*when: int, zone: object = UTC, fold: int = 0) -> int:
    moment = datetime(*when, tzinfo=zone, fold=fold)  # type: ignore[arg-type,misc]
    return round(moment.timestamp() * 1000)


def rome(line: str, *start: int, count: int = 3, fold: int = 0) -> list[str]:
    """Ticks after a local time in Rome, with the offset of the clock then."""
    ticks = Cron(line, "Europe/Rome").after(ms(*start, zone=ROME, fold=fold))
    moments = (datetime.fromtimestamp(tick / 1000, ROME) for tick in itertools.islice(ticks, count))
    return [f"{moment:%d %H:%M} +{moment.utcoffset()}"[:-6] for moment in moments]


def test_a_line_is_read_in_its_time_zone() -> None:
    line = cron_rule("0 9 * * mon-fri", "Europe/Rome")
    friday = ms(2026, 11, 27, 8, 0)  # 9:00 in Rome

    assert next_tick(line, friday - 1) == friday
    assert next_tick(line, friday) == ms(2026, 11, 30, 8, 0)
    assert next_tick(cron_rule("0 9 * * mon-fri"), friday) == ms(2026, 11, 27, 9, 0)


def test_ticks_are_later_than_the_time_asked_for_to_the_millisecond() -> None:
    minute = ms(2026, 1, 1, 0, 1)

    assert next_tick(Cron("* * * * *"), minute - 1) == minute
    assert next_tick(Cron("* * * * *"), minute) == minute + 60_000
    assert next_tick(Cron("* * * * *"), minute + 1) == minute + 60_000
    assert next_tick(Every(60), minute - 1) == minute
    assert next_tick(Every(60), minute) == minute + 60_000
    assert next_tick(Every(60), minute + 1) == minute + 60_000


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("0 0 * * fri#2", (2026, 1, 9)),
        ("0 0 * * 5L", (2026, 1, 30)),
        ("0 0 L * *", (2026, 1, 31)),
        ("0 0 * feb *", (2026, 2, 1)),
        ("0 0 13 * sun", (2026, 1, 4)),
        ("0 0 3 * sun", (2026, 1, 3)),
        ("30 0 0 2 * *", (2026, 1, 2, 0, 0, 30)),
    ],
)
def test_what_cron_lines_can_say(line: str, first: tuple[int, ...]) -> None:
    assert next_tick(cron_rule(line), ms(2026, 1, 1, 0, 1)) == ms(*first)


# In Rome on 29 March 2026 there is no time from 2:00 to 3:00; on 25 October 2026 it comes twice.


def test_a_fixed_time_that_the_spring_leaves_out_ticks_once_when_the_gap_ends() -> None:
    assert rome("30 2 * * *", 2026, 3, 28, 12, 0) == ["29 03:00 +2", "30 02:30 +2", "31 02:30 +2"]
    assert rome("0-59/20 2 * * *", 2026, 3, 29, 1, 0)[:2] == ["29 03:00 +2", "30 02:00 +2"]


def test_two_fixed_times_of_which_the_gap_swallows_one_do_not_tick_twice_at_its_end() -> None:
    assert rome("0 2,3 * * *", 2026, 3, 29, 1, 0, count=2) == ["29 03:00 +2", "30 02:00 +2"]


def test_a_fixed_time_that_the_autumn_repeats_ticks_once_in_its_first_round() -> None:
    assert rome("30 2 * * *", 2026, 10, 24, 12, 0) == ["25 02:30 +2", "26 02:30 +1", "27 02:30 +1"]


def test_a_fixed_time_does_not_tick_again_for_who_looks_in_the_second_round() -> None:
    assert rome("30 2 * * *", 2026, 10, 25, 2, 15, count=1, fold=1) == ["26 02:30 +1"]
    assert rome("0-59 2 * * *", 2026, 10, 25, 2, 15, count=1, fold=1) == ["26 02:00 +1"]


def test_lines_with_a_star_keep_their_rhythm_through_both_changes() -> None:
    assert rome("*/30 * * * *", 2026, 3, 29, 1, 15) == ["29 01:30 +1", "29 03:00 +2", "29 03:30 +2"]
    assert rome("0 * * * *", 2026, 10, 25, 1, 30, count=4) == [
        "25 02:00 +2",
        "25 02:00 +1",
        "25 03:00 +1",
        "25 04:00 +1",
    ]


def test_intervals_know_nothing_of_clocks() -> None:
    start = ms(2026, 3, 29, 0, 30)
    ticks = list(itertools.islice(Every(1800).after(start), 4))

    assert [tick - start for tick in ticks] == [1_800_000, 3_600_000, 5_400_000, 7_200_000]


def test_an_interval_ticks_at_the_same_times_for_everybody() -> None:
    assert next_tick(Every(30), ms(2026, 5, 1, 10, 0, 7)) == ms(2026, 5, 1, 10, 0, 30)
    assert next_tick(every_rule(timedelta(days=1)), ms(2026, 5, 1, 10)) == ms(2026, 5, 2)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("* * * *", "4 fields; use five"),
        ("* * * * * * *", "7 fields"),
        ("", "0 fields"),
        ("@daily", "1 fields"),
        ("61 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 0 31 4,6 *", "bad day-of-month"),
        ("0 0 0 * *", "bad day-of-month"),
        ("0 0 * 13 *", "bad month"),
        ("0 0 * * mon-dim", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("² * * * *", "bad minute"),
        ("* * */20 * 1L", "no day is ever like that"),
        ("0,0 * * * * " + ",".join(["0"] * 200), "too long"),
        (12, "use text"),
        (None, "use text"),
    ],
)
def test_a_line_that_never_ticks_is_refused_in_one_line(line: object, problem: str) -> None:
    with pytest.raises(InvalidOption, match=problem) as caught:
        cron_rule(line)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "tz",
    ["Mars/Base", "../etc/passwd", "/etc/localtime", "", "Europe/Rome\0", "A" * 300, "Europe", 5],
    ids=range(8),
)
def test_a_time_zone_that_there_is_not_is_refused_in_one_line(tz: object) -> None:
    with pytest.raises(InvalidOption, match=r"^tz=.*: ") as caught:
        cron_rule("0 0 * * *", tz)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_utc_needs_no_files() -> None:
    assert zone_of("UTC") is UTC


@pytest.mark.parametrize(
    "span", [0, -1, 0.5, 1.5, True, "30", None, float("nan"), float("inf"), timedelta(0), 10**10],
    ids=str,
)  # fmt: skip
def test_an_interval_is_whole_seconds(span: object) -> None:
    with pytest.raises(InvalidOption, match="use whole seconds"):
        every_rule(span)


def test_intervals_are_given_as_seconds_or_as_a_timedelta() -> None:
    assert every_rule(30) == every_rule(30.0) == every_rule(timedelta(seconds=30)) == Every(30)


LINES = st.sampled_from(
    ["* * * * *", "*/7 3 * * *", "0 9 * * mon-fri", "30 2 * * *", "0 0 1 * *", "*/20 * 9 * * *",
     "0 0 29 2 *", "15,45 1-3 * * sun", "0 12 L * *"]
)  # fmt: skip
TIMES = st.integers(ms(2024, 1, 1), ms(2030, 1, 1))


@given(LINES, TIMES, st.integers(0, 3 * 86_400_000))
def test_the_newest_tick_is_the_last_of_all_ticks_up_to_now(
    line: str, start: int, later: int
) -> None:
    rule = Cron(line, "Europe/Rome")
    due = next_tick(rule, start)
    assert due is not None
    now = due + later
    ticks = list(itertools.takewhile(lambda tick: tick <= now, rule.after(due)))

    assert rule.latest(due, now) == (ticks[-1] if ticks else due)


@given(LINES, TIMES)
def test_ticks_only_go_forward_and_do_not_depend_on_when_one_begins_to_count(
    line: str, start: int
) -> None:
    rule = Cron(line, "Europe/Rome")
    first, second, third = itertools.islice(rule.after(start), 3)

    assert start < first < second < third
    assert all(tick % 1000 == 0 for tick in (first, second, third))
    assert next_tick(rule, first) == second
    assert next_tick(rule, second - 1) == second


@given(st.integers(1, 100_000), TIMES, st.integers(0, 10**9))
def test_the_newest_tick_of_an_interval(step: int, start: int, later: int) -> None:
    rule = Every(step)
    due = next_tick(rule, start)
    assert due is not None

    newest = rule.latest(due, due + later)

    assert due <= newest <= due + later < newest + step * 1000
    assert newest % (step * 1000) == 0


@given(st.text(alphabet="0123456789*/,-#L W?monAS²", max_size=20))
def test_whatever_the_text_it_is_a_line_or_an_invalid_option(text: str) -> None:
    try:
        rule = cron_rule(f"{text} * * * *")
    except InvalidOption:
        return
    assert next_tick(rule, 0) is not None
