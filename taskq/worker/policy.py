"""What becomes of a run that did not return: pure rules from an error to a failure report."""

from __future__ import annotations

import math
import random
import traceback as tracebacks
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taskq.commands import ClaimedJob, Failure
from taskq.errors import (
    BadPayload,
    Discard,
    InvalidArguments,
    PayloadTooLarge,
    Retry,
    SerializationError,
)
from taskq.options import LONGEST, Options
from taskq.retry import DEFAULT_BACKOFF, BackoffRule, backoff_from_text, delay_for, may_retry

#: Characters kept of an error's message and of its traceback.
MESSAGE_LENGTH = 2_000
TRACEBACK_LENGTH = 8_000


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How often and when a task's failed jobs run again."""

    retries: int
    backoff: BackoffRule
    retry_on: Sequence[str]


class TaskTimeout(Exception):
    """A run took longer than its timeout."""


class DeadlinePassed(Exception):
    """A run was cut off at the job's deadline."""


class RemoteError(Exception):
    """An error in another process, as text: `line` "Type: message", `names` of its class and
    bases.
    """

    def __init__(self, line: str, traceback: str, names: Sequence[str]) -> None:
        super().__init__(line)
        self.line = line
        self.traceback = traceback
        self.names = names


def retry_rule(job: ClaimedJob, options: Options, default_retries: int) -> RetryRule:
    """The job's own rule where it brought one, else the task's, else the defaults."""
    retries = job.number(b"retries")
    if retries is None:
        retries = default_retries if options.retries is None else options.retries
    text = job.text(b"backoff")
    if text is not None:
        backoff = backoff_from_text(text)
    else:
        backoff = DEFAULT_BACKOFF if options.backoff is None else options.backoff
    names = job.text(b"retry_on")
    retry_on = names.split() if names is not None else options.retry_on or ()
    return RetryRule(retries, backoff, retry_on)


def error_line(error: BaseException) -> str:
    """ "Type: message", bounded, one line's worth of noise removed."""
    if isinstance(error, RemoteError):
        return error.line[:MESSAGE_LENGTH]
    try:
        message = str(error)
    except Exception:  # a broken __str__ must not hide the failure
        message = "(its message cannot be shown)"
    name = type(error).__qualname__
    return (f"{name}: {message}" if message else name)[:MESSAGE_LENGTH]


def traceback_text(error: BaseException) -> str:
    """The traceback, its last part when it is long."""
    if isinstance(error, RemoteError):
        text = error.traceback
    else:
        text = "".join(tracebacks.format_exception(error, limit=-30))
    return text if len(text) <= TRACEBACK_LENGTH else "...\n" + text[-TRACEBACK_LENGTH:]


def failure_of(
    job: ClaimedJob,
    error: BaseException,
    rule: RetryRule,
    now_ms: int,
    draw: Callable[[], float] = random.random,
) -> Failure:
    """The report for a run that ended in `error`: tried again after a while, or given up, and
    why.
    """
    attempt = (job.number(b"attempt") or 0) + 1
    deadline = job.number(b"deadline_ms")
    after, reason = _decide(error, attempt, rule, draw)
    binding = deadline is not None and job.text(b"on_miss") != "run"
    if binding and after is not None and now_ms + after * 1000 >= (deadline or 0):
        after, reason = None, "deadline"
    return Failure(
        job.id,
        job.token,
        None if after is None else max(0, round(after * 1000)),
        reason,
        _sendable(error_line(error)),
        _sendable(traceback_text(error)),
    )


def _decide(
    error: BaseException, attempt: int, rule: RetryRule, draw: Callable[[], float]
) -> tuple[float | None, str]:
    if isinstance(error, Discard):
        return None, "discarded"
    if isinstance(error, DeadlinePassed):
        return None, "deadline"
    if isinstance(error, (BadPayload, InvalidArguments)):
        return None, "bad_payload" if isinstance(error, BadPayload) else "bad_arguments"
    if isinstance(error, (SerializationError, PayloadTooLarge)):
        return None, "bad_result"
    if attempt > rule.retries:
        return None, "failed"
    if isinstance(error, Retry):
        if isinstance(error.delay, (int, float)) and math.isfinite(error.delay):
            return min(max(0.0, float(error.delay)), LONGEST), "retry"
        allowed = True
    elif isinstance(error, RemoteError):
        allowed = not rule.retry_on or any(name in rule.retry_on for name in error.names)
    else:
        allowed = may_retry(error, rule.retry_on)
    if not allowed:
        return None, "not_retried"
    try:
        return delay_for(rule.backoff, attempt, error, draw), "retry"
    except Exception:  # the user's own rule failed; the job must not be lost for it
        return DEFAULT_BACKOFF.delay(attempt, draw), "retry"


def _sendable(text: str) -> str:
    """Lone surrogates cannot be encoded; show them instead."""
    return text.encode("utf-8", "backslashreplace").decode()
