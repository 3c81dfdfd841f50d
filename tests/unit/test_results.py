"""From the end of a job to a value or an error; from a stored record to a JobInfo."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taskq.codec import Codec
from taskq.commands import Outcome, parse_announcement
from taskq.errors import (
    BadPayload,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobNotFound,
    ResultExpired,
    ResultTimeout,
)
from taskq.results import info_of, timed_out, value_of

CODEC = Codec()


def value(outcome: Outcome, *, known: bool = False) -> object:
    return value_of(outcome, CODEC, "j1", "q", known=known)


def test_a_completed_job_gives_its_value_and_none_takes_no_bytes() -> None:
    packed = CODEC.encode_value([1, "a"], limit=100)

    assert value(Outcome("completed", packed)) == [1, "a"]
    assert value(Outcome("completed")) is None


@pytest.mark.parametrize(
    ("outcome", "known", "kind"),
    [
        (Outcome("dead", reason="failed", error="ValueError: x"), False, JobFailed),
        (Outcome("cancelled"), False, JobCancelled),
        (Outcome("expired"), False, JobExpired),
        (Outcome("purged"), True, JobNotFound),
        (Outcome("not_found"), True, ResultExpired),
        (Outcome("not_found"), False, JobNotFound),
    ],
)
def test_every_other_end_is_an_error_of_its_own(
    outcome: Outcome, known: bool, kind: type[JobError]
) -> None:
    with pytest.raises(kind) as caught:
        value(outcome, known=known)

    assert type(caught.value) is kind
    assert caught.value.job_id == "j1"
    assert "j1" in str(caught.value)


def test_a_failure_carries_reason_error_and_traceback() -> None:
    with pytest.raises(JobFailed) as caught:
        value(Outcome("dead", reason="failed", error="ValueError: x", traceback="Traceback"))

    failure = caught.value
    assert (failure.reason, failure.error, failure.traceback) == (
        "failed",
        "ValueError: x",
        "Traceback",
    )


def test_bytes_that_are_no_result_are_said_to_be_so() -> None:
    with pytest.raises(BadPayload):
        value(Outcome("completed", b"\xc1"))


def test_running_out_of_time_is_also_a_timeout_error() -> None:
    error = timed_out("j1", 2.5)

    assert isinstance(error, ResultTimeout)
    assert isinstance(error, TimeoutError)
    assert "2.5 s" in str(error)


@pytest.mark.parametrize(
    ("message", "job_id", "outcome"),
    [
        (b"j1\ncompleted\n\x01\n\n\x02", "j1", Outcome("completed", b"\x01\n\n\x02")),
        (b"j1\ncompleted\n", "j1", Outcome("completed")),
        (b"j1\ncancelled\n", "j1", Outcome("cancelled")),
        (
            b"j1\ndead\nfailed\nE: a\nb",
            "j1",
            Outcome("dead", reason="failed", error="E: a\nb"),
        ),
    ],
)
def test_an_announcement_is_read_whole_newlines_included(
    message: bytes, job_id: str, outcome: Outcome
) -> None:
    assert parse_announcement(message) == (job_id, outcome)


def test_a_record_becomes_an_info_with_aware_times() -> None:
    fields = {
        b"state": b"dead",
        b"task": b"t",
        b"priority": b"7",
        b"attempt": b"2",
        b"crashes": b"1",
        b"rank": b"20001700000060000",
        b"deadline_ms": b"1700000000500",
        b"enqueued_ms": b"1700000000000",
        b"payload": b"\xff",
        b"cancel": b"1",
        b"own": b"kept",
    }
    flat = [word for pair in fields.items() for word in pair]

    info = info_of("j1", "q", flat)

    assert info is not None
    assert (info.state, info.priority, info.attempt, info.crashes) == ("dead", 7, 2, 1)
    assert info.rank == 20001700000060000
    assert info.deadline == datetime.fromtimestamp(1700000000.5, UTC)
    assert info.started_at is None
    assert info.cancel_requested
    assert (info.payload, info.fields["own"]) == (b"\xff", b"kept")


@pytest.mark.parametrize(
    "flat", [[], [b"task", b"t"], [b"state", b"dreaming"], [b"state", b"\xff"]]
)
def test_a_record_without_a_known_state_is_no_job(flat: list[bytes]) -> None:
    assert info_of("j1", "q", flat) is None


def test_nonsense_in_numbers_is_left_out_and_defaults_hold() -> None:
    info = info_of("j1", "q", [b"state", b"ready", b"attempt", b"x", b"enqueued_ms", b"soon"])

    assert info is not None
    assert (info.attempt, info.enqueued_at, info.priority) == (0, None, 5)


@pytest.mark.parametrize("ms", [b"1e400", b"nan", b"99999999999999999999"])
def test_times_no_clock_has_are_left_out(ms: bytes) -> None:
    info = info_of("j1", "q", [b"state", b"ready", b"enqueued_ms", ms, b"attempt", ms])

    assert info is not None
    assert info.enqueued_at is None
