"""taskq/cron: schedules as text, what is done when one is due, and what code may say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq import Context, TaskQ
from taskq.commands import NewJob
from taskq.cron.declare import ScheduleDecorator
from taskq.cron.firing import MOST, Step, steps
from taskq.cron.rules import Cron, Every
from taskq.cron.schedule import Schedule, Unreadable, tick_id
from taskq.errors import ConfigError, InvalidArguments, InvalidName, InvalidOption
from taskq.partition import partition_of

JOB = NewJob("", "t", b"\x90\xff", 7, "", "+5000", "process", ("retries", 2, "headers", b"\x80"))
MINUTE = Every(60)
T0 = 1_800_000_000_000  # a multiple of a minute


def schedule(rule: Any = MINUTE, **words: Any) -> Schedule:
    return Schedule(name="night", rule=rule, job=JOB, call="t(1)", **words)


# As text

SCHEDULES = [
    schedule(),
    schedule(Cron("0 9 * * mon-fri", "Europe/Rome"), missed="all", overlap="skip", declared=True),
    schedule(paused_ms=T0),
]


@pytest.mark.parametrize("one", SCHEDULES, ids=range(3))
def test_a_schedule_is_read_as_it_was_written(one: Schedule) -> None:
    assert Schedule.from_text("night", one.to_text()) == one


def test_its_text_tells_a_person_what_it_does() -> None:
    words = json.loads(SCHEDULES[1].to_text())

    assert words["task"] == "t"
    assert words["call"] == "t(1)"
    assert (words["cron"], words["tz"]) == ("0 9 * * mon-fri", "Europe/Rome")
    assert (words["missed"], words["overlap"]) == ("all", "skip")
    assert words["job"]["fields"]["retries"] == 2


def broken() -> Iterator[str]:
    yield from ["", "{", "[]", "null", '"x"', "{}", "\ud800"]
    good = json.loads(SCHEDULES[1].to_text())
    for name in good:
        if name != "tz":
            yield json.dumps({n: v for n, v in good.items() if n != name})
    yield json.dumps({**good, "cron": "0 9 * *"})
    yield json.dumps({**good, "cron": 5})
    yield json.dumps({**good, "tz": None})
    yield json.dumps({**good, "task": "no name"})
    yield json.dumps({**good, "missed": "never"})
    yield json.dumps({**good, "paused_ms": "x"})
    yield json.dumps({**good, "job": {**good["job"], "priority": True}})
    yield json.dumps({**good, "job": {**good["job"], "payload": {"base64": "?"}}})
    yield json.dumps({**good, "job": {**good["job"], "fields": {"a": [1]}}})
    yield json.dumps({**json.loads(schedule().to_text()), "every_seconds": 0})


@pytest.mark.parametrize("text", list(broken()), ids=lambda text: text[:40])
def test_what_is_no_schedule_is_said_to_be_none(text: str) -> None:
    with pytest.raises(Unreadable):
        Schedule.from_text("night", text)


def test_a_name_that_cannot_begin_an_id_is_no_schedule() -> None:
    with pytest.raises(Unreadable):
        Schedule.from_text("a b", schedule().to_text())


def test_words_of_a_later_version_are_let_go() -> None:
    text = json.dumps({**json.loads(schedule().to_text()), "until": 5})

    assert Schedule.from_text("night", text) == schedule()


def test_a_time_zone_that_is_unknown_here_may_be_known_to_others() -> None:
    text = json.dumps({**json.loads(SCHEDULES[1].to_text()), "tz": "Mars/Base"})

    assert Schedule.from_text("night", text).rule == Cron("0 9 * * mon-fri", "Mars/Base")


# Its jobs


def test_the_id_of_a_tick_is_its_time_in_utc() -> None:
    assert tick_id("night", T0, "mail") == "night-20270115T080000Z"


@pytest.mark.parametrize("count", [2, 7, 64])
def test_with_partitions_the_id_leads_to_the_first_where_the_schedule_is(count: int) -> None:
    ids = {tick_id("n" * 40, T0 + n * 1000, "mail", count) for n in range(100)}

    assert {partition_of("mail", one, count) for one in ids} == {"mail"}
    assert len(ids) == 100
    assert all(one.startswith("n" * 40 + "-20270115T08") and len(one) <= 64 for one in ids)


def test_a_job_has_the_schedules_options_and_what_comes_besides() -> None:
    job = schedule().new_job("x", "@tick", "night 1 2")

    assert job == JOB._replace(id="x", extras=(*JOB.extras, "@tick", "night 1 2"))


def test_without_overlap_a_job_holds_the_schedules_key_until_it_ends() -> None:
    job = schedule(overlap="skip").new_job("x")

    assert job.extras[-4:] == ("key", "cron:night", "@unique", "running keep")


# When one is due


def due(missed: str, late_s: float, rule: Any = MINUTE) -> list[Step]:
    return list(steps(schedule(rule, missed=missed), T0, T0 + round(late_s * 1000)))


@pytest.mark.parametrize("missed", ["skip", "once", "all"])
@pytest.mark.parametrize("late_s", [0, 0.001, 59.999])
def test_a_tick_in_time_is_enqueued_whatever_is_to_happen_with_missed_ones(
    missed: str, late_s: float
) -> None:
    assert due(missed, late_s) == [Step(T0, T0, T0 + 60_000)]


def test_once_enqueues_the_newest_of_those_that_were_missed_however_late() -> None:
    assert due("once", 3601, Every(600)) == [Step(T0 + 3_600_000, T0, T0 + 4_200_000)]
    assert due("once", 500, Every(3600)) == [Step(T0, T0, T0 + 3_600_000)]


def test_skip_enqueues_the_newest_only_in_time() -> None:
    assert due("skip", 60, Every(3600)) == [Step(T0, T0, T0 + 3_600_000)]
    assert due("skip", 60.001, Every(3600)) == [Step(None, T0, T0 + 3_600_000)]
    # Of a schedule that ticks often the newest is in time, though older ones were missed.
    assert due("skip", 605, Every(10)) == [Step(T0 + 600_000, T0, T0 + 610_000)]


def test_all_enqueues_each_in_order() -> None:
    assert due("all", 125) == [
        Step(T0, T0, T0 + 60_000),
        Step(T0 + 60_000, T0 + 60_000, T0 + 120_000),
        Step(T0 + 120_000, T0 + 120_000, T0 + 180_000),
    ]


def test_all_enqueues_a_bounded_number_at_a_time() -> None:
    found = due("all", 60 * 1000)

    assert len(found) == MOST
    assert found[-1] == Step(T0 + 99 * 60_000, T0 + 99 * 60_000, T0 + 100 * 60_000)


@pytest.mark.parametrize("missed", ["skip", "once", "all"])
def test_after_a_long_time_without_workers_the_clock_is_right_again(missed: str) -> None:
    """A year of minutes is gone through in no time."""
    found = due(missed, 365 * 86400, Cron("* * * * *"))

    assert found[0].due == T0
    if missed != "all":
        assert found == [Step(T0 + 365 * 86_400_000, T0, T0 + 365 * 86_400_000 + 60_000)]


# In code


@pytest.fixture
def app() -> TaskQ:
    return TaskQ()


def test_a_decorated_task_stays_what_it_is_and_gets_its_schedules(app: TaskQ) -> None:
    @app.every(timedelta(hours=1), name="hourly", queue="slow", args=[1], kwargs={"b": 2})
    @app.cron("0 9 * * *", tz="Europe/Rome", overlap="skip", args=(5,), priority=9)
    @app.task(retries=3)
    async def report(a: int, b: int = 0) -> int:
        return a + b

    assert report is app.tasks["report"]
    first, second = app.declared.values()
    assert (first.queue, first.name, first.rule) == (
        "default", "report", Cron("0 9 * * *", "Europe/Rome"),
    )  # fmt: skip
    assert first.schedule(app).call == "report(5)"
    assert first.schedule(app).job.priority == 9
    assert (second.queue, second.name, second.rule) == ("slow", "hourly", Every(3600))
    assert second.schedule(app).call == "report(1, b=2)"
    assert second.schedule(app).declared


def test_a_plain_function_becomes_a_task(app: TaskQ) -> None:
    @app.every(30)
    def beat(ctx: Context) -> None: ...

    assert app.tasks["beat"] is beat
    app.cron("0 0 * * *", name="midnight")(beat.fn)
    assert list(app.tasks) == ["beat"]
    assert [name for _, name in app.declared] == ["beat", "midnight"]


def test_the_tasks_own_queue_and_options_count(app: TaskQ) -> None:
    @app.cron("0 9 * * *")
    @app.task(queue="mail", priority=2, deadline=60)
    def post() -> None: ...

    (one,) = app.declared.values()
    assert one.queue == "mail"
    assert one.schedule(app).job[3:7] == (2, "", "+60000", "")


def refuse(app: TaskQ, decorator: Any, error: type[Exception], words: str) -> None:
    def report(a: int = 1) -> None: ...

    with pytest.raises(error, match=words) as caught:
        decorator()(report)
    assert "\n" not in str(caught.value)


CASES: list[tuple[Any, type[Exception], str]] = [
    (lambda app: app.cron("* * * *"), InvalidOption, "4 fields"),
    (lambda app: app.cron("0 0 * * *", tz="Nowhere"), InvalidOption, "no such time zone"),
    (lambda app: app.every(0), InvalidOption, "whole seconds"),
    (lambda app: app.every(9, missed="never"), InvalidOption, "missed='never': use one of skip"),
    (lambda app: app.every(9, overlap=True), InvalidOption, "overlap=True: use one of allow"),
    (lambda app: app.every(9, name="a b"), InvalidName, "schedule 'a b' is not a valid name"),
    (lambda app: app.every(9, name="n" * 41), InvalidName, "41 characters, 40 are the most"),
    (lambda app: app.every(9, args=[1, 2]), InvalidArguments, "too many"),
    (lambda app: app.every(9, args="1"), InvalidOption, "args='1': use a list"),
    (lambda app: app.every(9, kwargs=[1]), InvalidOption, "kwargs=.* use a mapping"),
    (lambda app: app.every(9, id="x"), InvalidOption, "id belongs to one job"),
    (lambda app: app.every(9, at=datetime.now(UTC)), InvalidOption, "at belongs to one job"),
    (
        lambda app: app.every(9, deadline=datetime.now(UTC)),
        InvalidOption,
        "deadline belongs to one job",
    ),
    (lambda app: app.every(9, priority=10), InvalidOption, "priority=10"),
    (lambda app: app.every(9, color="red"), InvalidOption, "unknown option 'color'"),
]


@pytest.mark.parametrize(("make", "error", "words"), CASES, ids=[words for *_, words in CASES])
def test_what_is_wrong_is_said_where_it_is_written(
    app: TaskQ, make: Any, error: type[Exception], words: str
) -> None:
    refuse(app, lambda: make(app), error, words)
    assert app.declared == {}


def test_two_schedules_of_one_task_need_two_names(app: TaskQ) -> None:
    with pytest.raises(ConfigError, match="schedule 'beat' of queue 'default' is there already"):

        @app.every(30)
        @app.every(60)
        def beat() -> None: ...


def test_the_decorator_of_tasks_comes_below(app: TaskQ) -> None:
    with pytest.raises(ConfigError, match=r"put @app\.cron and @app\.every above @app\.task"):

        @app.task
        @app.every(30)
        def beat() -> None: ...


def test_a_task_of_another_app_is_refused(app: TaskQ) -> None:
    @TaskQ().task
    def beat() -> None: ...

    with pytest.raises(ConfigError, match="task beat belongs to another app"):
        app.every(30)(beat)


def test_the_type_of_the_decorators_is_never_made() -> None:
    with pytest.raises(AssertionError):
        ScheduleDecorator()(print)
