"""Calls of people and autoscalers: explain and signals. They read only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from taskq.commands.call import Call, map_of, text, whole
from taskq.keys import QueueKeys


class Holder(NamedTuple):
    """A worker that may hold jobs of a queue."""

    worker: str
    running: int
    life: str
    """alive, suspect or silent."""
    slots: int
    """Jobs it can run at once; 0 when it did not say."""

    @classmethod
    def read(cls, flat: Sequence[Any]) -> list[Holder]:
        fours = zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True)
        return [cls(text(name), jobs, text(life), whole(text(n))) for name, jobs, life, n in fours]


class Ahead(NamedTuple):
    """Ready jobs of one class, as one job sees them."""

    job_class: str
    better: int
    """With a better rank."""
    waiting: int


class LimitSeen(NamedTuple):
    """A limit that a job is under."""

    name: str
    instance: str
    definition: str
    """As stored; '' for one that is built in, or gone."""
    holding: int
    parked: int
    rate_us: int
    """When the next could start if none came before (GCRA's arrival time), Unix µs; 0 for none."""
    due_ms: float | None
    """When those parked are looked at again; inf: when one of the holders ends."""
    holders: list[tuple[str, str, str]]
    """(id, worker, task) of at most ten jobs that hold it."""


class Seen(NamedTuple):
    """All that bears on why a job is not running."""

    now_ms: int
    fields: dict[str, bytes]
    facts: dict[str, float]
    ahead: list[Ahead]
    holders: list[Holder]
    meta: dict[str, str]
    limits: list[LimitSeen]


def explain(keys: QueueKeys, job_id: str) -> Call[Seen | None]:
    """One look at a job and at what it waits for; None when there is no such job."""

    def parse(reply: list[Any]) -> Seen | None:
        if reply[0] == b"NOT_FOUND":
            return None
        _, now_ms, fields, facts, ahead, holders, meta, limits = reply
        return Seen(
            int(now_ms),
            {text(n): v for n, v in zip(fields[::2], fields[1::2], strict=True)},
            {text(n): _number(v) for n, v in zip(facts[::2], facts[1::2], strict=True)},
            [
                Ahead(text(name), better, waiting)
                for name, better, waiting in zip(ahead[::3], ahead[1::3], ahead[2::3], strict=True)
            ],
            Holder.read(holders),
            map_of(meta),
            [_limit(one) for one in limits],
        )

    return Call(
        "explain",
        (
            keys.ready,
            keys.classes,
            keys.holders,
            keys.suspects,
            keys.vitals,
            keys.meta,
            keys.averages,
        ),
        (keys.prefix, job_id),
        parse,
    )


def _limit(words: list[Any]) -> LimitSeen:
    name, instance, definition, holding, parked, rate, due, who = words
    return LimitSeen(
        text(name),
        text(instance),
        text(definition),
        holding,
        parked,
        whole(text(rate).partition(".")[0]),
        float(due) if due else None,
        [
            (text(job), text(worker), text(task))
            for job, worker, task in zip(who[::3], who[1::3], who[2::3], strict=True)
        ],
    )


def _number(value: Any) -> float:
    """A number as stored; 0 for what is none."""
    try:
        return float(value)
    except ValueError:
        return 0.0


class Waiting(NamedTuple):
    """A ready job, as far as an autoscaler needs it."""

    rank: float
    task: str
    enqueued_ms: int
    deadline_ms: int | None
    cost: int


class Band(NamedTuple):
    """Ready jobs of one class and one band, and the best of them."""

    job_class: str
    jobs: int
    best: list[Waiting]


class SignalsSeen(NamedTuple):
    """What an autoscaler needs to know of one queue."""

    now_ms: int
    ready: int
    blocked: int
    running: int
    due: int
    holders: list[Holder]
    policy: str
    horizon_ms: int | None
    paused: bool
    averages: dict[str, float]
    bands: list[Band]


def signals(keys: QueueKeys) -> Call[SignalsSeen]:
    """One look at what waits in a queue, and at who works."""

    def parse(reply: list[Any]) -> SignalsSeen:
        _, now_ms, ready, blocked, running, due, holders, settings, times, bands = reply
        return SignalsSeen(
            int(now_ms),
            ready,
            blocked,
            running,
            due,
            Holder.read(holders),
            text(settings[0]),
            whole(text(settings[1])) or None,
            bool(settings[2]),
            {name: _number(value) for name, value in map_of(times).items()},
            [Band(text(name), jobs, _waiting(rows)) for name, jobs, rows in bands],
        )

    return Call(
        "signals",
        (
            keys.ready,
            keys.scheduled,
            keys.retry,
            keys.classes,
            keys.holders,
            keys.suspects,
            keys.vitals,
            keys.meta,
            keys.averages,
        ),
        (keys.prefix,),
        parse,
    )


def _waiting(rows: list[bytes]) -> list[Waiting]:
    found = []
    for at in range(0, len(rows), 5):
        rank, task, enqueued, deadline, cost = (text(word) for word in rows[at : at + 5])
        found.append(
            Waiting(
                float(rank),
                task,
                whole(enqueued),
                whole(deadline) if deadline.isdecimal() else None,
                max(1, whole(cost)),
            )
        )
    return found
