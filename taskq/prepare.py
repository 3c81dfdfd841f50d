"""From a call to what is sent: its queue, its id, and the fields that travel with the job.

Everything that can be wrong is found here, before anything is sent.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

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


class _Terms(NamedTuple):
    """What the options of a call say, whatever its arguments are: the same for all calls with the
    same task and options.
    """

    task: Task[Any, Any] | None
    own: Options
    process: bool
    options: Options
    """Merged: the task's, and the call's on top."""
    queue: str
    priority: int
    at: str
    deadline: str
    job_class: str
    extras: tuple[Word, ...]
    plain: bool
    """No id, headers or words for who runs next but those that limits ask for."""


def _terms_of(task: Task[Any, Any] | None, own: Options, process: bool) -> _Terms:
    options = own if task is None else task.defaults.merged(own)
    extras = own.extras()
    if own.on_miss is None and options.on_miss == "run":
        extras += ("on_miss", "run")
    if options.cost is not None and options.cost > 1:
        extras += ("cost", options.cost)
    job_class = PROCESS if process else COMMON
    if options.requires:
        job_class = compose((job_class, *options.requires))
    return _Terms(
        task,
        own,
        process,
        options,
        options.queue or DEFAULT_QUEUE,
        5 if options.priority is None else options.priority,
        options.at_word(),
        options.deadline_word(),
        job_class,
        extras,
        not (options.id or options.headers or options.ordered),
    )


#: Those of a task whose code lives elsewhere.
_UNKNOWN = _terms_of(None, NOTHING, False)


class Preparing(Registry, Connected):
    """The part of `TaskQ` that knows what a call becomes."""

    def __init__(self) -> None:
        super().__init__()
        self._ids = JobIds()
        self._terms: dict[str, _Terms] = {}
        """Of registered tasks, by name, for calls without options of their own."""
        self._latest = _UNKNOWN
        """Of the last call that had some: the next ones often have the same."""

    def prepare(self, call: Signature[Any]) -> tuple[str, NewJob]:
        """The queue (a partition, where it has some) and the wire form of a call."""
        own, name = call.options, call.task
        task = self.tasks.get(name)
        terms = self._terms.get(name, _UNKNOWN) if own is NOTHING else self._latest
        if terms.task is not task or terms.own is not own or terms.process is not call.process:
            terms = self._note(call, task)
        most = self.settings.max_payload
        payload = self.codec.encode_call(call.args, call.kwargs, limit=most)
        extras, queue, apart = terms.extras, terms.queue, ""
        if terms.plain and not self.limits.any:
            job_id = self._ids.new()
        else:
            job_id = terms.options.id or self._ids.new()
            if terms.options.headers:
                headers = self.codec.encode_headers(terms.options.headers, limit=most)
                extras += ("headers", headers)
            if self.limits.any or terms.options.ordered:
                more, apart = self._order_words(call, task, terms.options, queue, payload)
                extras += more
        if self.partitions:
            queue = self._place(queue, job_id)
        parent = PARENT.get()
        deadline = terms.deadline if parent is None else capped(terms.deadline, parent)
        return queue, NewJob(
            job_id,
            name,
            payload,
            terms.priority,
            terms.at,
            deadline,
            terms.job_class,
            extras,
            apart,
        )

    def _note(self, call: Signature[Any], task: Task[Any, Any] | None) -> _Terms:
        terms = _terms_of(task, call.options, call.process)
        if call.options is not NOTHING:
            self._latest = terms
        elif task is not None:
            self._terms[call.task] = terms
        return terms

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
