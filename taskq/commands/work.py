"""Calls of a worker about its jobs: claim, ack, fail, release, promote, progress, held."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from taskq.commands.call import BATCH, Call, Word, map_of, text
from taskq.keys import QueueKeys


class Claims(NamedTuple):
    """Reply of claim and ack: what to run, and when to look again."""

    word: str
    now_ms: int
    next_due_ms: int
    more: bool
    refused: dict[str, str]
    jobs: list[ClaimedJob]
    ranks: tuple[float, ...] = ()
    """Of the best jobs that were left behind, as far as was asked for; best first."""

    @property
    def next_rank(self) -> float | None:
        """Rank of the best job left behind; None when there is none."""
        return self.ranks[0] if self.ranks else None


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


class ClaimedJob:
    """A job this worker may run now, with its token."""

    __slots__ = ("fields", "id", "payload", "task", "token")

    def __init__(self, flat: list[bytes]) -> None:
        pairs = iter(flat)
        fields = dict(zip(pairs, pairs, strict=False))
        self.fields = fields
        # Somebody may have put bytes into an index that are no text: they must come back unchanged.
        self.id = fields[b"id"].decode("utf-8", "surrogateescape")
        self.token = fields.get(b"token", b"").decode("utf-8", "replace")
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


def _raw(job_id: str) -> Word:
    """An id as Redis has it; see ClaimedJob."""
    return job_id if job_id.isascii() else job_id.encode("utf-8", "surrogateescape")


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


def _trailing(look: int, all_slots: int | None) -> list[int]:
    """The arguments that may be left out; the second needs the first before it."""
    if all_slots is not None:
        return [min(look, BATCH), min(all_slots, BATCH)]
    return [] if look == 1 else [min(look, BATCH)]


def _parse_claim(reply: list[Any]) -> Claims:
    jobs = [ClaimedJob(flat) for flat in reply[4:]]
    word, now, due, left = reply[:4]
    return Claims(word.decode(), int(now), int(due), bool(left), {}, jobs, _ranks(left))


def _ranks(left: bytes) -> tuple[float, ...]:
    return tuple(map(float, left.split())) if left else ()


def claim(
    keys: QueueKeys,
    worker: str,
    *,
    keep_ms: int,
    limit: int,
    slots: dict[str, int],
    look: int = 1,
    all_slots: int | None = None,
) -> Call[Claims]:
    """Take up to `limit` slots' worth of jobs. `slots`: free slots per class, '' is the common one.
    `look`: of how many jobs left behind the ranks are wanted, at most. `all_slots`: those of the
    worker, where they are more than `limit`; a job that costs more takes them all.
    """
    args: list[Word] = [keys.job_prefix, worker, keep_ms, min(limit, BATCH), *slots.values()]
    args += _trailing(look, all_slots)
    return Call("claim", _claim_keys(keys, worker, slots), args, _parse_claim)


def _parse_ack(reply: list[Any]) -> Claims:
    odd = reply[4]
    jobs = [ClaimedJob(flat) for flat in reply[5:]]
    return Claims(
        reply[0].decode(),
        int(reply[1]),
        int(reply[2]),
        bool(reply[3]),
        map_of(odd) if odd else {},
        jobs,
        _ranks(reply[3]),
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
    look: int = 1,
    all_slots: int | None = None,
) -> Call[Claims]:
    """Report up to 200 finished jobs and take up to `limit` new ones, as claim does.
    `Claims.refused` has those that did not count.
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
    args += _trailing(look, all_slots)
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
        args += (_raw(item.id), item.token, after, item.reason, item.error, item.traceback)
    return Call(
        "fail",
        (keys.running(worker), keys.retry, keys.dead, keys.done, keys.wake, keys.stats),
        args,
        lambda reply: map_of(reply[2:]),
    )


def release(
    keys: QueueKeys, worker: str, jobs: Iterable[tuple[str, str, str]], *, keep_ms: int
) -> Call[dict[str, str]]:
    """Give up to 200 jobs back unpunished; each is (id, token, class). Per id: READY CANCELLED, or
    STALE GONE.
    """
    args: list[Word] = [keys.job_prefix, worker, keep_ms]
    for job_id, token, job_class in jobs:
        args += (_raw(job_id), token, job_class)
    return Call(
        "release",
        (keys.running(worker), keys.ready, keys.classes, keys.done, keys.wake, keys.stats),
        args,
        lambda reply: map_of(reply[2:]),
    )


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


def promote(keys: QueueKeys, limit: int = 100) -> Call[tuple[int, int]]:
    """Move due jobs to ready: (moved, ms until the next is due; 0 now, -1 none)."""
    return Call(
        "promote",
        (
            keys.scheduled,
            keys.retry,
            keys.ready,
            keys.meta,
            keys.wake,
            keys.stats,
            keys.timers,
            keys.classes,
        ),
        (keys.job_prefix, limit),
        lambda reply: (reply[1], int(reply[2])),
    )
