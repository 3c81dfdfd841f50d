"""From a call to what is sent: its queue, its id, and the fields that travel with the job.

Everything that can be wrong is found here, before anything is sent.
"""

from __future__ import annotations

import functools
from typing import Any, cast

from taskq.classes import COMMON, PROCESS, compose
from taskq.commands import NewJob
from taskq.connected import Connected
from taskq.errors import InvalidOption
from taskq.inherit import PARENT, capped
from taskq.job import JobIds
from taskq.limit_book import DEFAULT_QUEUE
from taskq.options import NOTHING, Options, Word
from taskq.partition import partition_of
from taskq.registry import Registry
from taskq.task import Signature, Task
from taskq.template import fill
from taskq.uniqueness import unique_words


class Preparing(Registry, Connected):
    """The part of `TaskQ` that knows what a call becomes."""

    def __init__(self) -> None:
        super().__init__()
        self._ids = JobIds()

    def prepare(self, call: Signature[Any]) -> tuple[str, NewJob]:
        """The queue (a partition, where it has some) and the wire form of a call."""
        task = self.tasks.get(call.task)
        own = call.options
        options = own if task is None else task.defaults.merged(own)
        payload = self.codec.encode_call(
            call.args, cast("dict[str, object]", call.kwargs), limit=self.settings.max_payload
        )
        parent = PARENT.get()
        plain = options is NOTHING and not call.process and parent is None
        if plain and not self.limits.any and not self.partitions:  # most jobs
            return DEFAULT_QUEUE, NewJob(self._ids.new(), call.task, payload)
        extras = own.extras()
        if own.on_miss is None and options.on_miss == "run":
            extras += ("on_miss", "run")
        if options.cost is not None and options.cost > 1:
            extras += ("cost", options.cost)
        if options.headers:
            limit = self.settings.max_payload
            extras += ("headers", self.codec.encode_headers(options.headers, limit=limit))
        job_class = PROCESS if call.process else COMMON
        if options.requires:
            job_class = compose((job_class, *options.requires))
        job_id, queue = options.id or self._ids.new(), options.queue or DEFAULT_QUEUE
        apart = ""
        if self.limits.any or (options is not NOTHING and options.ordered):
            more, apart = self._order_words(call, task, options, queue, payload)
            extras += more
        if self.partitions:
            queue = self._place(queue, job_id)
        deadline = options.deadline_word()
        return queue, NewJob(
            job_id,
            call.task,
            payload,
            5 if options.priority is None else options.priority,
            options.at_word(),
            deadline if parent is None else capped(deadline, parent),
            job_class,
            extras,
            apart,
        )

    def _place(self, queue: str, job_id: str) -> str:
        count = self.partitions.get(queue, 1)
        return queue if count == 1 else partition_of(queue, job_id, count)

    def _order_words(
        self,
        call: Signature[Any],
        task: Task[Any, Any] | None,
        options: Options,
        queue: str,
        payload: bytes,
    ) -> tuple[tuple[Word, ...], str]:
        """Fields for who runs next: group, key, limits, admission; and the word that keeps two jobs
        of one key in different calls.
        """
        words: list[Word] = []
        limits: list[str] = []
        apart = ""
        values = functools.cache(lambda: self._values(call, task, queue))
        if options.group is not None:
            group = fill(options.group, "group", values)
            words += ("group", group)
            values = functools.cache(lambda: {"group": group, **self._values(call, task, queue)})
        for limit in self.limits.for_job(queue, task, call.options.limits or ()):
            instance = fill(limit.name, "limit", values)
            limits.append(limit.name if limit.plain else f"{limit.name}|{instance}")
        unique = unique_words(options, call.task, payload, values)
        if unique is not None:
            words += unique.extras
            apart = unique.apart
            if unique.limit:
                limits.append(unique.limit)
        if limits:
            words += ("limits", " ".join(limits))
        if options.admit is not None:
            words += ("@admit", options.admit)
        if (limits or unique) and self.partitions.get(queue, 1) > 1:
            what = "unique=" if unique else "limits="
            raise InvalidOption(
                f"{what} needs a queue without partitions, and {queue!r} has"
                f" {self.partitions[queue]}: what counts over all of it must be in one place"
            )
        return tuple(words), apart

    def _values(
        self, call: Signature[Any], task: Task[Any, Any] | None, queue: str
    ) -> dict[str, object]:
        """What a template may name: the call's arguments, and its task and queue."""
        named = dict(call.kwargs) if task is None else task.bound(call.args, call.kwargs)
        return {"task": call.task, "queue": queue, **named}
