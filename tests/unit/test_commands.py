"""taskq.commands: what is sent, and how answers are read. No server."""

from __future__ import annotations

import pytest

from taskq import commands
from taskq.commands import Ack, Call, ClaimedJob, Enqueued, NewJob, Outcome, check_reply
from taskq.errors import JobConflict, JobNotFound, LeaseLost, QueueFull, ScriptBug, WrongState
from taskq.keys import QueueKeys, SharedKeys

KEYS = QueueKeys("ns", "q")


def enqueue(*jobs: NewJob) -> Call[commands.Enqueued]:
    return commands.enqueue(KEYS, jobs, max_jobs=9, all_or_none=True)


def test_a_job_is_eight_words_and_its_extras() -> None:
    job = NewJob("a", "t", b"p", 7, "+5", "99", "gpu", ("retries", 2, "on_miss", "run"))

    assert enqueue(NewJob("b", "t", b"")).args == [
        "ns:{q}:job:",
        1,
        9,
        "b",
        "t",
        b"",
        5,
        "",
        "",
        "",
        0,
    ]
    assert enqueue(job).args[3:] == [
        "a",
        "t",
        b"p",
        7,
        "+5",
        "99",
        "gpu",
        2,
        "retries",
        2,
        "on_miss",
        "run",
    ]


def test_the_answer_to_enqueue_tells_created_duplicates_and_conflicts() -> None:
    call = enqueue(NewJob("a", "t", b""))

    assert call.parse([b"OK", b"5", 1]) == Enqueued(5, 1)
    assert call.parse([b"OK", b"5", 0, b"a", b"DUP", b"b", b"CONFLICT"]) == Enqueued(
        5, 0, frozenset({"a"}), frozenset({"b"})
    )
    with pytest.raises(QueueFull, match="queue 'q' is full: 8 jobs wait, 9 may"):
        call.parse([b"FULL", 8, 9])
    with pytest.raises(JobConflict, match="'a' is taken") as caught:
        call.parse([b"CONFLICT", b"a"])
    assert caught.value.job_id == "a"


def test_ack_sends_four_words_a_job_then_the_slots_of_each_class() -> None:
    acks = [Ack("a", "1", b"r", 5), Ack("b", "2", b"", 0)]
    call = commands.ack(KEYS, "w", acks, keep_ms=6, done_max=7, limit=3, slots={"": 3, "gpu": 1})

    assert list(call.args[2:]) == [6, 3, 7, 2, "a", "1", b"r", 5, "b", "2", b"", 0, 3, 1]
    assert list(call.keys[8:]) == ["ns:{q}:ready", "ns:{q}:ready:gpu"]
    reply = [b"OK", b"5", b"-1", b"7 8.5", [b"a", b"STALE"], [b"id", b"c", b"token", b"9"]]
    claims = call.parse(reply)
    assert claims[:5] == ("OK", 5, -1, True, {"a": "STALE"})
    assert (claims.ranks, claims.next_rank) == ((7, 8.5), 7)


def test_claim_and_ack_name_a_look_only_when_more_than_one_rank_is_wanted() -> None:
    words = {"keep_ms": 6, "limit": 3, "slots": {"": 3}}
    acks = [Ack("a", "1", b"r", 5)]

    assert commands.claim(KEYS, "w", **words).args[2:] == [6, 3, 3]
    assert commands.claim(KEYS, "w", **words, look=4).args[2:] == [6, 3, 3, 4]
    assert commands.claim(KEYS, "w", **words, look=999).args[-1] == 200
    assert commands.ack(KEYS, "w", acks, done_max=9, **words).args[-1] == 3
    assert commands.ack(KEYS, "w", acks, done_max=9, **words, look=4).args[-2:] == [3, 4]


def test_all_slots_of_a_worker_are_named_behind_the_look_and_only_when_asked() -> None:
    call = commands.claim(KEYS, "w", keep_ms=5, limit=3, slots={"": 3}, all_slots=10)
    assert call.args[3:] == [3, 3, 1, 10]

    call = commands.ack(
        KEYS, "w", [], keep_ms=5, done_max=9, limit=3, slots={"": 3}, look=4, all_slots=1000
    )
    assert call.args[-3:] == [3, 4, 200]


def test_no_more_jobs_are_asked_for_than_a_script_moves() -> None:
    claim = commands.claim(KEYS, "w", keep_ms=1, limit=10_000, slots={"": 10_000})
    ack = commands.ack(KEYS, "w", [], keep_ms=1, done_max=1, limit=10_000, slots={"": 1})

    assert (claim.args[3], ack.args[3]) == (commands.BATCH, commands.BATCH)


def test_a_failure_without_a_delay_sends_an_empty_word() -> None:
    given_up = commands.Failure("a", "1", None, "r", "e", "t")
    at_once = commands.Failure("b", "2", 0, "r", "e", "t")
    call = commands.fail(KEYS, "w", [given_up, at_once], dead_keep_ms=1, dead_max=2, keep_ms=3)

    assert list(call.args[5:]) == ["a", "1", "", "r", "e", "t", "b", "2", 0, "r", "e", "t"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ([b"NOT_FOUND", b"a"], JobNotFound),
        ([b"ENDED", b"dead"], WrongState),
        ([b"STALE", b"ready"], LeaseLost),
    ],
)
def test_an_answer_of_cancel_that_is_no_success_is_an_error_with_the_id(
    reply: list[bytes], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        commands.cancel(KEYS, "a", keep_ms=1).parse(reply)

    assert caught.value.job_id == "a"  # type: ignore[attr-defined]


def test_fields_of_a_claimed_job_that_are_malformed_do_not_stop_the_worker() -> None:
    job = ClaimedJob([b"id", b"a", b"token", b"1", b"task", b"\xff", b"timeout_ms", b"soon"])

    assert (job.task, job.payload) == ("�", b"")
    assert job.number(b"timeout_ms", 5) == 5
    assert job.number(b"retries", 3) == 3
    assert job.text(b"error") is None


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (b"a\ncompleted\nx\ny", Outcome("completed", b"x\ny")),
        (b"a\ndead\nerror\nE: x\ny", Outcome("dead", b"", "error", "E: x\ny")),
        (b"a\ncancelled\n", Outcome("cancelled")),
        (b"a", Outcome("")),
    ],
)
def test_announcements_are_read_back(message: bytes, outcome: Outcome) -> None:
    assert commands.parse_announcement(message) == ("a", outcome)


@pytest.mark.parametrize("reply", [None, b"OK", 1, [], [1], [None], ["OK"]])
def test_a_script_that_answers_without_a_word_is_a_bug(reply: object) -> None:
    with pytest.raises(ScriptBug, match="script pause answered"):
        check_reply(reply, commands.pause(KEYS))


def test_a_plain_command_may_answer_anything() -> None:
    call = commands.plain("GET", "x", parse=lambda reply: reply)

    check_reply(None, call)
    assert (call.script, list(call.args)) == ("", ["GET", "x"])


def test_a_worker_on_the_roster_fades_and_can_leave() -> None:
    shared = SharedKeys("ns")

    words = [call.args[0] for call in commands.roster(shared, "w", {"pid": 1}, 5000)]
    leave = [tuple(call.args) for call in commands.leave_roster(shared, "w")]

    assert words == ["HSET", "PEXPIRE"]
    assert commands.enlist(shared, "w").args[:2] == ("ZADD", "ns:workers")
    assert leave == [("UNLINK", "ns:worker:w"), ("ZREM", "ns:workers", "w")]
