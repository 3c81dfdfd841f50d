"""From an error to what becomes of its job: pure rules."""

from __future__ import annotations

import pytest

from taskq import Backoff, Discard, Retry
from taskq.commands import ClaimedJob
from taskq.errors import BadPayload, InvalidArguments, PayloadTooLarge, SerializationError
from taskq.options import checked
from taskq.worker.policy import (
    DeadlinePassed,
    RemoteError,
    RetryRule,
    TaskTimeout,
    error_line,
    failure_of,
    retry_rule,
    traceback_text,
)


def job(**fields: object) -> ClaimedJob:
    words = {"id": "j1", "token": "7", "task": "t", **fields}
    return ClaimedJob([word.encode() for n, v in words.items() for word in (n, str(v))])


RULE = RetryRule(3, 10.0, ())


@pytest.mark.parametrize(
    ("error", "reason", "after_ms"),
    [
        (ValueError("no"), "retry", 10_000),
        (TaskTimeout("late"), "retry", 10_000),
        (Retry(), "retry", 10_000),
        (Retry(delay=2.5), "retry", 2_500),
        (Retry(delay=-1), "retry", 0),
        (Discard("why"), "discarded", None),
        (DeadlinePassed("late"), "deadline", None),
        (BadPayload("bytes"), "bad_payload", None),
        (InvalidArguments("t(): x"), "bad_arguments", None),
        (SerializationError("lock"), "bad_result", None),
        (PayloadTooLarge("big"), "bad_result", None),
        (SystemExit(1), "retry", 10_000),
    ],
)
def test_each_kind_of_error_has_its_own_outcome(
    error: BaseException, reason: str, after_ms: int | None
) -> None:
    failure = failure_of(job(), error, RULE, 0)

    assert (failure.reason, failure.after_ms) == (reason, after_ms)
    assert (failure.id, failure.token) == ("j1", "7")


@pytest.mark.parametrize(
    ("attempts", "retries", "expected"),
    [(0, 0, "failed"), (0, 1, "retry"), (1, 1, "failed"), (2, 3, "retry"), (3, 3, "failed")],
)
def test_attempts_are_counted_against_the_retries(
    attempts: int, retries: int, expected: str
) -> None:
    failure = failure_of(job(attempt=attempts), ValueError(), RetryRule(retries, 1.0, ()), 0)

    assert failure.reason == expected


@pytest.mark.parametrize(("on_miss", "reason"), [("expire", "deadline"), ("run", "retry")])
def test_a_retry_after_the_deadline_is_given_up_unless_the_job_may_be_late(
    on_miss: str, reason: str
) -> None:
    late = job(deadline_ms=5_000, on_miss=on_miss)

    assert failure_of(late, ValueError(), RULE, 0).reason == reason
    assert failure_of(job(deadline_ms=50_000), ValueError(), RULE, 0).reason == "retry"


def test_jitter_draws_between_nothing_and_the_whole_delay() -> None:
    rule = RetryRule(9, Backoff(base=1, factor=2), ())

    lowest = failure_of(job(attempt=3), ValueError(), rule, 0, draw=lambda: 0.0)
    highest = failure_of(job(attempt=3), ValueError(), rule, 0, draw=lambda: 1.0)

    assert (lowest.after_ms, highest.after_ms) == (0, 8_000)


def test_a_rule_that_raises_falls_back_to_the_default_backoff() -> None:
    def broken(attempt: int, error: BaseException) -> float:
        raise RuntimeError("rule")

    failure = failure_of(job(), ValueError(), RetryRule(3, broken, ()), 0, draw=lambda: 1.0)

    assert failure.after_ms == 1_000


def test_only_named_errors_are_tried_again_in_this_process_and_another() -> None:
    rule = RetryRule(3, 1.0, ("builtins.LookupError",))
    names = ["builtins.KeyError", "builtins.LookupError", "builtins.Exception"]

    assert failure_of(job(), KeyError("a"), rule, 0).reason == "retry"
    assert failure_of(job(), ValueError("a"), rule, 0).reason == "not_retried"
    assert failure_of(job(), RemoteError("KeyError: 'a'", "", names), rule, 0).reason == "retry"
    other = RemoteError("ValueError: a", "", ["builtins.ValueError"])
    assert failure_of(job(), other, rule, 0).reason == "not_retried"


def test_the_jobs_own_rule_wins_over_the_tasks_and_that_over_the_default() -> None:
    task = checked({"retries": 5, "backoff": 2.0, "retry_on": ValueError})
    bare = checked({})

    own = retry_rule(job(retries=1, backoff="list 7.0", retry_on="a.B"), task, 3)
    tasks = retry_rule(job(), task, 3)
    default = retry_rule(job(), bare, 3)

    assert (own.retries, own.backoff, own.retry_on) == (1, (7.0,), ["a.B"])
    assert (tasks.retries, tasks.backoff, tasks.retry_on) == (5, 2.0, ("builtins.ValueError",))
    assert (default.retries, default.backoff, default.retry_on) == (3, Backoff(), ())


def test_nonsense_in_the_record_gives_the_tasks_rule() -> None:
    rule = retry_rule(job(retries="x", backoff="??"), checked({"retries": 5}), 3)

    assert (rule.retries, rule.backoff) == (5, Backoff())


def test_texts_are_bounded_and_can_be_sent() -> None:
    with pytest.raises(ValueError, match="xxx") as caught:
        raise ValueError("x" * 5_000 + "\udc80")
    failure = failure_of(job(), caught.value, RULE, 0)

    assert error_line(caught.value).startswith("ValueError: xxx")
    assert len(traceback_text(caught.value)) <= 8_004
    assert len(failure.error) == 2_000
    failure.traceback.encode()
    assert "\\udc80" in failure.traceback


def test_the_end_of_a_long_traceback_is_what_is_kept() -> None:
    def deep(levels: int) -> None:
        if levels == 0:
            raise ValueError("at the bottom")
        deep(levels - 1)

    with pytest.raises(ValueError, match="bottom") as caught:
        deep(200)
    text = traceback_text(caught.value)

    assert text.rstrip().endswith("ValueError: at the bottom")
    assert len(text) <= 8_004


def test_an_error_whose_text_cannot_be_had_is_still_named() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert error_line(Broken()).endswith("Broken: (its message cannot be shown)")
