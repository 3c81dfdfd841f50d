"""The read side: what is in the queues, which workers live, why a job waits. For people's eyes.

Sibling of client.py: changes nothing, and needs neither client nor worker. Every look is bounded:
no KEYS, no SCAN.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from typing import Any

from taskq import commands
from taskq.classes import lacks
from taskq.commands import Call, QueueStats
from taskq.errors import JobNotFound
from taskq.job import JobInfo, State
from taskq.keys import QueueKeys, SharedKeys, is_place
from taskq.partition import in_order
from taskq.rank import HORIZON_MS
from taskq.results import info_of
from taskq.store import Store
from taskq.views import Entry, Place, QueueView, Unserved, WorkerView, moment

#: Entries of an index read in one call, and workers, holders or classes looked at, at most.
PAGE = 200
#: Pages of the done index looked through for one kind of end, at most.
PAGES = 50
TRIES = 3

#: What a listing needs of a job; not its payload, result and traceback, which may be large.
_LISTED = (
    "task", "state", "priority", "attempt", "crashes", "rank", "deadline_ms", "enqueued_ms",
    "started_ms", "ended_ms", "worker", "token", "reason", "error", "progress", "note", "cancel",
    "class",
)  # fmt: skip
#: What `jobs` lists, with the states that live in the done index.
LISTABLE = (
    "running", "ready", "retry", "scheduled", "dead", "completed", "expired", "cancelled", "done",
)  # fmt: skip


class Inspector:
    """Looks at one namespace through a store. All methods raise StoreError."""

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self._namespace = namespace
        self._shared = SharedKeys(namespace)

    def keys(self, queue: str) -> QueueKeys:
        """The keys of a queue; InvalidName when it cannot be one."""
        return QueueKeys(self._namespace, queue)

    async def _ask(self, *words: str | int) -> Any:
        return await self._store.run(commands.plain(*words, parse=_same), tries=TRIES)

    async def _ask_all(self, calls: Sequence[Sequence[str | int]]) -> list[Any]:
        wanted = [commands.plain(*words, parse=_same) for words in calls]
        replies: list[Any] = []
        for start in range(0, len(wanted), PAGE):
            replies += await self._store.run_many(wanted[start : start + PAGE], tries=TRIES)
        return replies

    # Queues

    async def queue_names(self) -> list[str]:
        """Every queue and partition ever used, sorted; what is no name of one is left out."""
        names = _texts(await self._ask("SMEMBERS", self._shared.queues))
        return sorted(filter(is_place, names), key=in_order)

    async def knows(self, queue: str) -> bool:
        """Has this queue ever been used?"""
        return bool(await self._ask("SISMEMBER", self._shared.queues, queue))

    async def queue(self, name: str) -> QueueView:
        """One queue; all zero when it was never used."""
        return queue_view(name, await self._store.run(commands.stats(self.keys(name)), tries=TRIES))

    async def queues(self) -> list[QueueView]:
        """All queues, by name."""
        names = await self.queue_names()
        calls: list[Call[QueueStats]] = [commands.stats(self.keys(name)) for name in names]
        stats: list[QueueStats] = []
        for start in range(0, len(calls), PAGE):
            stats += await self._store.run_many(calls[start : start + PAGE], tries=TRIES)
        return [queue_view(name, found) for name, found in zip(names, stats, strict=True)]

    # Workers

    async def workers(self, start: int = 0, limit: int = PAGE) -> list[WorkerView]:
        """Workers on the roster, by host. One that crashed stays on it for about 20 s."""
        ids = _texts(await self._ask("ZREVRANGE", self._shared.workers, start, start + limit - 1))
        rows = await self._ask_all([("HGETALL", self._shared.worker(worker)) for worker in ids])
        now = await self.now()
        found = [(worker, _map(row)) for worker, row in zip(ids, rows, strict=True) if row]
        beats = [
            ("EXISTS", self.keys(queue).alive(worker))
            for worker, fields in found
            for queue in fields.get("queues", "").split()
        ]
        answers = iter(await self._ask_all(beats))
        views = []
        for worker, fields in found:
            alive = [next(answers) for _ in fields.get("queues", "").split()]
            views.append(worker_view(worker, fields, now, alive=any(alive)))
        return sorted(views, key=lambda view: (view.host, view.id))

    async def now(self) -> float:
        """The server's clock, Unix seconds."""
        seconds, micros = await self._ask("TIME")
        return int(seconds) + int(micros) / 1e6

    # Jobs

    async def jobs(self, queue: str, state: str, start: int = 0, limit: int = 50) -> list[Entry]:
        """Jobs of one state (see LISTABLE): what runs next first, what ended last first."""
        keys = self.keys(queue)
        if state == "ready":
            names = _texts(await self._ask("SRANDMEMBER", keys.classes, PAGE))
            indexes = [keys.ready_of(name) for name in ("", *sorted(names))]
            return await self._first(keys, indexes, start, limit)
        if state == "running":
            workers = _texts(await self._ask("SRANDMEMBER", keys.holders, PAGE))
            return await self._first(
                keys, [keys.running(worker) for worker in workers], start, limit
            )
        if state in ("scheduled", "retry"):
            return await self._first(keys, [keys.prefix + state], start, limit)
        if state in ("dead", "done"):
            return await self._last(keys, state, start, limit)
        if state in ("completed", "expired", "cancelled"):
            return await self._ended(keys, state, start, limit)
        return []

    async def _first(
        self, keys: QueueKeys, indexes: Sequence[str], start: int, limit: int
    ) -> list[Entry]:
        """Entries from the low end of several indexes, merged by score and id."""
        end = start + limit - 1
        replies = await self._ask_all(
            [("ZRANGE", index, 0, end, "WITHSCORES") for index in indexes]
        )
        merged = heapq.merge(*(_scored(reply) for reply in replies))
        return await self._entries(keys, list(merged)[start : start + limit])

    async def _last(self, keys: QueueKeys, index: str, start: int, limit: int) -> list[Entry]:
        key = keys.prefix + index
        reply = await self._ask("ZREVRANGE", key, start, start + limit - 1, "WITHSCORES")
        return await self._entries(keys, _scored(reply))

    async def _ended(self, keys: QueueKeys, state: str, start: int, limit: int) -> list[Entry]:
        """Completed, expired and cancelled jobs share one index; look through it, a bounded way."""
        found: list[Entry] = []
        for page in range(PAGES):
            entries = await self._last(keys, "done", page * PAGE, PAGE)
            found += [entry for entry in entries if entry.info.state == state]
            if len(entries) == 0 or len(found) >= start + limit:
                break
        return found[start : start + limit]

    async def _entries(self, keys: QueueKeys, scored: Sequence[tuple[float, str]]) -> list[Entry]:
        """The records behind ids; an id whose record is gone is left out."""
        replies = await self._ask_all([("HMGET", keys.job(job), *_LISTED) for _, job in scored])
        entries = []
        for (score, job_id), reply in zip(scored, replies, strict=True):
            flat = [
                word
                for name, value in zip(_LISTED, reply, strict=True)
                if value is not None
                for word in (name.encode(), value)
            ]
            info = info_of(job_id, keys.queue, flat)
            if info is not None:
                entries.append(Entry(info, score))
        return entries

    async def find(self, job_id: str, queue: str | None = None) -> JobInfo:
        """A job with all its fields, looked for in every queue unless one is given. Raises
        JobNotFound.
        """
        names = await self.queue_names() if queue is None else [queue]
        calls = [("HGETALL", self.keys(name).job(job_id)) for name in names]
        for name, reply in zip(names, await self._ask_all(calls), strict=True):
            info = info_of(job_id, name, reply)
            if info is not None:
                return info
        if queue is not None:
            raise commands.not_found(self.keys(queue), job_id)
        raise JobNotFound(
            f"no job {job_id!r} in any queue: the id is wrong, or its record has expired",
            job_id=job_id,
        )

    async def place(self, job: JobInfo) -> Place | None:
        """Where a ready, scheduled or retrying job stands in its index; None when it is in none."""
        keys = self.keys(job.queue)
        index = {
            State.READY: keys.ready_of(job.job_class),
            State.SCHEDULED: keys.scheduled,
            State.RETRY: keys.retry,
        }.get(job.state)
        if index is None:
            return None
        before, score = await self._ask_all([("ZRANK", index, job.id), ("ZSCORE", index, job.id)])
        return None if before is None or score is None else Place(int(before), float(score))


