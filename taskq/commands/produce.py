"""Calls of producers: enqueue, watch for an end, cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from taskq.commands.call import Call, Word, text
from taskq.errors import (
    DeadlineUnreachable,
    JobConflict,
    JobNotFound,
    LeaseLost,
    QueueClosed,
    QueueFull,
    TaskStruck,
    WrongState,
)
from taskq.keys import QueueKeys
from taskq.partition import queue_of


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
    apart: str = ""
    """Not sent: jobs with the same word here go in different calls."""

    def deadline_ms(self, now_ms: int) -> int | None:
        """Its deadline when it is enqueued at `now_ms`."""
        if self.deadline.startswith("+"):
            return now_ms + int(self.deadline[1:])
        return int(self.deadline) if self.deadline else None


class Sent(NamedTuple):
    """What became of one job that was sent."""

    known: bool = False
    """It was there already: the same id, task and arguments."""
    kept: str = ""
    """Id of the job that has its key: nothing was created."""
    start_ms: int | None = None
    """When it will start, as far as can be told."""
    now_ms: int = 0


CREATED = Sent()
KNOWN = Sent(known=True)


class Enqueued(NamedTuple):
    """The answer to one call. All but `created` name jobs by id; nothing is said of plain ones."""

    now_ms: int
    created: int
    duplicates: frozenset[str] = frozenset()
    conflicts: frozenset[str] = frozenset()
    kept: Mapping[str, str] = {}
    """Not created: the job that has the key."""
    starts: Mapping[str, int] = {}
    """Created: the predicted start, ms."""
    late: Mapping[str, int] = {}
    """Not created: it would start then, ms, which is too late."""
    ticked: frozenset[str] = frozenset()
    """Not created: another worker has fired this tick."""

    def sent(self, job_id: str) -> Sent:
        """What became of one job that is neither a conflict nor late."""
        if job_id in self.duplicates:
            return KNOWN
        if job_id in self.kept:
            return Sent(kept=self.kept[job_id])
        if job_id in self.starts:
            return Sent(start_ms=self.starts[job_id], now_ms=self.now_ms)
        return CREATED

    def odd(self) -> dict[str, Sent]:
        """As `sent`, for all that are not plain."""
        return {name: self.sent(name) for name in (*self.duplicates, *self.kept, *self.starts)}

    def refusal(self, job: NewJob) -> JobConflict | DeadlineUnreachable | None:
        """Why a job was not created, when that is an error."""
        if job.id in self.conflicts:
            return conflict(job.id)
        if job.id in self.late:
            start_ms = self.late[job.id]
            return unreachable(job.id, job.task, start_ms, job.deadline_ms(self.now_ms) or start_ms)
        return None


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
        extras = job[7]
        args.append(len(extras) // 2)
        if extras:
            args += extras

    def parse(reply: list[Any]) -> Enqueued:
        word = reply[0]
        if word == b"OK":
            return Enqueued(int(reply[1]), reply[2]) if len(reply) == 3 else _enqueued(reply)
        if word == b"FULL":
            waiting, most = int(reply[1]), int(reply[2])
            raise QueueFull(
                f"queue {keys.queue!r} is full: {waiting} jobs wait, {most} may;"
                " try later, run more workers or raise max_jobs",
                on_full=text(reply[3]) if len(reply) > 3 else "",
                room=max(0, most - waiting),
                most=most,
            )
        if word == b"STRUCK":
            task = text(reply[1])
            if task == "*":
                raise QueueClosed(
                    f"queue {keys.queue!r} is closed for new jobs: nothing was enqueued;"
                    f" `taskq queue open {queue_of(keys.queue)}` opens it again"
                )
            raise TaskStruck(
                f"task {task!r} is struck in queue {keys.queue!r}: nothing was enqueued;"
                f" `taskq task unstrike {task} -q {keys.queue}` allows it again",
                task=task,
            )
        if word == b"PRESSED":
            used, most = int(reply[1]), int(reply[2])
            raise QueueFull(
                f"queue {keys.queue!r} takes no jobs now: the server uses {used / 1e6:,.0f} MB of"
                f" {most / 1e6:,.0f} MB ({used / most:.0%}); try later, free memory,"
                " raise maxmemory or memory_watermark"
            )
        job_id = text(reply[1])
        if word == b"LATE":
            task = next((job.task for job in jobs if job.id == job_id), "?")
            raise unreachable(job_id, task, int(reply[2]), int(reply[3]))
        raise conflict(job_id)

    return Call(
        "enqueue",
        (keys.ready, keys.scheduled, keys.retry, keys.wake, keys.meta, keys.stats, keys.classes),
        args,
        parse,
    )


def _enqueued(reply: list[Any]) -> Enqueued:
    """An answer with odd jobs in it: id, and a word that may bring one more."""
    known, conflicts, ticked = set(), set(), set()
    kept: dict[str, str] = {}
    starts: dict[str, int] = {}
    late: dict[str, int] = {}
    for name, said in zip(reply[3::2], reply[4::2], strict=True):
        job_id, (word, _, more) = text(name), text(said).partition(" ")
        if word == "DUP":
            known.add(job_id)
        elif word == "CONFLICT":
            conflicts.add(job_id)
        elif word == "KEPT":
            kept[job_id] = more
        elif word == "START":
            starts[job_id] = int(more)
        elif word == "LATE":
            late[job_id] = int(more)
        elif word == "TICKED":
            ticked.add(job_id)
    return Enqueued(
        int(reply[1]),
        reply[2],
        frozenset(known),
        frozenset(conflicts),
        kept,
        starts,
        late,
        frozenset(ticked),
    )


def time_at(ms: int) -> datetime:
    """An aware datetime (UTC) of Unix ms; the last one there is for what no calendar has."""
    return datetime.fromtimestamp(min(ms, 253_402_300_799_000) / 1000, UTC)


def unreachable(job_id: str, task: str, start_ms: int, deadline_ms: int) -> DeadlineUnreachable:
    """The error for a job that would start after its deadline."""
    return DeadlineUnreachable(
        f"job {job_id} ({task}) would start about {(start_ms - deadline_ms) / 1000:,.1f} s after"
        " its deadline: it was not enqueued; give it more time or priority, or run more workers",
        job_id=job_id,
        predicted_start=time_at(start_ms),
        deadline=time_at(deadline_ms),
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
