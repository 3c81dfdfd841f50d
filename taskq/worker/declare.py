"""What a worker that starts writes of the queues and limits its app declares."""

from __future__ import annotations

import logging

from taskq import commands
from taskq.app import TaskQ
from taskq.errors import StoreUnavailable
from taskq.keys import SharedKeys
from taskq.limit_writer import write_limits
from taskq.steps import TRIES
from taskq.store import Store
from taskq.worker.line import Line

log = logging.getLogger("taskq.worker")


async def declare_queue(store: Store, line: Line, app: TaskQ) -> None:
    """List a queue, and write its settings. Without them it can be served too: when Redis cannot
    take them now, that is only logged.
    """
    shared, wanted = SharedKeys(app.settings.namespace), app.queues.get(line.name)
    try:
        await store.run(commands.plain("SADD", shared.queues, line.queue, parse=int), tries=TRIES)
        if wanted is not None and wanted.meta():
            await store.run(commands.configure(line.keys, wanted.meta()), tries=TRIES)
    except StoreUnavailable as error:
        log.warning("queue %s: not listed, its settings not written: %s", line.queue, error)


async def declare_limits(store: Store, line: Line, app: TaskQ) -> None:
    """Write the limits of a queue, also those that only calls of its schedules name, and remove
    those its app declares no more; what an operator set stays. Partitions have none.

    A worker that cannot write them must not begin: it would run more than it may.
    """
    book, keys = app.limits, line.keys
    named = book.take_pending(line.name)
    wanted = {**named, **book.words_of(line.name)}
    stored = await store.run(
        commands.plain("HGETALL", keys.limits, parse=commands.map_of), tries=TRIES
    )
    gone = dict.fromkeys(book.outdated(line.name, stored), "")
    changes = {name: text for name, text in wanted.items() if stored.get(name) != text}
    if gone or changes:
        await write_limits(store, keys, {**gone, **changes}, gently=True)
    book.note_written(line.name, named)
