"""What a call becomes on the wire: limits, groups, unique keys, admission, a parent's deadline."""

from __future__ import annotations

from typing import Any

import pytest

from taskq import Limit, TaskQ
from taskq.commands import NewJob
from taskq.errors import InvalidOption
from taskq.inherit import PARENT, Parent
from taskq.task import Signature


@pytest.fixture
def app() -> TaskQ:
    return TaskQ("redis://nowhere:1")


def words(app: TaskQ, call: Signature[Any]) -> dict[str, object]:
    """The extras of the job, by name."""
    return named(app.prepare(call)[1])


def named(job: NewJob) -> dict[str, object]:
    return dict(zip(job.extras[::2], job.extras[1::2], strict=True))  # type: ignore[arg-type]


def test_a_plain_job_carries_nothing_more(app: TaskQ) -> None:
    @app.task
    async def t(x: int) -> None: ...

    _, job = app.prepare(t.s(1))

    assert job.extras == ()
    assert job.apart == ""


def test_what_a_tasks_options_say_is_read_once_and_again_when_another_has_its_name(
    app: TaskQ,
) -> None:
    @app.task(name="t", queue="mail", priority=7, deadline=9, delay=2, timeout=3, cost=4)
    async def t() -> None: ...

    first, second = app.prepare(t.s()), app.prepare(t.s())
    more = t.options(priority=1, queue="other")
    own = [app.prepare(more.s()), app.prepare(more.s())]
    app.prepare(t.s())
    app.tasks.pop("t")
    unknown = app.prepare(more.s())

    @app.task(name="t")
    async def other() -> None: ...

    for queue, job in (first, second):
        assert (queue, job.priority, job.deadline, job.at) == ("mail", 7, "+9000", "+2000")
        assert job.extras == ("cost", 4)
    assert first[1].id != second[1].id
    for queue, job in own:
        assert (queue, job.priority, job.deadline) == ("other", 1, "+9000")
    assert unknown[1].deadline == "", "what the task said is gone with it"
    queue, job = app.prepare(other.s())
    assert (queue, job.priority, job.deadline, job.at) == ("default", 5, "", "")
    assert job.extras == ()


def test_a_limit_that_is_declared_later_counts_for_the_next_call(app: TaskQ) -> None:
    @app.task
    async def t(tenant: str) -> None: ...

    assert words(app, t.s("a")) == {}
    app.queue("default", limits=[Limit("tenant:{tenant}", concurrency=2)])

    assert words(app, t.s("a")) == {"limits": "tenant:{tenant}|tenant:a"}


def test_plain_limits_of_queue_and_task_are_stored_and_travel_with_no_job(app: TaskQ) -> None:
    app.queue("mail", limits=[Limit("smtp", concurrency=3)])

    @app.task(queue="mail", limits=[Limit("vendor", rate="5/min")])
    async def t() -> None: ...

    assert words(app, t.s()) == {}
    assert app.limits.pending == {}
    assert app.limits.words_of("mail") == {
        "smtp": "concurrency=3 on=queue",
        "vendor": "every_us=12000000 burst_us=0 on=task.t",
    }
    assert app.limits.words_of("other") == {}


def test_templates_and_limits_of_the_call_travel_with_the_job(app: TaskQ) -> None:
    app.queue("mail", limits=[Limit("q:{queue}", concurrency=3)])

    @app.task(queue="mail", limits=[Limit("tenant:{tenant}", concurrency=2)])
    async def t(tenant: str, size: int = 7) -> None: ...

    own = [Limit("once", concurrency=1), Limit("s:{size}:{task}", concurrency=1)]
    call = t.options(limits=own).s("acme")

    assert words(app, call) == {
        "limits": "q:{queue}|q:mail tenant:{tenant}|tenant:acme once s:{size}:{task}|s:7:t"
    }
    assert app.limits.take_pending("mail") == {
        "q:{queue}": "concurrency=3 on=job",
        "tenant:{tenant}": "concurrency=2 on=job",
        "once": "concurrency=1 on=job",
        "s:{size}:{task}": "concurrency=1 on=job",
    }


def test_what_was_written_once_is_not_written_again_until_it_changes(app: TaskQ) -> None:
    @app.task
    async def t() -> None: ...

    app.prepare(t.options(limits=[Limit("a", concurrency=1)]).s())
    app.limits.note_written("default", app.limits.take_pending("default"))
    app.prepare(t.options(limits=[Limit("a", concurrency=1)]).s())
    assert app.limits.pending == {}

    app.prepare(t.options(limits=[Limit("a", concurrency=2)]).s())
    assert app.limits.pending == {"default": {"a": "concurrency=2 on=job"}}


