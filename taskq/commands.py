"""Every call to Redis, as a value: which script or command, with which keys and arguments, and how
to read the reply.

Pure: no I/O, so the async and the sync store share it. One function per script, named after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from taskq.errors import JobConflict, JobNotFound, LeaseLost, QueueFull, ScriptBug, WrongState
from taskq.keys import QueueKeys, SharedKeys

T = TypeVar("T")
Word: TypeAlias = str | bytes | int | float

#: Jobs in one script call, at most; every loop in lua/ is bounded by it.
BATCH = 200


@dataclass(slots=True)
class Call(Generic[T]):
    """One call: `script` with KEYS and ARGV, or a plain command when `script` is empty."""

    script: str
    keys: Sequence[str]
    args: Sequence[Word]
    parse: Callable[[Any], T]


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


class Claims(NamedTuple):
    """Reply of claim and ack: what to run, and when to look again."""

    word: str
    now_ms: int
    next_due_ms: int
    more: bool
    refused: dict[str, str]
    jobs: list[ClaimedJob]


class Outcome(NamedTuple):
    """How a job ended: state `completed dead cancelled expired`, or `pending`, `not_found`,
    `purged`.
    """

    state: str
    result: bytes = b""
    reason: str = ""
    error: str = ""
    traceback: str = ""


class Ack(NamedTuple):
    id: str
    token: str
    result: bytes
    keep_ms: int


class Failure(NamedTuple):
    """A run that ended in its own error. `after_ms` None gives the job up."""

    id: str
    token: str
    after_ms: int | None
    reason: str
    error: str
    traceback: str


class QueueStats(NamedTuple):
    now_ms: int
    jobs: dict[str, int]
    classes: dict[str, int]
    workers: dict[str, tuple[int, str]]
    meta: dict[str, str]
    counters: dict[str, int]
    next_due_ms: int
    head: tuple[str, float, int] | None
    """Id, rank and enqueue time (ms) of the first ready job."""


class ClaimedJob:
    """A job this worker may run now, with its token."""

    __slots__ = ("fields", "id", "payload", "task", "token")

    def __init__(self, flat: list[bytes]) -> None:
        pairs = iter(flat)
        fields = dict(zip(pairs, pairs, strict=False))
        self.fields = fields
        self.id = fields[b"id"].decode()
        self.token = fields[b"token"].decode()
        self.task = fields.get(b"task", b"").decode("utf-8", "replace")
        self.payload = fields.get(b"payload", b"")

    def number(self, name: bytes, default: int | None = None) -> int | None:
        """A whole-number field; `default` when absent or malformed."""
        text = self.fields.get(name)
        try:
            return default if text is None else int(text)
        except ValueError:
            return default

    def text(self, name: bytes) -> str | None:
        value = self.fields.get(name)
        return None if value is None else value.decode("utf-8", "replace")


def text(reply: bytes) -> str:
    return reply.decode("utf-8", "replace")


def _map(flat: Sequence[bytes]) -> dict[str, str]:
    pairs = iter(flat)
    return {text(name): text(value) for name, value in zip(pairs, pairs, strict=False)}


def _words(flat: Sequence[bytes]) -> dict[str, str]:
    return _map(flat)


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


def _claim_keys(keys: QueueKeys, worker: str, classes: Iterable[str]) -> list[str]:
    return [
        keys.meta,
        keys.alive(worker),
        keys.running(worker),
        keys.stats,
        keys.scheduled,
        keys.retry,
        keys.done,
        keys.wake,
        *(keys.ready_of(job_class) for job_class in classes),
    ]


def _parse_claim(reply: list[Any]) -> Claims:
    jobs = [ClaimedJob(flat) for flat in reply[4:]]
    return Claims(reply[0].decode(), int(reply[1]), int(reply[2]), bool(reply[3]), {}, jobs)


def claim(
    keys: QueueKeys, worker: str, *, keep_ms: int, limit: int, slots: dict[str, int]
) -> Call[Claims]:
    """Take up to `limit` jobs. `slots`: free slots per class, '' is the common one."""
    args: list[Word] = [keys.job_prefix, worker, keep_ms, min(limit, BATCH), *slots.values()]
    return Call("claim", _claim_keys(keys, worker, slots), args, _parse_claim)


def _parse_ack(reply: list[Any]) -> Claims:
    odd = reply[4]
    jobs = [ClaimedJob(flat) for flat in reply[5:]]
    return Claims(
        reply[0].decode(),
        int(reply[1]),
        int(reply[2]),
        bool(reply[3]),
        _words(odd) if odd else {},
        jobs,
    )


def ack(
    keys: QueueKeys,
    worker: str,
    acks: Sequence[Ack],
    *,
    keep_ms: int,
    done_max: int,
    limit: int,
    slots: dict[str, int],
) -> Call[Claims]:
    """Report up to 200 finished jobs and take up to `limit` new ones. `Claims.refused` has those
    that did not count.
    """
    args: list[Word] = [
        keys.job_prefix,
        worker,
        keep_ms,
        min(limit, BATCH),
        done_max,
        len(acks),
    ]
    for item in acks:
        args += item
    args += slots.values()
    return Call("ack", _claim_keys(keys, worker, slots), args, _parse_ack)


def fail(
    keys: QueueKeys,
    worker: str,
    failures: Sequence[Failure],
    *,
    dead_keep_ms: int,
    dead_max: int,
    keep_ms: int,
) -> Call[dict[str, str]]:
    """Report up to 200 failed jobs; what became of each: RETRY DEAD CANCELLED, or STALE ALREADY
    GONE.
    """
    args: list[Word] = [keys.job_prefix, worker, dead_keep_ms, dead_max, keep_ms]
    for item in failures:
        after: Word = "" if item.after_ms is None else item.after_ms
        args += (item.id, item.token, after, item.reason, item.error, item.traceback)
    return Call(
        "fail",
        (keys.running(worker), keys.retry, keys.dead, keys.done, keys.wake, keys.stats),
        args,
        lambda reply: _words(reply[2:]),
    )


def release(
    keys: QueueKeys, worker: str, jobs: Iterable[tuple[str, str, str]], *, keep_ms: int
) -> Call[dict[str, str]]:
    """Give up to 200 jobs back unpunished; each is (id, token, class). Per id: READY CANCELLED, or
    STALE GONE.
    """
    args: list[Word] = [keys.job_prefix, worker, keep_ms]
    for item in jobs:
        args += item
    return Call(
        "release",
        (keys.running(worker), keys.ready, keys.classes, keys.done, keys.wake, keys.stats),
        args,
        lambda reply: _words(reply[2:]),
    )


def promote(keys: QueueKeys, limit: int = 100) -> Call[tuple[int, int]]:
    """Move due jobs to ready: (moved, ms until the next is due; 0 now, -1 none)."""
    return Call(
        "promote",
        (keys.scheduled, keys.retry, keys.ready, keys.meta, keys.wake, keys.stats),
        (keys.job_prefix, limit),
        lambda reply: (reply[1], int(reply[2])),
    )


class Beat(NamedTuple):
    now_ms: int
    lapsed: bool
    holding: int
    cancels: list[str]


def _worker_keys(keys: QueueKeys, worker: str) -> tuple[str, ...]:
    return (
        keys.alive(worker),
        keys.holders,
        keys.suspects,
        keys.running(worker),
        keys.cancels(worker),
    )


def heartbeat(keys: QueueKeys, worker: str, *, ttl_ms: int) -> Call[Beat]:
    """Prove life for `ttl_ms`; hear which jobs to cancel."""
    return Call(
        "heartbeat",
        _worker_keys(keys, worker),
        (worker, ttl_ms),
        lambda reply: Beat(
            int(reply[1]), bool(reply[2]), reply[3], [text(item) for item in reply[4:]]
        ),
    )


def retire(keys: QueueKeys, worker: str) -> Call[int]:
    """Leave for good; the number of jobs still held, 0 when the worker is gone."""
    return Call("retire", _worker_keys(keys, worker), (worker,), lambda reply: int(reply[1]))


class Reaped(NamedTuple):
    wait_ms: int
    jobs: list[tuple[str, str, str]]
    """(id, READY | DEAD | CANCELLED, lost worker)"""


def reap(
    keys: QueueKeys,
    *,
    every_ms: int,
    grace_ms: int,
    max_crashes: int,
    dead_keep_ms: int,
    dead_max: int,
    keep_ms: int,
    limit: int = 100,
) -> Call[Reaped]:
    """Take jobs back from dead workers; `wait_ms` says when to look again."""

    def parse(reply: list[Any]) -> Reaped:
        words = [text(word) for word in reply[3:]]
        triples = zip(words[::3], words[1::3], words[2::3], strict=True)
        return Reaped(int(reply[2]), list(triples))

    return Call(
        "reap",
        (
            keys.holders,
            keys.suspects,
            keys.meta,
            keys.ready,
            keys.dead,
            keys.done,
            keys.wake,
            keys.stats,
        ),
        (
            keys.job_prefix,
            keys.alive_prefix,
            keys.running_prefix,
            keys.cancels_prefix,
            every_ms,
            grace_ms,
            max_crashes,
            dead_keep_ms,
            dead_max,
            keep_ms,
            limit,
        ),
        parse,
    )


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


def not_found(keys: QueueKeys, job_id: str) -> JobNotFound:
    """The error for an id without a record."""
    return JobNotFound(
        f"no job {job_id!r} in queue {keys.queue!r}: the id is wrong, or its record has expired",
        job_id=job_id,
    )


def revive(keys: QueueKeys, ids: Sequence[str]) -> Call[dict[str, str]]:
    """Bring up to 200 dead, expired or cancelled jobs back. Per id: READY, NOT_FOUND or its state."""
    return Call(
        "revive",
        (keys.ready, keys.dead, keys.done, keys.meta, keys.wake, keys.stats),
        (keys.job_prefix, *ids),
        lambda reply: _words(reply[1:]),
    )


def forget(keys: QueueKeys, ids: Sequence[str]) -> Call[dict[str, str]]:
    """Remove the records of up to 200 ended jobs. Per id: GONE, NOT_FOUND or its state."""
    return Call(
        "forget",
        (keys.dead, keys.done, keys.stats),
        (keys.job_prefix, *ids),
        lambda reply: _words(reply[1:]),
    )


def purge(keys: QueueKeys, index: str, limit: int = BATCH) -> Call[tuple[int, int]]:
    """Empty one index (`ready`, `ready:<class>`, `scheduled`, `retry`, `dead`, `done`): (removed,
    left).
    """
    return Call(
        "purge",
        (keys.prefix + index, keys.stats),
        (keys.job_prefix, limit),
        lambda reply: (reply[1], reply[2]),
    )


def pause(keys: QueueKeys) -> Call[int]:
    """Stop claims; since when the queue is paused, Unix ms."""
    return Call("pause", (keys.meta,), (), lambda reply: int(reply[1]))


def resume(keys: QueueKeys) -> Call[bool]:
    """Allow claims again; True when the queue was paused."""
    return Call("resume", (keys.meta, keys.ready, keys.wake), (), lambda reply: bool(reply[1]))


def configure(keys: QueueKeys, settings: dict[str, str]) -> Call[int]:
    """Set `policy horizon_ms patience_ms max_jobs` of a queue ('' restores the default); how many
    changed.
    """
    args = [word for pair in settings.items() for word in pair]
    return Call("configure", (keys.meta,), args, lambda reply: int(reply[1]))


def progress(
    keys: QueueKeys, job_id: str, token: str, worker: str, fraction: float, note: str
) -> Call[str]:
    """Note how far a running job is: OK, STALE or GONE."""
    return Call(
        "progress",
        (keys.job(job_id),),
        (token, worker, f"{fraction:.3f}", note),
        lambda reply: text(reply[0]),
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


class Held(NamedTuple):
    """A page of what a worker holds: `ids` as listed, `jobs` of those whose record says so too."""

    total: int
    jobs: list[ClaimedJob]
    ids: list[str]


def held(keys: QueueKeys, worker: str, start: int = 0) -> Call[Held]:
    """What this worker holds: up to 200 jobs from position `start`."""
    return Call(
        "held",
        (keys.running(worker),),
        (keys.job_prefix, worker, start, BATCH),
        lambda reply: Held(
            reply[1],
            [ClaimedJob(flat) for flat in reply[3:]],
            [text(job_id) for job_id in reply[2]],
        ),
    )


def stats(keys: QueueKeys) -> Call[QueueStats]:
    """How many jobs are where, in one consistent look."""

    def parse(reply: list[Any]) -> QueueStats:
        jobs = {text(n): c for n, c in zip(reply[2][::2], reply[2][1::2], strict=True)}
        classes = {text(n): c for n, c in zip(reply[3][::2], reply[3][1::2], strict=True)}
        holders = zip(reply[4][::3], reply[4][1::3], reply[4][2::3], strict=True)
        job_id, rank, enqueued = reply[8]
        return QueueStats(
            int(reply[1]),
            jobs,
            classes,
            {text(worker): (count, text(word)) for worker, count, word in holders},
            _map(reply[5]),
            {name: int(value) for name, value in _map(reply[6]).items()},
            int(reply[7]),
            (text(job_id), float(rank), int(enqueued or 0)) if job_id else None,
        )

    return Call(
        "stats",
        (
            keys.ready,
            keys.scheduled,
            keys.retry,
            keys.dead,
            keys.done,
            keys.holders,
            keys.classes,
            keys.suspects,
            keys.meta,
            keys.stats,
        ),
        (keys.job_prefix, keys.alive_prefix, keys.running_prefix),
        parse,
    )


def roster(
    keys: SharedKeys, worker: str, fields: dict[str, str | int], life_ms: int
) -> list[Call[Any]]:
    """What a worker tells about itself. Not queue state, and in another slot, so plain commands."""
    words: list[Word] = [word for pair in fields.items() for word in pair]
    now_ms = time.time_ns() // 1_000_000
    key = keys.worker(worker)
    return [
        plain("HSET", key, *words, "beat_ms", now_ms, parse=int),
        plain("PEXPIRE", key, life_ms, parse=int),
        plain("ZADD", keys.workers, now_ms, worker, parse=int),
        plain("ZREMRANGEBYSCORE", keys.workers, "-inf", now_ms - 86_400_000, parse=int),
    ]


def leave_roster(keys: SharedKeys, worker: str) -> list[Call[Any]]:
    """Take a worker off the roster."""
    return [
        plain("UNLINK", keys.worker(worker), parse=int),
        plain("ZREM", keys.workers, worker, parse=int),
    ]


def plain(*words: Word, parse: Callable[[Any], T]) -> Call[T]:
    """A plain Redis command, for reads and for the roster, which is no queue state."""
    return Call("", (), words, parse)


def check_reply(reply: object, call: Call[Any]) -> None:
    """ScriptBug unless a script answered with a word first."""
    if call.script and not (isinstance(reply, list) and reply and isinstance(reply[0], bytes)):
        raise ScriptBug(f"script {call.script} answered {reply!r}: please report this")
