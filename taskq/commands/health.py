"""Calls that keep workers honest: heartbeat, retire, reap, bury, and the roster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from taskq.commands.call import Call, Word, plain, text
from taskq.keys import QueueKeys, SharedKeys


class Beat(NamedTuple):
    now_ms: int
    lapsed: bool
    holding: int
    cancels: list[str]
    silent: int = 0
    """Other workers that have not beaten: call reap. 0 in a beat that did not look."""
    classes: int = 0
    """How many classes have been given jobs."""


class Measure(NamedTuple):
    """What a worker measured of one task since it last told."""

    task: str
    runs: int = 0
    """That ended."""
    ms: float = 0.0
    """How long they took in all: a slot was taken so long."""
    starts: int = 0
    """Jobs with a deadline that began to run."""
    slack_ms: float = 0.0
    """What was left to them then, in all; below 0 when too late."""
    least_ms: float = 0.0
    """What was left to the one that was closest."""
    late: int = 0
    """Runs that went on to their deadline or past it."""


#: Tasks measured in one beat, at most.
MEASURES = 50


def _worker_keys(keys: QueueKeys, worker: str) -> tuple[str, ...]:
    return (
        keys.alive(worker),
        keys.holders,
        keys.suspects,
        keys.running(worker),
        keys.cancels(worker),
        keys.vitals,
    )


def heartbeat(
    keys: QueueKeys,
    worker: str,
    *,
    ttl_ms: int,
    rss: int = 0,
    slots: int = 0,
    watermark: int = 0,
    pressed_ms: int = 0,
    told: int = 0,
    measures: Sequence[Measure] = (),
    every_ms: int = 0,
) -> Call[Beat]:
    """Prove life for `ttl_ms`; hear which jobs to cancel, and which workers are silent.

    `rss`: bytes this process holds; `slots`: jobs it can run at once. `watermark` > 0 looks at the
    server's memory: while it is above so many percent of maxmemory, enqueue is refused; one look
    counts for `pressed_ms`. `measures`, at most MEASURES, count once however often they are sent
    under the same number `told`. `every_ms` > 0 looks at the other workers, unless one of them has
    within that time.
    """
    words: list[Word] = [worker, ttl_ms, f"rss={rss} slots={slots}", watermark, pressed_ms, told]
    words += (keys.alive_prefix, every_ms)
    for one in measures:
        words += (one.task, one.runs, f"{one.ms:.3f}", one.starts)
        words += (f"{one.slack_ms:.0f}", f"{one.least_ms:.0f}", one.late)
    return Call(
        "heartbeat",
        (*_worker_keys(keys, worker), keys.meta, keys.averages, keys.slacks, keys.classes),
        words,
        lambda reply: Beat(
            int(reply[1]),
            bool(reply[2]),
            reply[3],
            [text(item) for item in reply[6:]],
            reply[4],
            reply[5],
        ),
    )


def retire(keys: QueueKeys, worker: str) -> Call[int]:
    """Leave for good; the number of jobs still held, 0 when the worker is gone."""
    return Call("retire", _worker_keys(keys, worker), (worker,), lambda reply: int(reply[1]))


class Reaped(NamedTuple):
    wait_ms: int
    jobs: list[tuple[str, str, str]]
    """(id, READY | DEAD | CANCELLED, lost worker)"""


def _taken_back(words: Sequence[bytes]) -> list[tuple[str, str, str]]:
    texts = [text(word) for word in words]
    return list(zip(texts[::3], texts[1::3], texts[2::3], strict=True))


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
    """Take jobs back from dead workers; `wait_ms` says when to look again, -1: when a heartbeat
    tells of somebody silent.
    """

    def parse(reply: list[Any]) -> Reaped:
        return Reaped(int(reply[2]), _taken_back(reply[3:]))

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
            keys.classes,
            keys.vitals,
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


class Buried(NamedTuple):
    more: bool
    jobs: list[tuple[str, str, str]]
    """(id, READY | DEAD | CANCELLED, dead worker)"""


def bury(
    keys: QueueKeys,
    worker: str,
    how: str,
    *,
    max_crashes: int,
    dead_keep_ms: int,
    dead_max: int,
    keep_ms: int,
    limit: int = 100,
) -> Call[Buried]:
    """Take jobs back from a worker whose process was seen to end; `how` it ended, in few words."""
    return Call(
        "bury",
        (
            keys.alive(worker),
            keys.holders,
            keys.suspects,
            keys.vitals,
            keys.running(worker),
            keys.cancels(worker),
            keys.ready,
            keys.dead,
            keys.done,
            keys.wake,
            keys.stats,
            keys.classes,
        ),
        (
            keys.job_prefix,
            keys.running_prefix,
            worker,
            how[:200],
            max_crashes,
            dead_keep_ms,
            dead_max,
            keep_ms,
            limit,
        ),
        lambda reply: Buried(bool(reply[1]), _taken_back(reply[2:])),
    )


def roster(
    keys: SharedKeys, worker: str, fields: dict[str, str | int], life_ms: int
) -> list[Call[Any]]:
    """What a worker tells about itself. Not queue state, and in another slot, so plain commands."""
    words: list[Word] = [word for pair in fields.items() for word in pair]
    key = keys.worker(worker)
    return [
        plain("HSET", key, *words, "beat_ms", _now_ms(), parse=int),
        plain("PEXPIRE", key, life_ms, parse=int),
    ]


def enlist(keys: SharedKeys, worker: str) -> Call[int]:
    """Have the roster list a worker."""
    return plain("ZADD", keys.workers, _now_ms(), worker, parse=int)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def trim_roster(keys: SharedKeys) -> Call[int]:
    """Forget workers that have told nothing for a day."""
    oldest = _now_ms() - 86_400_000
    return plain("ZREMRANGEBYSCORE", keys.workers, "-inf", oldest, parse=int)


def leave_roster(keys: SharedKeys, worker: str) -> list[Call[Any]]:
    """Take a worker off the roster."""
    return [
        plain("UNLINK", keys.worker(worker), parse=int),
        plain("ZREM", keys.workers, worker, parse=int),
    ]
