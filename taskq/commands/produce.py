"""Calls of producers: enqueue, watch for an end, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from taskq.commands.call import Call, Word, text
from taskq.errors import JobConflict, JobNotFound, LeaseLost, QueueFull, WrongState
from taskq.keys import QueueKeys


class NewJob(NamedTuple):
    """A job as enqueue sends it. `at` and `deadline`: '' (none), Unix ms, or '+ms' from the
    server's now.
    """

    id: str
    task: str
    payload: bytes
    priority: int = 5
    at: str = ""
    deadline: str = ""
    job_class: str = ""
    extras: tuple[Word, ...] = ()
    """Field names and values stored as they are: timeout_ms, retries, backoff, headers ..."""


class Enqueued(NamedTuple):
    now_ms: int
    created: int
    duplicates: frozenset[str]
    conflicts: frozenset[str]


class Outcome(NamedTuple):
    """How a job ended: state `completed dead cancelled expired`, or `pending`, `not_found`,
    `purged`.
    """

    state: str
    result: bytes = b""
    reason: str = ""
    error: str = ""
    traceback: str = ""


def enqueue(
    keys: QueueKeys, jobs: Sequence[NewJob], *, max_jobs: int, all_or_none: bool
) -> Call[Enqueued]:
    """Create up to 200 jobs. Raises QueueFull; with `all_or_none` also JobConflict. Safe to send
    twice.
    """
    args: list[Word] = [keys.job_prefix, int(all_or_none), max_jobs]
    for job in jobs:
        args += job[:7]
        args.append(len(job.extras) // 2)
        args += job.extras

    def parse(reply: list[Any]) -> Enqueued:
        word = reply[0]
        if word == b"OK":
            if len(reply) == 3:
                return Enqueued(int(reply[1]), reply[2], frozenset(), frozenset())
            odd = list(zip(reply[3::2], reply[4::2], strict=True))
            return Enqueued(
                int(reply[1]),
                reply[2],
                frozenset(text(name) for name, kind in odd if kind == b"DUP"),
                frozenset(text(name) for name, kind in odd if kind == b"CONFLICT"),
            )
        if word == b"FULL":
            raise QueueFull(
                f"queue {keys.queue!r} is full: {reply[1]} jobs wait, {reply[2]} may;"
                " try later, run more workers or raise max_jobs"
            )
        if word == b"PRESSED":
            used, most = int(reply[1]), int(reply[2])
            raise QueueFull(
                f"queue {keys.queue!r} takes no jobs now: the server uses {used / 1e6:,.0f} MB of"
                f" {most / 1e6:,.0f} MB ({used / most:.0%}); try later, free memory,"
                " raise maxmemory or memory_watermark"
            )
        raise conflict(text(reply[1]))

    return Call(
        "enqueue",
        (keys.ready, keys.scheduled, keys.retry, keys.wake, keys.meta, keys.stats, keys.classes),
        args,
        parse,
    )


def conflict(job_id: str) -> JobConflict:
    """The error for an id that is taken by another job."""
    return JobConflict(
        f"job id {job_id!r} is taken by a job with another task or arguments;"
        " use a new id, or the same call to mean the same job",
        job_id=job_id,
    )


def not_found(keys: QueueKeys, job_id: str) -> JobNotFound:
    """The error for an id without a record."""
    return JobNotFound(
        f"no job {job_id!r} in queue {keys.queue!r}: the id is wrong, or its record has expired",
        job_id=job_id,
    )


def watch(keys: QueueKeys, job_id: str, channel: str) -> Call[Outcome]:
    """How the job ended; when it has not, `pending`, and its end will be published on `channel`."""

    def parse(reply: list[bytes]) -> Outcome:
        if reply[0] == b"ENDED":
            return Outcome(text(reply[1]), reply[2], text(reply[3]), text(reply[4]), text(reply[5]))
        return Outcome("pending" if reply[0] == b"PENDING" else "not_found")

    return Call("watch", (keys.job(job_id),), (channel,), parse)


def parse_announcement(message: bytes) -> tuple[str, Outcome]:
    """Read what lua/include/announce.lua publishes: (job id, outcome)."""
    job_id, _, rest = message.partition(b"\n")
    state, _, detail = rest.partition(b"\n")
    word = text(state)
    if word == "completed":
        return text(job_id), Outcome(word, detail)
    reason, _, error = detail.partition(b"\n")
    return text(job_id), Outcome(word, reason=text(reason), error=text(error))


def cancel(
    keys: QueueKeys, job_id: str, *, keep_ms: int, token: str = "", worker: str = ""
) -> Call[bool]:
    """Cancel: True when it is cancelled, False when its worker was asked to stop it.

    Raises JobNotFound, WrongState when it has ended, LeaseLost when the token given is not current.
    """

    def parse(reply: list[bytes]) -> bool:
        word, detail = text(reply[0]), text(reply[1])
        if word == "NOT_FOUND":
            raise not_found(keys, job_id)
        if word == "ENDED" and detail == "cancelled":
            return True  # as asked; it may be this very call, sent again after its reply was lost
        if word == "ENDED":
            raise WrongState(
                f"job {job_id} cannot be cancelled: it is {detail}", job_id=job_id, state=detail
            )
        if word == "STALE":
            raise LeaseLost(f"the lease on job {job_id} is lost", job_id=job_id)
        return word == "OK"

    return Call(
        "cancel",
        (keys.ready, keys.scheduled, keys.retry, keys.done, keys.stats),
        (
            keys.job_prefix,
            keys.running_prefix,
            keys.cancels_prefix,
            job_id,
            token,
            worker,
            keep_ms,
        ),
        parse,
    )
