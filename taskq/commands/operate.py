"""Calls of operators: stats, pause, resume, configure, revive, forget, purge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from taskq.commands.call import BATCH, Call, Word, map_of, text, whole
from taskq.commands.look import Holder
from taskq.errors import StoreUnavailable
from taskq.keys import QueueKeys


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
    slots: dict[str, int]
    """Worker: jobs it can run at once, as it said in its last beat."""
    parked: dict[str, int]
    """Limit (instance): jobs it blocks."""
    limits: dict[str, str]
    """Limit: its definition."""
    ticks: dict[str, float]
    """Schedule: when it ticks next, Unix ms; inf: never."""


def revive(keys: QueueKeys, ids: Sequence[str]) -> Call[dict[str, str]]:
    """Bring up to 200 dead, expired or cancelled jobs back. Per id: READY, NOT_FOUND or its
    state.
    """
    return Call(
        "revive",
        (keys.ready, keys.dead, keys.done, keys.meta, keys.wake, keys.stats),
        (keys.job_prefix, *ids),
        lambda reply: map_of(reply[1:]),
    )


def forget(keys: QueueKeys, ids: Sequence[str]) -> Call[dict[str, str]]:
    """Remove the records of up to 200 ended jobs. Per id: GONE, NOT_FOUND or its state."""
    return Call(
        "forget",
        (keys.dead, keys.done, keys.stats),
        (keys.job_prefix, *ids),
        lambda reply: map_of(reply[1:]),
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
    return Call(
        "resume",
        (keys.meta, keys.ready, keys.wake, keys.classes),
        (),
        lambda reply: bool(reply[1]),
    )


def configure(keys: QueueKeys, settings: dict[str, str]) -> Call[int]:
    """Set `policy horizon_ms patience_ms max_jobs on_full` of a queue ('' restores the default), or
    `weight:<group>`; how many changed. A new policy ranks waiting jobs anew, bit by bit; until then
    another raises StoreUnavailable.
    """
    args: list[Word] = [keys.prefix]
    args += [word for pair in settings.items() for word in pair]

    def parse(reply: list[Any]) -> int:
        if reply[0] == b"TURNING":
            raise StoreUnavailable(
                f"queue {keys.queue!r}: an earlier change of policy is still being carried out for"
                f" {reply[1]} jobs; workers do that, try again soon"
            )
        return int(reply[1])

    return Call("configure", (keys.meta, keys.classes, keys.timers, keys.wake), args, parse)


def stats(keys: QueueKeys) -> Call[QueueStats]:
    """How many jobs are where, in one consistent look."""

    def parse(reply: list[Any]) -> QueueStats:
        jobs = {text(n): c for n, c in zip(reply[2][::2], reply[2][1::2], strict=True)}
        classes = {text(n): c for n, c in zip(reply[3][::2], reply[3][1::2], strict=True)}
        workers = Holder.read(reply[4])
        job_id, rank, enqueued = reply[8]
        return QueueStats(
            int(reply[1]),
            jobs,
            classes,
            {one.worker: (one.running, one.life) for one in workers},
            map_of(reply[5]),
            {name: whole(value) for name, value in map_of(reply[6]).items()},
            int(reply[7]),
            (text(job_id), float(rank), whole(text(enqueued))) if job_id else None,
            {one.worker: one.slots for one in workers},
            {text(n): c for n, c in zip(reply[9][::2], reply[9][1::2], strict=True)},
            map_of(reply[10]),
            {name: float(ms) for name, ms in map_of(reply[11]).items()},
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
            keys.vitals,
        ),
        (keys.job_prefix, keys.alive_prefix, keys.running_prefix, keys.prefix),
        parse,
    )