def queue_view(name: str, stats: QueueStats) -> QueueView:
    """A QueueView from the reply of the stats script."""
    meta = stats.meta
    head_id, head_rank, head_ms = stats.head or (None, None, 0)
    paused = _number(meta.get("paused"))
    most = _number(meta.get("max_jobs"))
    return QueueView(
        name=name,
        now_ms=stats.now_ms,
        jobs=stats.jobs,
        classes={job_class: jobs for job_class, jobs in stats.classes.items() if jobs},
        holders=stats.workers,
        paused_at=None if paused is None else moment(paused),
        policy=meta.get("policy") or "strict",
        horizon=(_number(meta.get("horizon_ms")) or HORIZON_MS) / 1000,
        max_jobs=None if most is None else int(most),
        counters=stats.counters,
        due_in=None if stats.next_due_ms < 0 else stats.next_due_ms / 1000,
        head=head_id,
        head_rank=head_rank,
        head_waits=max(0.0, (stats.now_ms - head_ms) / 1000) if head_ms else None,
    )


def worker_view(worker: str, fields: dict[str, str], now: float, *, alive: bool) -> WorkerView:
    """A WorkerView from its hash. `now`: the server's clock, Unix seconds."""

    def number(name: str) -> float:
        return _number(fields.get(name)) or 0.0

    started = number("started_ms")
    return WorkerView(
        id=worker,
        host=fields.get("host", ""),
        pid=int(number("pid")),
        queues=tuple(fields.get("queues", "").split()),
        tasks=frozenset(fields.get("tasks", "").split()),
        provides=frozenset(fields.get("provides", "").split()),
        concurrency=int(number("concurrency")),
        slots=int(number("slots") or number("concurrency")),
        taken=int(number("taken") or number("running")),
        process_slots=int(number("process_slots")),
        running=int(number("running")),
        done=int(number("done")),
        failed=int(number("failed")),
        cpu=number("cpu"),
        rss=int(number("rss")),
        loop_lag=number("loop_lag_ms") / 1000,
        beat_age=max(0.0, now - number("beat_ms") / 1000),
        started_at=moment(started) if started else None,
        python=fields.get("python", ""),
        alive=alive,
        health=fields.get("health", "") if alive else "silent",
    )


