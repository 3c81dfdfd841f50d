"""Which limits an app declares, for which jobs, and which of them travel with a job. No I/O.

A plain limit of a queue or of a task is stored for all of its jobs, whoever enqueues them. One with
fields, and one of a single call, is named by the job itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from taskq.errors import InvalidOption
from taskq.limit import MOST, Definition, Limit
from taskq.queue_settings import QueueSettings
from taskq.task import Task

DEFAULT_QUEUE = "default"


class Declared(NamedTuple):
    limit: Limit
    on: str

    @property
    def words(self) -> str:
        return self.limit.words(self.on)


class LimitBook:
    """The limits of an app's `tasks` and `queues`, which may still grow."""

    def __init__(
        self, tasks: Mapping[str, Task[Any, Any]], queues: Mapping[str, QueueSettings]
    ) -> None:
        self._tasks = tasks
        self._queues = queues
        self._plans: dict[str, dict[str, Declared]] = {}
        self._lock = threading.Lock()  # producers of several threads share it
        self._written: set[tuple[str, str, str]] = set()
        self.any = False
        """Has any queue or task limits? Most apps have none, and pay nothing."""
        self.pending: dict[str, dict[str, str]] = {}
        """By queue: definitions that jobs name and that this process has not written yet."""

    def changed(self) -> None:
        """A task or a queue was declared."""
        self._plans.clear()
        self.any = any(task.defaults.limits for task in self._tasks.values()) or any(
            queue.limits for queue in self._queues.values()
        )

    def of_queue(self, queue: str) -> dict[str, Declared]:
        """All limits declared for a queue, and for tasks whose queue it is. InvalidOption when one
        name means two things.
        """
        plan = self._plans.get(queue)
        if plan is None:
            plan = {}
            settings = self._queues.get(queue)
            for limit in settings.limits if settings else ():
                _declare(plan, limit, "queue", queue)
            for task in self._tasks.values():
                if (task.defaults.queue or DEFAULT_QUEUE) == queue:
                    for limit in task.defaults.limits or ():
                        _declare(plan, limit, f"task.{task.name}", queue)
            self._plans[queue] = plan
        return plan

    def words_of(self, queue: str) -> dict[str, str]:
        """What a worker writes for a queue when it starts."""
        return {name: declared.words for name, declared in self.of_queue(queue).items()}

    def outdated(self, queue: str, stored: Mapping[str, str]) -> list[str]:
        """Limits that were stored for what this app declares, and that it declares no more."""
        wanted = self.of_queue(queue)
        homes = {
            f"task.{task.name}"
            for task in self._tasks.values()
            if (task.defaults.queue or DEFAULT_QUEUE) == queue
        }
        if queue in self._queues:
            homes.add("queue")
        found = (Definition.read(name, text) for name, text in stored.items())
        return [d.name for d in found if d.on in homes and not d.by_hand and d.name not in wanted]

    def for_job(self, queue: str, task: Task[Any, Any] | None, own: Iterable[Limit]) -> list[Limit]:
        """The limits that one job has to name itself. InvalidOption for more than a job may be
        under, and for a name that means something else here.
        """
        plan = self.of_queue(queue)
        settings = self._queues.get(queue)
        of_queue = settings.limits if settings else ()
        of_task = () if task is None else task.defaults.limits or ()
        home = "" if task is None else f"task.{task.name}"
        named: dict[str, Limit] = {}
        stored = {name for name, d in plan.items() if d.on in ("queue", home)}
        for limit in (*of_queue, *of_task, *own):
            known = plan.get(limit.name)
            if known is not None and known.limit != limit:
                raise _two_things(limit.name, queue)
            if limit.name not in stored:
                named[limit.name] = limit
        if len(named) + len(stored) > MOST:
            raise InvalidOption(
                f"limits=: this job would be under {len(named) + len(stored)}, of its call, its"
                f" task and queue {queue!r}: use at most {MOST}"
            )
        for limit in named.values():
            self._want(queue, plan.get(limit.name) or Declared(limit, "job"))
        return list(named.values())

    def _want(self, queue: str, declared: Declared) -> None:
        name, words = declared.limit.name, declared.words
        if (queue, name, words) not in self._written:
            with self._lock:
                self.pending.setdefault(queue, {})[name] = words

    def take_pending(self, queue: str) -> dict[str, str]:
        """What has to be written before jobs of this queue are sent."""
        with self._lock:
            return dict(self.pending.get(queue, {}))

    def note_written(self, queue: str, definitions: Mapping[str, str]) -> None:
        """This process has written them: not again."""
        with self._lock:
            self._written.update((queue, name, words) for name, words in definitions.items())
            left = self.pending.get(queue, {})
            for name, words in definitions.items():
                if left.get(name) == words:
                    del left[name]
            if not left:
                self.pending.pop(queue, None)


def _declare(plan: dict[str, Declared], limit: Limit, on: str, queue: str) -> None:
    known = plan.get(limit.name)
    if known is None:
        plan[limit.name] = Declared(limit, on if limit.plain else "job")
    elif known.limit != limit:
        raise _two_things(limit.name, queue)


def _two_things(name: str, queue: str) -> InvalidOption:
    return InvalidOption(
        f"limit {name!r} means two things in queue {queue!r}: say it alike everywhere, or use"
        " another name"
    )
