"""What the enqueue script answers, in Python: kept, predicted, late, struck, full."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taskq import commands
from taskq.commands import Call, Enqueued, NewJob, Sent
from taskq.errors import DeadlineUnreachable, QueueFull, TaskStruck
from taskq.inherit import Parent, capped
from taskq.keys import QueueKeys
from taskq.patience import Patience

KEYS = QueueKeys("ns", "q")


def call(*jobs: NewJob) -> Call[Enqueued]:
    return commands.enqueue(KEYS, jobs, max_jobs=9, all_or_none=True)


def test_every_word_finds_its_job() -> None:
    reply = [b"OK", b"1000", 1, b"a", b"KEPT x", b"b", b"START 1500", b"c", b"LATE 99", b"d"]

    done = call().parse([*reply, b"TICKED", b"e", b"DUP"])

    assert done.kept == {"a": "x"}
    assert done.starts == {"b": 1500}
    assert done.late == {"c": 99}
    assert done.ticked == {"d"}
    assert done.odd() == {
        "a": Sent(kept="x"),
        "b": Sent(start_ms=1500, now_ms=1000),
        "e": Sent(known=True),
    }


def test_a_word_of_a_newer_script_is_passed_over() -> None:
    assert call().parse([b"OK", b"1", 1, b"a", b"NEW word"]) == Enqueued(1, 1)


def test_a_job_that_is_late_says_when_it_would_start_and_when_it_must() -> None:
    job = NewJob("a", "t", b"", deadline="+2000")
    done = call(job).parse([b"OK", b"1000", 0, b"a", b"LATE 61000"])

    error = done.refusal(job)

    assert isinstance(error, DeadlineUnreachable)
    assert str(error) == (
        "job a (t) would start about 58.0 s after its deadline: it was not enqueued;"
        " give it more time or priority, or run more workers"
    )
    assert error.predicted_start == datetime(1970, 1, 1, 0, 1, 1, tzinfo=UTC)
    assert error.deadline == datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)


def test_late_refuses_a_call_that_is_all_or_none() -> None:
    job = NewJob("a", "t", b"", deadline="3000")

    with pytest.raises(DeadlineUnreachable, match=r"58\.0 s after its deadline") as caught:
        call(job).parse([b"LATE", b"a", b"61000", b"3000"])

    assert caught.value.job_id == "a"


def test_a_prediction_beyond_the_calendar_is_its_last_second() -> None:
    assert commands.time_at(10**18).year == 9999


def test_struck_names_the_task_and_the_way_back() -> None:
    with pytest.raises(TaskStruck, match="task 't' is struck in queue 'q'") as caught:
        call().parse([b"STRUCK", b"t"])

    assert caught.value.task == "t"
    assert "taskq task unstrike t -q q" in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "wish", "room"),
    [
        ([b"FULL", 8, 9], "", 1),
        ([b"FULL", 9, 9, b"wait"], "wait", 0),
        ([b"FULL", b"12", b"9", b""], "", 0),
    ],
)
def test_full_tells_what_the_queue_wants_and_how_much_room_there_is(
    reply: list[object], wish: str, room: int
) -> None:
    with pytest.raises(QueueFull) as caught:
        call().parse(reply)

    assert (caught.value.on_full, caught.value.room, caught.value.most) == (wish, room, 9)


def test_patience_grows_and_ends_in_the_error_with_how_long_it_was() -> None:
    now = 0.0
    patience = Patience(3.0, clock=lambda: now, draw=lambda: 1.0)
    full = QueueFull("full", on_full="wait", room=2, most=9)
    pauses: list[float] = []
    while now < 3.0:
        pauses.append(patience.pause(full))
        now += pauses[-1]

    with pytest.raises(QueueFull, match=r"full \(waited 3 s") as caught:
        patience.pause(full)

    assert pauses[:6] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0]
    assert sum(pauses) == pytest.approx(3.0)
    assert (caught.value.on_full, caught.value.room, caught.value.most) == ("wait", 2, 9)


def test_pauses_are_jittered_downwards() -> None:
    assert Patience(3.0, draw=lambda: 0.0).pause(QueueFull("full")) == 0.025


@pytest.mark.parametrize(
    ("own", "child"),
    [
        ("", "20000"),
        ("19999", "19999"),
        ("20001", "20000"),
        ("+6999", "+6999"),
        ("+7000", "20000"),
        ("+60000", "20000"),
    ],
)
def test_a_child_has_its_own_deadline_when_that_is_earlier_than_its_parents(
    own: str, child: str
) -> None:
    parent = Parent(deadline_ms=20_000, now_ms=10_000, began=100.0)

    assert parent.left_ms(lambda: 103.0) == 7000
    assert capped(own, _at(parent, 103.0)) == child


def _at(parent: Parent, clock: float) -> Parent:
    """A parent whose clock stands still."""

    class Still(Parent):
        def left_ms(self, *_: object) -> int:
            return parent.left_ms(lambda: clock)

    return Still(*parent)
