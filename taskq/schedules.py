"""`app.schedules`: look at schedules and change them while workers run. Each verb has a blocking
twin that ends in `_sync`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeAlias

from taskq import commands
from taskq.address import Address
from taskq.client import Client
from taskq.client_sync import SyncClient
from taskq.commands import CREATED, NewJob, Sent
from taskq.cron import steps
from taskq.cron.declare import Declared, check_arguments, check_options
from taskq.cron.rules import Cron, Every, Rule, cron_rule, every_rule
from taskq.cron.schedule import (
    Schedule,
    check_policies,
    check_schedule_name,
    tick_id,
)
from taskq.cron.steps import Found
from taskq.errors import InvalidOption
from taskq.handle import Job, Jobs
from taskq.keys import QueueKeys, SharedKeys, check_name
from taskq.partition import is_partition, partition_of, queue_of
from taskq.rights import check_rights, check_rights_sync
from taskq.settings import Settings
from taskq.steps import TRIES, follow, follow_sync
from taskq.task import Signature, Task


class Host(Jobs, Protocol):
    """What the schedules need of their app."""

    partitions: dict[str, int]

    @property
    def settings(self) -> Settings: ...

    @property
    def client(self) -> Client: ...

    @property
    def sync_client(self) -> SyncClient: ...

    @property
    def address(self) -> Address: ...

    def named(self, name: str) -> Any: ...

    def prepare(self, call: Signature[Any]) -> tuple[str, NewJob]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInfo:
    """A schedule as Redis has it. Either `cron` (a line, read in time zone `tz`) or `every`
    (seconds) says when; `next_at` is None while it is paused.

    `declared`: an app's code says it. `problem`: why it cannot be read, '' when all is well.
    """

    name: str
    queue: str
    task: str = ""
    call: str = ""
    cron: str | None = None
    tz: str | None = None
    every: float | None = None
    missed: str = ""
    overlap: str = ""
    declared: bool = False
    next_at: datetime | None = None
    paused_at: datetime | None = None
    problem: str = ""


Infos: TypeAlias = list[ScheduleInfo]
Names: TypeAlias = list[str]


class _Place(NamedTuple):
    keys: QueueKeys
    schedule: Schedule


class Schedules:
    """The schedules of an app's namespace. `queue`: where the schedule is; `default` unless said.

    `pause`, `resume`, `trigger` and `remove` raise ScheduleNotFound.
    """

    def __init__(self, app: Host) -> None:
        self._app = app

    async def add(
        self,
        name: str,
        task: Task[..., Any] | str,
        *,
        cron: str | None = None,
        tz: str = "UTC",
        every: float | timedelta | None = None,
        missed: str = "once",
        overlap: str = "allow",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **words: Any,
    ) -> ScheduleInfo:
        """Write a schedule of a task, over the one of that name if there is one; that one stays
        paused if it is. Options as for `app.cron`. A task whose code is elsewhere goes by name.
        """
        rule = _rule(cron, tz, every)
        keys, schedule = self._made(name, task, rule, missed, overlap, args, kwargs, words)
        store = await self._open(keys, "schedule")
        await follow(store, steps.put(keys, schedule))
        await store.run(self._registration(keys), tries=TRIES)
        return info_of(await follow(store, steps.get(keys, name)))

    def add_sync(
        self,
        name: str,
        task: Task[..., Any] | str,
        *,
        cron: str | None = None,
        tz: str = "UTC",
        every: float | timedelta | None = None,
        missed: str = "once",
        overlap: str = "allow",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **words: Any,
    ) -> ScheduleInfo:
        """As `add`, blocking."""
        rule = _rule(cron, tz, every)
        keys, schedule = self._made(name, task, rule, missed, overlap, args, kwargs, words)
        store = self._open_sync(keys, "schedule")
        follow_sync(store, steps.put(keys, schedule))
        store.run(self._registration(keys), tries=TRIES)
        return info_of(follow_sync(store, steps.get(keys, name)))

    async def list(self, queue: str | None = None) -> Infos:
        """The schedules of a queue, or of all queues, by queue and name."""
        await self._locate()
        store, found = self._app.client.store, []
        names = [queue] if queue else await store.run(self._queues(), tries=TRIES)
        for name in names:
            found += await follow(store, steps.every(self._keys(name)))
        return [info_of(one) for one in found]

    def list_sync(self, queue: str | None = None) -> Infos:
        """As `list`, blocking."""
        store, found = self._app.sync_client.store, []
        names = [queue] if queue else store.run(self._queues(), tries=TRIES)
        for name in names:
            found += follow_sync(store, steps.every(self._keys(name)))
        return [info_of(one) for one in found]

    async def get(self, name: str, *, queue: str = "default") -> ScheduleInfo:
        """One schedule. Raises ScheduleNotFound."""
        await self._locate()
        return info_of(await follow(self._app.client.store, steps.get(self._keys(queue), name)))

    def get_sync(self, name: str, *, queue: str = "default") -> ScheduleInfo:
        """As `get`, blocking."""
        return info_of(follow_sync(self._app.sync_client.store, steps.get(self._keys(queue), name)))

    async def pause(self, name: str, *, queue: str = "default") -> bool:
        """Let it tick no more until `resume`, whatever workers start; False when it was paused."""
        keys = self._keys(queue)
        return await follow(await self._open(keys, "schedule"), steps.pause(keys, name))

    def pause_sync(self, name: str, *, queue: str = "default") -> bool:
        """As `pause`, blocking."""
        keys = self._keys(queue)
        return follow_sync(self._open_sync(keys, "schedule"), steps.pause(keys, name))

    async def resume(self, name: str, *, queue: str = "default") -> bool:
        """Let it go on with the next tick; those of the meantime were not missed. False when it was
        not paused.
        """
        keys = self._keys(queue)
        return await follow(await self._open(keys, "schedule"), steps.resume(keys, name))

    def resume_sync(self, name: str, *, queue: str = "default") -> bool:
        """As `resume`, blocking."""
        keys = self._keys(queue)
        return follow_sync(self._open_sync(keys, "schedule"), steps.resume(keys, name))

    async def remove(self, name: str, *, queue: str = "default") -> None:
        """Take it away; jobs it has enqueued stay. Workers write what their code says anew when
        they start.
        """
        keys = self._keys(queue)
        await follow(await self._open(keys, "schedule"), steps.remove(keys, name))

    def remove_sync(self, name: str, *, queue: str = "default") -> None:
        """As `remove`, blocking."""
        keys = self._keys(queue)
        follow_sync(self._open_sync(keys, "schedule"), steps.remove(keys, name))

    async def trigger(self, name: str, *, queue: str = "default") -> Job[Any]:
        """Enqueue its job now, paused or not; its ticks stay as they are. With `overlap="skip"`
        the last job is meant, as a `duplicate`, while it has not ended.
        """
        await self._locate()
        keys = self._keys(queue)
        found = await follow(self._app.client.store, steps.runnable(keys, name))
        job = self._by_hand(keys, *found)
        return self._handle(keys, job, await self._app.client.send(keys.queue, job))

    def trigger_sync(self, name: str, *, queue: str = "default") -> Job[Any]:
        """As `trigger`, blocking."""
        keys = self._keys(queue)
        found = follow_sync(self._app.sync_client.store, steps.runnable(keys, name))
        job = self._by_hand(keys, *found)
        odd = self._app.sync_client.send_many(keys.queue, [job])
        return self._handle(keys, job, odd.get(job.id, CREATED))

    def _handle(self, keys: QueueKeys, job: NewJob, sent: Sent) -> Job[Any]:
        return Job(
            self._app,
            sent.kept or job.id,
            queue=keys.queue,
            task=job.task,
            duplicate=bool(sent.kept),
            known=True,
        )

    async def _locate(self) -> None:
        """Find Redis; that may start the embedded server."""
        await asyncio.to_thread(lambda: self._app.address)

    def _keys(self, queue: str) -> QueueKeys:
        # Of a queue with partitions: the first of them, which has the queue's own name.
        return QueueKeys(self._app.settings.namespace, check_name(queue, "queue"))

    async def _open(self, keys: QueueKeys, script: str) -> Any:
        await self._locate()
        store = self._app.client.store
        await check_rights(store, keys, script)
        return store

    def _open_sync(self, keys: QueueKeys, script: str) -> Any:
        store = self._app.sync_client.store
        check_rights_sync(store, keys, script)
        return store

    def _queues(self) -> commands.Call[Names]:
        key = SharedKeys(self._app.settings.namespace).queues
        return commands.plain("SMEMBERS", key, parse=_queues_of)

    def _registration(self, keys: QueueKeys) -> commands.Call[int]:
        """It shows in lists of queues from now on."""
        key = SharedKeys(self._app.settings.namespace).queues
        return commands.plain("SADD", key, keys.queue, parse=int)

    def _made(
        self,
        name: str,
        task: Task[..., Any] | str,
        rule: Rule,
        missed: str,
        overlap: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        words: Mapping[str, Any],
    ) -> _Place:
        check_policies(missed, overlap)
        positional, named = check_arguments(args, kwargs)
        target: Any = self._app.named(task) if isinstance(task, str) else task
        call = target.options(**check_options(words)).s(*positional, **named)
        declared = Declared(
            name=check_schedule_name(name),
            queue=self._queue_of(call),
            rule=rule,
            call=call,
            missed=missed,
            overlap=overlap,
            by_hand=True,
        )
        return _Place(self._keys(declared.queue), declared.schedule(self._app))

    def _queue_of(self, call: Signature[Any]) -> str:
        place, _ = self._app.prepare(call)
        return queue_of(place)

    def _by_hand(self, keys: QueueKeys, schedule: Schedule, now_ms: int) -> NewJob:
        count = self._app.partitions.get(keys.queue, 1)
        while True:
            job_id = f"{tick_id(schedule.name, now_ms, keys.queue)}-{os.urandom(3).hex()}"
            if count == 1 or partition_of(keys.queue, job_id, count) == keys.queue:
                return schedule.new_job(job_id)


def info_of(found: Found) -> ScheduleInfo:
    """What people are shown of a schedule."""
    schedule, due = found.schedule, found.due_ms
    next_at = None if due is None else datetime.fromtimestamp(due / 1000, UTC)
    if schedule is None:
        return ScheduleInfo(
            name=found.name, queue=found.queue, next_at=next_at, problem=found.problem
        )
    rule, paused = schedule.rule, schedule.paused_ms
    return ScheduleInfo(
        name=found.name,
        queue=found.queue,
        task=schedule.job.task,
        call=schedule.call,
        cron=rule.line if isinstance(rule, Cron) else None,
        tz=rule.tz if isinstance(rule, Cron) else None,
        every=float(rule.seconds) if isinstance(rule, Every) else None,
        missed=schedule.missed,
        overlap=schedule.overlap,
        declared=schedule.declared,
        next_at=next_at,
        paused_at=None if paused is None else datetime.fromtimestamp(paused / 1000, UTC),
    )


def _rule(cron: str | None, tz: str, every: float | timedelta | None) -> Rule:
    if (cron is None) == (every is None):
        raise InvalidOption("a schedule needs either cron= or every=")
    return every_rule(every) if cron is None else cron_rule(cron, tz)


def _queues_of(reply: Any) -> list[str]:
    names = (name.decode("utf-8", "replace") for name in reply)
    return sorted(name for name in names if not is_partition(name))
