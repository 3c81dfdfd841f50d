"""Fires schedules: every worker does, whichever sees first that a tick is due. Redis lets one of
them enqueue it, and moves the schedule on in the same step.
"""

from __future__ import annotations

import asyncio
import logging
import random

from taskq import commands
from taskq.app import TaskQ
from taskq.commands import Stored
from taskq.cron.firing import Step, steps
from taskq.cron.rules import Cron, zone_of
from taskq.cron.schedule import Schedule, Unreadable, tick_id
from taskq.cron.steps import every, put
from taskq.errors import InvalidOption, QueueFull, StoreError, StoreUnavailable, TaskqError
from taskq.queue_settings import share_of
from taskq.rights import check_rights
from taskq.settings import Settings
from taskq.steps import follow
from taskq.store import Store
from taskq.worker.line import Line

log = logging.getLogger("taskq.cron")

#: All workers know when a tick is due: each waits a part of this first, s, so that most find it
#: fired already.
JITTER = 0.1
#: How long a tick that cannot be enqueued now is left alone, s.
STUCK = 1.0


class Clockwork:
    """The schedules of the queues that a worker serves."""

    def __init__(self, store: Store, settings: Settings, app: TaskQ) -> None:
        self._store = store
        self._settings = settings
        self._app = app
        self._seen: dict[str, list[tuple[str, str]]] = {}
        """By queue: the ticks that were due at the last look."""
        self._allowed: set[str] = set()
        self._unwritten: set[str] = set()
        self._told: dict[tuple[str, str], str] = {}
        """Why a schedule could not be fired, as was logged; by queue and name."""

    # When the worker starts

    async def announce(self, line: Line) -> None:
        """Write the schedules that the app's code says for a queue. Those that have not changed
        keep their next tick, those that are paused stay paused.
        """
        wanted = [one for one in self._app.declared.values() if one.queue == line.queue]
        if not self._app.declared:
            return
        schedules = [one.schedule(self._app) for one in wanted]
        self._unwritten.discard(line.queue)
        try:
            if schedules:
                await self._allow(line)
            for schedule in schedules:
                word = await follow(self._store, put(line.keys, schedule))
                if word != "unchanged":
                    log.info("schedule %s of queue %s: %s", schedule.name, line.queue, word)
            await self._tell_of_the_forgotten(line)
        except StoreUnavailable as error:
            self._unwritten.add(line.queue)
            log.warning("queue %s: its schedules are not written yet: %s", line.queue, error)

    async def announce_what_is_left(self, line: Line) -> None:
        """Try again what Redis could not take at the start."""
        if line.queue in self._unwritten:
            await self.announce(line)

    async def _tell_of_the_forgotten(self, line: Line) -> None:
        """Another app may say them, so nobody but a person can remove them."""
        for found in await follow(self._store, every(line.keys)):
            schedule = found.schedule
            known = schedule is not None and schedule.job.task in self._app.tasks
            if schedule is None or not schedule.declared or not known:
                continue
            if (line.queue, found.name) not in self._app.declared:
                log.warning(
                    "schedule %s of queue %s goes on, but this app's code has it no more:"
                    " `taskq cron rm %s -q %s` ends it",
                    found.name, line.queue, found.name, line.queue,
                )  # fmt: skip

    async def _allow(self, line: Line) -> None:
        """Ask once whether this user may run both scripts, or one could stop half-way."""
        if line.queue not in self._allowed:
            await check_rights(self._store, line.keys, "enqueue", "schedule")
            self._allowed.add(line.queue)

    # When something is due

    async def turn(self, line: Line) -> float:
        """Something is due in a queue that is no job: fire the ticks among it. How long to leave
        the queue's timers alone now, s.
        """
        now = asyncio.get_running_loop().time()
        if line.turn_at is None:
            line.turn_at = now + random.uniform(0, JITTER)
        if now < line.turn_at:
            return line.turn_at - now
        try:
            stuck = await self._fire_due(line)
        except StoreError as error:
            # Jobs go on: what Redis refuses here, as new jobs when it is out of memory, it may
            # allow them. When it is away, the next call of the pump will tell.
            self._tell(line, "", str(error))
            stuck = True
        if stuck:
            return random.uniform(STUCK / 2, STUCK)
        self._told.pop((line.queue, ""), None)
        return 0.0

    async def _fire_due(self, line: Line) -> bool:
        """True when a tick stays due."""
        store, keys = self._store, line.keys
        now = await store.run(commands.server_time())
        due = await store.run(commands.due_schedules(keys, now))
        # What is due as before, though it was seen to, is not looked at again and again.
        stuck, self._seen[line.queue] = bool(due) and due == self._seen.get(line.queue), due
        if not due:
            return False
        await self._allow(line)
        names = [name for name, _ in due]
        texts = await store.run(commands.definitions(keys, names))
        for (name, word), text in zip(due, texts, strict=True):
            problem = await self._fire(line, name, Stored(text, word), now)
            if problem:
                self._tell(line, name, problem)
                stuck = True
            else:
                self._told.pop((line.queue, name), None)
        return stuck

    async def _fire(self, line: Line, name: str, stored: Stored, now: int) -> str:
        """Bring one schedule up to now; why that cannot be done yet, '' when it is done."""
        try:
            schedule = Schedule.from_text(name, stored.definition)
        except Unreadable as error:
            await self._set_aside(line, name, stored, str(error))
            return ""
        due = stored.due_ms
        if due is None:
            return ""
        try:
            if isinstance(schedule.rule, Cron):
                zone_of(schedule.rule.tz)
            for step in steps(schedule, due, now):
                await self._step(line, schedule, stored, step)
        except InvalidOption as error:
            return f"{error}; workers on other machines may fire it"
        except QueueFull as error:
            return str(error)
        except (ValueError, ArithmeticError, OSError) as error:  # a time that nobody wrote
            await self._set_aside(line, name, stored, f"{type(error).__name__}: {error}")
        return ""

    async def _step(self, line: Line, schedule: Schedule, stored: Stored, step: Step) -> None:
        """Raises QueueFull: the tick stays due."""
        queue, name = line.queue, schedule.name
        if step.tick is None:
            log.warning("schedule %s of queue %s: ticks were missed", name, queue)
            await self._move(line, name, stored, step)
            return
        partitions = self._app.partitions.get(queue, 1)
        job_id = tick_id(name, step.tick, queue, partitions)
        due = _at(stored, step).due
        tick = f"{name} {due} {commands.due_word(step.following)}"
        job = schedule.new_job(job_id, "@tick", tick)
        bound = share_of(self._settings.max_jobs, partitions)
        call = commands.enqueue(line.keys, [job], max_jobs=bound, all_or_none=False)
        try:
            done = await self._store.run(call, tries=3)
        except (StoreError, QueueFull):
            raise
        except TaskqError as error:  # this task is not wanted: that is no reason to stop the clock
            log.warning("schedule %s of queue %s: not enqueued: %s", name, queue, error)
            await self._move(line, name, stored, step)
            return
        if done.created:
            log.debug("schedule %s of queue %s: enqueued %s", name, queue, job_id)

    async def _move(self, line: Line, name: str, stored: Stored, step: Step) -> None:
        """Go on without a job, unless somebody else was quicker."""
        await self._store.run(
            commands.schedule(
                line.keys,
                name,
                seen=_at(stored, step),
                definition=stored.definition,
                due_ms=step.following,
            )
        )

    async def _set_aside(self, line: Line, name: str, stored: Stored, why: str) -> None:
        """Nobody can read it: it ticks no more. A timer whose schedule is gone goes too."""
        if stored.definition:
            log.error(
                "schedule %s of queue %s cannot be read (%s) and ticks no more:"
                " remove it, and add it anew", name, line.queue, why,
            )  # fmt: skip
        await self._store.run(
            commands.schedule(line.keys, name, seen=stored, definition=stored.definition)
        )

    def _tell(self, line: Line, name: str, problem: str) -> None:
        """Log why, once."""
        if self._told.get((line.queue, name)) != problem:
            self._told[line.queue, name] = problem
            what = f"schedule {name}" if name else "schedules"
            log.warning("%s of queue %s: %s; trying on", what, line.queue, problem)


def _at(stored: Stored, step: Step) -> Stored:
    """What was seen, with the timer where this step finds it; word for word at the first."""
    return stored if step.due == stored.due_ms else stored._replace(due=str(step.due))