def test_in_another_queue_a_job_names_the_limits_of_its_task_itself(app: TaskQ) -> None:
    @app.task(queue="mail", limits=[Limit("vendor", concurrency=1)])
    async def t() -> None: ...

    assert words(app, t.options(queue="other").s()) == {"limits": "vendor"}
    assert app.limits.pending == {"other": {"vendor": "concurrency=1 on=job"}}


def test_two_tasks_may_share_one_limit(app: TaskQ) -> None:
    limit = Limit("vendor", concurrency=1)

    @app.task(limits=[limit])
    async def a() -> None: ...

    @app.task(limits=[limit])
    async def b() -> None: ...

    assert words(app, a.s()) == {}
    assert words(app, b.s()) == {"limits": "vendor"}
    assert app.limits.words_of("default") == {"vendor": "concurrency=1 on=task.a"}
    assert app.limits.pending == {"default": {"vendor": "concurrency=1 on=task.a"}}


def test_one_name_with_two_meanings_in_a_queue_is_refused(app: TaskQ) -> None:
    app.queue("default", limits=[Limit("a", concurrency=1)])

    @app.task
    async def t() -> None: ...

    with pytest.raises(InvalidOption, match="'a' means two things in queue 'default'"):
        app.prepare(t.options(limits=[Limit("a", concurrency=2)]).s())

    @app.task(limits=[Limit("a", concurrency=3)])
    async def u() -> None: ...

    with pytest.raises(InvalidOption, match="'a' means two things"):
        app.prepare(u.s())


def test_a_job_is_under_ten_limits_at_most_wherever_they_come_from(app: TaskQ) -> None:
    app.queue("default", limits=[Limit(f"q{n}", concurrency=1) for n in range(5)])

    @app.task(limits=[Limit(f"t{n}", concurrency=1) for n in range(4)])
    async def t() -> None: ...

    own = [Limit(f"c{n}", concurrency=1) for n in range(2)]
    assert words(app, t.options(limits=own[:1]).s()) == {"limits": "c0"}
    with pytest.raises(InvalidOption, match="would be under 11"):
        app.prepare(t.options(limits=own).s())


def test_a_task_known_by_name_fills_templates_from_keywords_only(app: TaskQ) -> None:
    task = app.named("elsewhere").options(limits=[Limit("t:{tenant}", concurrency=1)])

    assert words(app, task.s(tenant=7)) == {"limits": "t:{tenant}|t:7"}
    with pytest.raises(InvalidOption, match="no argument 'tenant': it has task, queue"):
        app.prepare(task.s(7))


def test_a_group_is_text_or_filled_in_and_limits_may_name_it(app: TaskQ) -> None:
    @app.task(group="{tenant}", limits=[Limit("g:{group}", concurrency=1)])
    async def t(tenant: str) -> None: ...

    assert words(app, t.s("acme")) == {"group": "acme", "limits": "g:{group}|g:acme"}
    assert words(app, t.options(group="vip").s("acme"))["group"] == "vip"


def test_arguments_go_before_what_is_always_known(app: TaskQ) -> None:
    @app.task(group="{queue}-{more}")
    async def t(queue: str, **rest: str) -> None: ...

    assert words(app, t.s("mine", more="x")) == {"group": "mine-x"}


@pytest.mark.parametrize(
    ("options", "sent", "apart"),
    [
        ({"unique": "queued"}, "queued keep", ""),
        ({"unique": "running"}, "running keep", ""),
        ({"unique": 1.5}, "1500 keep", ""),
        ({"unique": 0.0001}, "1 keep", ""),
        ({"unique": "queued", "on_duplicate": "replace"}, "queued replace", "k:7"),
        ({"unique": 60, "on_duplicate": "extend"}, "60000 extend", "k:7"),
    ],
)
def test_a_unique_job_says_how_and_what_becomes_of_a_second(
    app: TaskQ, options: dict[str, Any], sent: str, apart: str
) -> None:
    @app.task(key="k:{x}")
    async def t(x: int) -> None: ...

    _, job = app.prepare(t.options(**options).s(7))

    assert named(job) == {"key": "k:7", "@unique": sent}
    assert job.apart == apart


def test_the_newest_waits_for_the_run_of_its_key_to_end(app: TaskQ) -> None:
    @app.task(key="k", unique="running", on_duplicate="replace")
    async def t() -> None: ...

    assert words(app, t.s()) == {"key": "k", "@unique": "queued replace", "limits": "key:k"}
    assert app.limits.pending == {}


