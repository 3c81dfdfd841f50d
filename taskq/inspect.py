"""The read side: what is in the queues, which workers live, why a job waits. For people's eyes.

Sibling of client.py: changes nothing, and needs neither client nor worker. Every look is bounded:
no KEYS, no SCAN.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Any

from taskq import commands, looks, roster
from taskq.commands import Call, QueueStats
from taskq.errors import JobNotFound
from taskq.job import JobInfo, State
from taskq.keys import QueueKeys, SharedKeys, is_place
from taskq.partition import in_order
from taskq.rank import HORIZON_MS
from taskq.results import info_of
from taskq.roster import ask, mapping, texts
from taskq.steps import PAGE, follow
from taskq.store import Store
from taskq.views import (
    Entry,
    Explanation,
    Place,
    QueueView,
    Signals,
    Slack,
    WorkerView,
    finite,
    moment,
    slacks_of,
)

#: Pages of the done index looked through for one kind of end, at most.
PAGES = 50
TRIES = 3

#: What a listing needs of a job; not its payload, result and traceback, which may be large.
_LISTED = (
    "task", "state", "priority", "attempt", "crashes", "rank", "deadline_ms", "enqueued_ms",
    "started_ms", "ended_ms", "worker", "token", "reason", "error", "progress", "note", "cancel",
    "class", "group", "blocked_by", "cost", "key",
)  # fmt: skip
#: What `jobs` lists, with the states that live in the done index.
LISTABLE = (
    "running", "ready", "blocked", "retry", "scheduled", "dead", "completed", "expired",
    "cancelled", "done",
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
        return await self._store.run(ask(*words), tries=TRIES)

    async def _ask_all(self, calls: Sequence[Sequence[str | int]]) -> list[Any]:
        wanted = [ask(*words) for words in calls]
        replies: list[Any] = []
        for start in range(0, len(wanted), PAGE):
            replies += await self._store.run_many(wanted[start : start + PAGE], tries=TRIES)
        return replies

    # Queues

    async def queue_names(self) -> list[str]:
        """Every queue and partition ever used, sorted; what is no name of one is left out."""
        names = texts(await self._ask("SMEMBERS", self._shared.queues))
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
        return await follow(self._store, roster.workers(self._namespace, start, limit))

    async def now(self) -> float:
        """The server's clock, Unix seconds."""
        seconds, micros = await self._ask("TIME")
        return int(seconds) + int(micros) / 1e6

    async def averages(self, queue: str) -> dict[str, float]:
        """How long runs of each task take, s; `*` is all tasks. At most about a thousand."""
        found = mapping(await self._ask("HGETALL", self.keys(queue).averages))
        numbers = {task: finite(ms) for task, ms in found.items()}
        return {task: ms / 1000 for task, ms in numbers.items() if ms is not None and ms >= 0}

    async def slacks(self, queue: str) -> dict[str, Slack]:
        """How jobs with a deadline stood to it, by task."""
        return slacks_of(mapping(await self._ask("HGETALL", self.keys(queue).slacks)))

    async def signals(self, queue: str, slots_each: int) -> Signals:
        """What an autoscaler needs to know; partitions are added up."""
        return await follow(self._store, looks.signals(self._namespace, queue, slots_each))

    # Jobs

    async def explain(self, job_id: str, queue: str) -> Explanation:
        """Why a job of a queue (or partition) is where it is. Raises JobNotFound."""
        return await follow(self._store, looks.explain(self._namespace, queue, job_id))

    async def jobs(self, queue: str, state: str, start: int = 0, limit: int = 50) -> list[Entry]:
        """Jobs of one state (see LISTABLE): what runs next first, what ended last first."""
        keys = self.keys(queue)
        if state == "ready":
            names = texts(await self._ask("SRANDMEMBER", keys.classes, PAGE))
            indexes = [keys.ready_of(name) for name in ("", *sorted(names))]
            return await self._first(keys, indexes, start, limit)
        if state == "running":
            workers = texts(await self._ask("SRANDMEMBER", keys.holders, PAGE))
            return await self._first(
                keys, [keys.running(worker) for worker in workers], start, limit
            )
        if state in ("scheduled", "retry", "blocked"):
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
            State.BLOCKED: keys.prefix + "blocked",
        }.get(job.state)
        if index is None:
            return None
        before, score = await self._ask_all([("ZRANK", index, job.id), ("ZSCORE", index, job.id)])
        return None if before is None or score is None else Place(int(before), float(score))


def queue_view(name: str, stats: QueueStats) -> QueueView:
    """A QueueView from the reply of the stats script."""
    meta = stats.meta
    head_id, head_rank, head_ms = stats.head or (None, None, 0)
    paused = finite(meta.get("paused"))
    most = finite(meta.get("max_jobs"))
    return QueueView(
        name=name,
        now_ms=stats.now_ms,
        jobs=stats.jobs,
        classes={job_class: jobs for job_class, jobs in stats.classes.items() if jobs},
        holders=stats.workers,
        paused_at=None if paused is None else moment(paused),
        policy=meta.get("policy") or "strict",
        horizon=(finite(meta.get("horizon_ms")) or HORIZON_MS) / 1000,
        max_jobs=None if most is None else int(most),
        counters=stats.counters,
        due_in=None if stats.next_due_ms < 0 else stats.next_due_ms / 1000,
        head=head_id,
        head_rank=head_rank,
        head_waits=max(0.0, (stats.now_ms - head_ms) / 1000) if head_ms else None,
        slots=stats.slots,
        parked=stats.parked,
        limits=stats.limits,
        struck=tuple(meta.get("struck", "").split()),
        ticks={name: moment(ms) for name, ms in stats.ticks.items() if math.isfinite(ms)},
    )


def _scored(flat: Sequence[bytes]) -> list[tuple[float, str]]:
    words = texts(flat)
    return [(float(score), job) for job, score in zip(words[::2], words[1::2], strict=True)]
