"""The keys of a queue with all its partitions, for commands that change one."""

from __future__ import annotations

from taskq import commands
from taskq.cli.session import Session
from taskq.inspect import Inspector
from taskq.keys import QueueKeys, SharedKeys
from taskq.partitioned import partitions_of
from taskq.store import Store


def keys_of(session: Session, place: str) -> QueueKeys:
    """The keys of one queue or partition."""
    return QueueKeys(session.settings.namespace, place)


async def all_keys(session: Session, store: Store, queue: str) -> list[QueueKeys]:
    """The keys of all partitions of a queue."""
    names = await partitions_of(Inspector(store, session.settings.namespace), queue)
    return [keys_of(session, name) for name in names]


async def register(session: Session, store: Store, queue: str) -> None:
    """It shows in lists from now on."""
    shared = SharedKeys(session.settings.namespace)
    await store.run(commands.plain("SADD", shared.queues, queue, parse=int), tries=3)