def test_without_a_key_task_and_arguments_are_the_key(app: TaskQ) -> None:
    @app.task(unique="queued")
    async def t(x: int) -> None: ...

    @app.task(unique="queued")
    async def u(x: int) -> None: ...

    keys = [words(app, call)["key"] for call in (t.s(1), t.s(1), t.s(2), u.s(1))]

    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert all(str(key).isascii() and len(str(key)) < 100 for key in keys)


@pytest.mark.parametrize("options", [{"key": "k"}, {"on_duplicate": "keep"}])
def test_a_key_or_a_choice_without_unique_is_refused(app: TaskQ, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match="unique="):
        app.prepare(app.named("t").options(**options).s())


def test_admission_is_asked_for_with_the_job(app: TaskQ) -> None:
    assert words(app, app.named("t").options(admit="warn").s()) == {"@admit": "warn"}


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"limits": [Limit("a", concurrency=1)]}, "limits="),
        ({"unique": "queued"}, "unique="),
        ({"key": "k", "unique": "running", "on_duplicate": "replace"}, "unique="),
    ],
)
def test_what_counts_over_the_whole_queue_is_refused_where_it_has_partitions(
    app: TaskQ, options: dict[str, Any], what: str
) -> None:
    app.queue("mail", partitions=4)

    with pytest.raises(InvalidOption, match=f"{what} needs a queue without partitions"):
        app.prepare(app.named("t").options(queue="mail", **options).s())


@pytest.mark.parametrize(
    "words_",
    [{"limits": [Limit("a", concurrency=1)]}, {"policy": "fair"}, {"weights": {"a": 2}}],
    ids=str,
)
def test_a_queue_with_partitions_cannot_have_what_needs_one_place(
    app: TaskQ, words_: dict[str, Any]
) -> None:
    with pytest.raises(InvalidOption, match="needs partitions=1"):
        app.queue("mail", partitions=2, **words_)


def test_settings_of_a_queue_become_fields(app: TaskQ) -> None:
    settings = app.queue("mail", policy="fair", on_full="wait", weights={"gold": 5, "x": 0.5})

    assert settings.meta() == {
        "policy": "fair",
        "on_full": "wait",
        "weight:gold": "5",
        "weight:x": "0.5",
    }
    assert app.queue("mail", policy="strict", on_full="reject").meta() == {
        "policy": "",
        "on_full": "",
    }


@pytest.mark.parametrize(
    "words_",
    [
        {"policy": "fifo"},
        {"on_full": "block"},
        {"weights": {"a b": 1}},
        {"weights": {"{a}": 1}},
        {"weights": {"a": 0}},
        {"weights": {"a": float("nan")}},
        {"weights": {"a": "5"}},
        {"weights": ["a"]},
        {"limits": ["a"]},
    ],
    ids=str,
)
def test_bad_settings_of_a_queue_are_refused_in_one_line(
    app: TaskQ, words_: dict[str, Any]
) -> None:
    with pytest.raises(InvalidOption) as caught:
        app.queue("mail", **words_)

    assert "\n" not in str(caught.value)


def test_a_worker_removes_what_its_app_declares_no_more_and_nothing_else(app: TaskQ) -> None:
    app.queue("mail", limits=[Limit("kept", concurrency=1)])

    @app.task(queue="mail")
    async def t() -> None: ...

    @app.task
    async def elsewhere() -> None: ...

    stored = {
        "kept": "concurrency=9 on=queue",
        "old.queue": "concurrency=1 on=queue",
        "old.task": "concurrency=1 on=task.t",
        "by.hand": "concurrency=1 on=queue by=hand",
        "pause:task.t": "concurrency=0 on=task.t by=hand",
        "of.another.queue": "concurrency=1 on=task.elsewhere",
        "of.another.app": "concurrency=1 on=task.unknown",
        "of.calls": "concurrency=1 on=job",
    }

    assert app.limits.outdated("mail", stored) == ["old.queue", "old.task"]
    assert app.limits.outdated("default", stored) == ["of.another.queue"]


def test_a_call_from_a_run_with_a_deadline_ends_with_it(app: TaskQ) -> None:
    call = app.named("t").s()
    assert app.prepare(call)[1].deadline == ""

    token = PARENT.set(Parent(deadline_ms=5000, now_ms=1000, began=0.0))
    try:
        assert app.prepare(call)[1].deadline == "5000"
    finally:
        PARENT.reset(token)