def serves(worker: WorkerView, queue: str, job_class: str) -> bool:
    """Would this worker run a ready job of that class in that queue?"""
    return worker.alive and queue in worker.queues and not _lacks(worker, job_class)


def _lacks(worker: WorkerView, job_class: str) -> list[str]:
    return lacks(job_class, worker.provides, worker.tasks, worker.process_slots > 0)


def missing(queue: str, job_class: str, jobs: int, workers: Sequence[WorkerView]) -> Unserved:
    """What it is that no living worker has, for jobs that none of them can run."""
    there = [worker for worker in workers if worker.alive and queue in worker.queues]
    lacking = [set(_lacks(worker, job_class)) for worker in there] or [
        set(lacks(job_class, (), (), processes=False))
    ]
    nobody = sorted(set.intersection(*lacking))
    return Unserved(queue, job_class, jobs, tuple(nobody), len(there))


def unserved(queues: Iterable[QueueView], workers: Sequence[WorkerView]) -> list[Unserved]:
    """Ready jobs that nobody alive can run, by queue and class."""
    found = []
    for queue in queues:
        common = queue.jobs["ready"] - sum(queue.classes.values())
        for job_class, jobs in (("", common), *sorted(queue.classes.items())):
            if jobs > 0 and not any(serves(worker, queue.name, job_class) for worker in workers):
                found.append(missing(queue.name, job_class, jobs, workers))
    return found


def _same(reply: Any) -> Any:
    return reply


def _texts(reply: Sequence[bytes]) -> list[str]:
    return [item.decode("utf-8", "replace") for item in reply]


def _map(flat: Sequence[bytes]) -> dict[str, str]:
    words = _texts(flat)
    return dict(zip(words[::2], words[1::2], strict=False))


def _scored(flat: Sequence[bytes]) -> list[tuple[float, str]]:
    words = _texts(flat)
    return [(float(score), job) for job, score in zip(words[::2], words[1::2], strict=True)]


def _number(text: str | None) -> float | None:
    """A number as stored; None for what is none, or is not finite."""
    try:
        number = None if text is None else float(text)
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None
