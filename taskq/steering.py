"""The operator's part of `TaskQ`: pause and resume queues, tasks and groups, strike tasks, set
limits while everything runs. And the limits that producers write.
"""

from __future__ import annotations

from collections.abc import Mapping

from taskq import commands
from taskq.commands import pausing, resuming
from taskq.connected import Connected
from taskq.draining import run_empty, run_empty_sync
from taskq.keys import check_name
from taskq.limit import Limit, check_on
from taskq.limit_writer import write_limits, write_limits_sync
from taskq.registry import Registry

#: In place of a task: all of them.
ALL = "*"
#: Marks what was set by hand: neither workers nor producers write over it.
BY_HAND = " by=hand"


class Steering(Registry, Connected):
    """Acts on a queue with all its partitions that this app knows of."""

    # Queues

    async def pause_queue(self, queue: str = "default") -> None:
        """Let no worker claim from a queue until `resume_queue`; running jobs go on."""
        for place in self.places_of([queue]):
            await self.client.allow(place, "pause")
            await self.client.store.run(commands.pause(self.client.keys(place)), tries=3)

    def pause_queue_sync(self, queue: str = "default") -> None:
        """As `pause_queue`, blocking."""
        for place in self.places_of([queue]):
            self.sync_client.allow(place, "pause")
            self.sync_client.store.run(commands.pause(self.sync_client.keys(place)), tries=3)

    async def resume_queue(self, queue: str = "default") -> bool:
        """Let a queue be claimed from again; True when it was paused."""
        was = []
        for place in self.places_of([queue]):
            await self.client.allow(place, "resume")
            call = commands.resume(self.client.keys(place))
            was.append(await self.client.store.run(call, tries=3))
        return any(was)

    def resume_queue_sync(self, queue: str = "default") -> bool:
        """As `resume_queue`, blocking."""
        was = []
        for place in self.places_of([queue]):
            self.sync_client.allow(place, "resume")
            call = commands.resume(self.sync_client.keys(place))
            was.append(self.sync_client.store.run(call, tries=3))
        return any(was)

    async def close_queue(self, queue: str = "default") -> None:
        """Refuse every enqueue into a queue (QueueClosed) until `open_queue`; what is in it runs
        on.
        """
        await self._write(queue, {}, strike=f"+{ALL}")

    def close_queue_sync(self, queue: str = "default") -> None:
        """As `close_queue`, blocking."""
        self._write_sync(queue, {}, strike=f"+{ALL}")

    async def open_queue(self, queue: str = "default") -> None:
        """Let a closed queue be enqueued into again."""
        await self._write(queue, {}, strike=f"-{ALL}")

    def open_queue_sync(self, queue: str = "default") -> None:
        """As `open_queue`, blocking."""
        self._write_sync(queue, {}, strike=f"-{ALL}")

    async def drain_queue(self, queue: str = "default", timeout: float | None = None) -> bool:
        """Close a queue and wait until nothing of it runs or is about to: no job ready, blocked,
        due to be tried again or running. False when `timeout` s were not enough; closed it stays.
        """
        await self.close_queue(queue)
        places = [self.client.keys(place) for place in self.places_of([queue])]
        return not await run_empty(self.client.store, places, timeout)

    def drain_queue_sync(self, queue: str = "default", timeout: float | None = None) -> bool:
        """As `drain_queue`, blocking."""
        self.close_queue_sync(queue)
        places = [self.sync_client.keys(place) for place in self.places_of([queue])]
        return not run_empty_sync(self.sync_client.store, places, timeout)

    # Tasks and groups

    async def pause_task(self, task: str, *, queue: str | None = None) -> None:
        """Start no more jobs of a task until `resume_task`; enqueue still works. `queue`: where;
        None is the task's own.
        """
        await self._write(self._queue_of(task, queue), pausing("task", task))

    def pause_task_sync(self, task: str, *, queue: str | None = None) -> None:
        """As `pause_task`, blocking."""
        self._write_sync(self._queue_of(task, queue), pausing("task", task))

    async def resume_task(self, task: str, *, queue: str | None = None) -> bool:
        """Start jobs of a paused task again; True when it was paused."""
        return await self._write(self._queue_of(task, queue), resuming("task", task)) > 0

    def resume_task_sync(self, task: str, *, queue: str | None = None) -> bool:
        """As `resume_task`, blocking."""
        return self._write_sync(self._queue_of(task, queue), resuming("task", task)) > 0

    async def pause_group(self, group: str, *, queue: str = "default") -> None:
        """Start no more jobs of a group until `resume_group`; enqueue still works."""
        await self._write(queue, pausing("group", group))

    def pause_group_sync(self, group: str, *, queue: str = "default") -> None:
        """As `pause_group`, blocking."""
        self._write_sync(queue, pausing("group", group))

    async def resume_group(self, group: str, *, queue: str = "default") -> bool:
        """Start jobs of a paused group again; True when it was paused."""
        return await self._write(queue, resuming("group", group)) > 0

    def resume_group_sync(self, group: str, *, queue: str = "default") -> bool:
        """As `resume_group`, blocking."""
        return self._write_sync(queue, resuming("group", group)) > 0

    async def strike(self, task: str, *, queue: str | None = None) -> None:
        """Refuse a task at once, everywhere: no enqueue (TaskStruck), no start. What runs goes
        on, what waits is kept.
        """
        await self._write(self._queue_of(task, queue), pausing("task", task), strike=f"+{task}")

    def strike_sync(self, task: str, *, queue: str | None = None) -> None:
        """As `strike`, blocking."""
        self._write_sync(self._queue_of(task, queue), pausing("task", task), strike=f"+{task}")

    async def unstrike(self, task: str, *, queue: str | None = None) -> None:
        """Let a struck task be enqueued and run again; a pause of it ends too."""
        await self._write(self._queue_of(task, queue), resuming("task", task), strike=f"-{task}")

    def unstrike_sync(self, task: str, *, queue: str | None = None) -> None:
        """As `unstrike`, blocking."""
        self._write_sync(self._queue_of(task, queue), resuming("task", task), strike=f"-{task}")

    # Limits

    async def set_limit(self, limit: Limit, *, queue: str = "default", on: str = "") -> None:
        """Set a limit while everything runs; it stays until `remove_limit`, whatever apps declare.

        `on`: the jobs it is for, "queue", "task.<name>", "group.<name>" or "job" (those that name
        it); "" is the queue, and those that name it for one with fields.
        """
        await self._write(queue, {limit.name: by_hand(limit, on)}, again=True)

    def set_limit_sync(self, limit: Limit, *, queue: str = "default", on: str = "") -> None:
        """As `set_limit`, blocking."""
        self._write_sync(queue, {limit.name: by_hand(limit, on)}, again=True)

    async def remove_limit(self, name: str, *, queue: str = "default") -> bool:
        """Remove a limit; True when there was one. An app that declares it writes it again when
        its next worker starts.
        """
        return await self._write(queue, {name: ""}, again=True) > 0

    def remove_limit_sync(self, name: str, *, queue: str = "default") -> bool:
        """As `remove_limit`, blocking."""
        return self._write_sync(queue, {name: ""}, again=True) > 0

    # What producers write

    async def write_pending(self, queue: str) -> None:
        """Write the limits that jobs of this queue name, once per process."""
        wanted = self.limits.take_pending(queue)
        if wanted:
            await self.client.allow(queue, "limit")
            keys = self.client.keys(queue)
            await write_limits(self.client.store, keys, wanted, gently=True)
            self.limits.note_written(queue, wanted)

    def write_pending_sync(self, queue: str) -> None:
        """As `write_pending`, blocking."""
        wanted = self.limits.take_pending(queue)
        if wanted:
            self.sync_client.allow(queue, "limit")
            keys = self.sync_client.keys(queue)
            write_limits_sync(self.sync_client.store, keys, wanted, gently=True)
            self.limits.note_written(queue, wanted)

    def _queue_of(self, task: str, queue: str | None) -> str:
        known = self.tasks.get(check_name(task, "task name"))
        own = known.defaults.queue if known is not None else None
        return queue or own or "default"

    async def _write(
        self, queue: str, definitions: Mapping[str, str], *, again: bool = False, strike: str = ""
    ) -> int:
        changed = 0
        for place in self.places_of([queue]):
            await self.client.allow(place, "limit")
            keys = self.client.keys(place)
            done = await write_limits(
                self.client.store, keys, definitions, again=again, strike=strike
            )
            changed = max(changed, done)
        return changed

    def _write_sync(
        self, queue: str, definitions: Mapping[str, str], *, again: bool = False, strike: str = ""
    ) -> int:
        changed = 0
        for place in self.places_of([queue]):
            self.sync_client.allow(place, "limit")
            keys = self.sync_client.keys(place)
            done = write_limits_sync(
                self.sync_client.store, keys, definitions, again=again, strike=strike
            )
            changed = max(changed, done)
        return changed


def by_hand(limit: Limit, on: str) -> str:
    """The definition of a limit that an operator sets; see TaskQ.set_limit."""
    if on:
        check_on(on)
    return limit.words(on or ("queue" if limit.plain else "job")) + BY_HAND
