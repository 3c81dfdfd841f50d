"""What each feature costs the server, job by job: the scripts' own time, driven without workers.

A variant enqueues, claims and acknowledges the same number of jobs in batches; variants take turns
in each round, and each is divided by the plain one of its round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.raw import Wire, run
from bench.replay.results import Results
from bench.server import Server
from taskq import commands
from taskq.commands import Ack, NewJob
from taskq.keys import QueueKeys

NAME = "features"
_BATCH = 100
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Jobs that use one feature."""

    name: str
    job: Callable[[int], NewJob]
    job_class: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)
    max_jobs: int = 10_000_000
    schedules: int = 0
    """Schedules that are due, and fire with each batch."""


def _job(number: int, *extras: str | int, deadline: str = "", job_class: str = "") -> NewJob:
    return NewJob(f"{number:024d}", "noop", b"\x92\x90\x80", 5, "", deadline, job_class, extras)


_ALL = tuple(f"l{n}" for n in range(10))
VARIANTS = (
    Variant(name="plain", job=_job),
    Variant(name="`policy=aging`", job=_job, settings={"policy": "aging"}),
    Variant(
        name="`policy=fair`, 100 groups",
        job=lambda n: _job(n, "group", f"g{n % 100}"),
        settings={"policy": "fair"},
    ),
    Variant(name="`deadline=`", job=lambda n: _job(n, deadline=f"+{_HOUR_MS}")),
    Variant(name='`admit="warn"`', job=lambda n: _job(n, "@admit", "warn", deadline="+9999")),
    Variant(name="`requires=`", job=lambda n: _job(n, job_class="gpu"), job_class="gpu"),
    Variant(name="`cost=2`", job=lambda n: _job(n, "cost", 2)),
    Variant(
        name="one limit",
        job=lambda n: _job(n, "limits", f"l{n % 10}"),
        limits=dict.fromkeys(_ALL, "concurrency=1000000 on=job"),
    ),
    Variant(
        name="ten limits",
        job=lambda n: _job(n, "limits", " ".join(_ALL)),
        limits=dict.fromkeys(_ALL, "concurrency=1000000 on=job"),
    ),
    Variant(
        name='`unique="running"`',
        job=lambda n: _job(n, "key", f"k{n}", "@unique", "running keep"),
    ),
    Variant(
        name='`on_full="drop_oldest"`, full',
        job=_job,
        settings={"on_full": "drop_oldest"},
        max_jobs=1000,
    ),
    Variant(
        name="a tick of a schedule",
        job=lambda n: _job(n, "@tick", f"s{n % _BATCH} {n // _BATCH} {n // _BATCH + 1}"),
        schedules=_BATCH,
    ),
)


def take(results: Results, server: Server, *, quick: bool) -> None:
    """Interleaved rounds of all variants."""
    jobs, rounds = (2_000, 1) if quick else (20_000, 5)
    for _ in range(rounds):
        plain = 0.0
        for variant in VARIANTS:
            parts = _cost(server, variant, jobs)
            whole = sum(parts.values())
            plain = plain or whole
            values = {**parts, "whole": whole, "ratio": whole / plain}
            results.add(NAME, "scripts", variant.name, "real", values)


def _cost(server: Server, variant: Variant, count: int) -> dict[str, float]:
    """Server time of each script for a job, µs."""
    server.clear()
    keys = QueueKeys(server.namespace, "features")
    wire = Wire(server.url)
    try:
        wire.load("enqueue", "claim", "ack", "heartbeat", "configure", "limit")
        run(wire, commands.heartbeat(keys, "w", ttl_ms=_HOUR_MS))
        if variant.settings:
            run(wire, commands.configure(keys, variant.settings))
        if variant.limits:
            run(wire, commands.limit(keys, variant.limits))
        if variant.schedules:
            due = {keys.cron_timer(f"s{n}"): 0 for n in range(variant.schedules)}
            server.client.zadd(keys.timers, due)
        numbers = range(count)
        calls = [
            commands.enqueue(
                keys,
                [variant.job(number) for number in numbers[start : start + _BATCH]],
                max_jobs=variant.max_jobs,
                all_or_none=False,
            )
            for start in range(0, count, _BATCH)
        ]
        enqueued = _timed(server, lambda: [run(wire, call) for call in calls]) / count
        held: list[list[tuple[str, str]]] = []
        slots = {"": 200} | ({variant.job_class: 200} if variant.job_class else {})

        def claim() -> None:
            while jobs := run(
                wire, commands.claim(keys, "w", keep_ms=_HOUR_MS, limit=_BATCH, slots=slots)
            ).jobs:
                held.append([(job.id, job.token) for job in jobs])

        claimed = _timed(server, claim)
        ran = sum(len(part) for part in held)
        acked = _timed(server, lambda: _ack(wire, keys, held))
        return {"enqueue": enqueued, "claim": claimed / ran, "ack": acked / ran}
    finally:
        wire.close()


def _ack(wire: Wire, keys: QueueKeys, held: Sequence[Sequence[tuple[str, str]]]) -> None:
    for part in held:
        acks = [Ack(job_id, token, b"", _HOUR_MS) for job_id, token in part]
        call = commands.ack(
            keys, "w", acks, keep_ms=_HOUR_MS, done_max=10**6, limit=0, slots={"": 0}
        )
        run(wire, call)


def _timed(server: Server, work: Callable[[], object]) -> float:
    """The scripts' own time on the server, µs."""
    before = server.read()
    work()
    return server.read().since(before).commands["evalsha"].usec
