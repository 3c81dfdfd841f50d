"""What a worker that starts writes of the limits its app declares."""

from __future__ import annotations

from taskq import commands
from taskq.keys import QueueKeys
from taskq.limit_book import LimitBook
from taskq.limit_writer import write_limits
from taskq.steps import TRIES
from taskq.store import Store


async def declare_limits(store: Store, keys: QueueKeys, book: LimitBook, queue: str) -> None:
    """Write the limits of a queue, also those that only calls of its schedules name, and remove
    those its app declares no more; what an operator set stays. Partitions have none.

    A worker that cannot write them must not begin: it would run more than it may.
    """
    named = book.take_pending(queue)
    wanted = {**named, **book.words_of(queue)}
    stored = await store.run(
        commands.plain("HGETALL", keys.limits, parse=commands.map_of), tries=TRIES
    )
    gone = dict.fromkeys(book.outdated(queue, stored), "")
    changes = {name: text for name, text in wanted.items() if stored.get(name) != text}
    if gone or changes:
        await write_limits(store, keys, {**gone, **changes}, gently=True)
    book.note_written(queue, named)
