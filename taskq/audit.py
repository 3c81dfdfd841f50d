"""Proves that a queue is as the scripts leave it, and mends what is not; `taskq doctor` shows it.

Reads a queue page by page, so it may take a while and the queue may be busy meanwhile. Each place
is judged by one script call, in which nothing can move. Words for people are in cli/.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from taskq import commands
from taskq.commands import BATCH, REPAIRS, Call, Finding, Mend, Place
from taskq.keys import HELD, JOB, QUARANTINED, QueueKeys, type_of_key
from taskq.settings import Settings
from taskq.store import Store

TRIES = 3
#: A finding counts when a second look, so much later (s), shows it still.
AGAIN = 0.05
#: Mending one thing may uncover another (a job whose index was set aside is in none): so many times
#: the whole queue is gone through, at most.
ROUNDS = 6


#: Findings of one queue that are kept in full; the rest is only counted.
MOST = 1000


@dataclass(slots=True)
class Audit:
    """What was seen of a queue, and what is wrong: all of it counted by code, the first thousand
    findings in full.
    """

    queue: str
    jobs: int = 0
    entries: int = 0
    keys: int = 0
    quarantined: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)


async def pages(store: Store, keys: QueueKeys) -> AsyncIterator[list[bytes]]:
    """All keys of a queue, without the prefix, page by page; the only SCAN in taskq. A key may come
    twice.
    """
    cursor = 0
    while True:
        cursor, names = await store.run(commands.scan(keys, cursor), tries=TRIES)
        yield names
        if not cursor:
            return


_Page = Callable[[QueueKeys, bytes, int], Call[tuple[int, list[bytes]]]]


async def _members(
    store: Store, keys: QueueKeys, where: bytes, looked: Audit
) -> AsyncIterator[list[Place]]:
    """Entries of an index, fields of a hash or members of a set, as places; none when it has
    another type.
    """
    cursor = 0
    page: _Page = commands.members
    if where in (b"meta", b"suspects"):
        page = commands.fields
    elif where.startswith(HELD):
        page = commands.set_members
    if await store.run(commands.kind(keys, where), tries=TRIES) != type_of_key(where):
        return  # told of by the key itself
    while True:
        cursor, names = await store.run(page(keys, where, cursor), tries=TRIES)
        looked.entries += len(names) * (page is commands.members and where != b"timers")
        yield [Place(where, name) for name in names]
        if not cursor:
            return


async def _places(store: Store, keys: QueueKeys, looked: Audit) -> AsyncIterator[list[Place]]:
    """Every place of the queue: first its keys and jobs, then the entries of its indexes."""
    inside: list[bytes] = []
    async for names in pages(store, keys):
        found = []
        for name in names:
            kind = type_of_key(name)
            if name.startswith(QUARANTINED):
                looked.quarantined += 1
            elif name.startswith(JOB):
                looked.jobs += 1
                found.append(Place(b"job", name.removeprefix(JOB)))
            else:
                looked.keys += 1
                found.append(Place((kind or "stray").encode(), name))
                indexed = kind == "zset" and name != b"shares"
                if indexed or name in (b"meta", b"suspects") or name.startswith(HELD):
                    inside.append(name)
        yield found
    for where in dict.fromkeys(inside):
        async for entries in _members(store, keys, where, looked):
            yield entries


async def audit(
    store: Store, keys: QueueKeys, looked: Audit | None = None
) -> AsyncIterator[list[Finding]]:
    """What is wrong with a queue, in batches as it is found. Changes nothing. Raises StoreError."""
    waiting: list[Place] = []
    async for places in _places(store, keys, looked or Audit(keys.queue)):
        waiting += places
        while len(waiting) >= BATCH:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            if found := await _judge(store, keys, batch):
                yield found
    if waiting and (found := await _judge(store, keys, waiting)):
        yield found


async def audit_all(store: Store, keys: QueueKeys) -> Audit:
    """A whole audit of a queue. Raises StoreError."""
    looked = Audit(keys.queue)
    async for found in audit(store, keys, looked):
        looked.counts.update(finding.code for finding in found)
        looked.findings += found[: max(0, MOST - len(looked.findings))]
    return looked


async def _judge(store: Store, keys: QueueKeys, places: Sequence[Place]) -> list[Finding]:
    """What is wrong with these places, twice in a row."""
    first = await store.run(commands.audit(keys, places), tries=TRIES)
    if not first:
        return []
    await asyncio.sleep(AGAIN)
    suspects = list(dict.fromkeys(finding.place for finding in first))
    second = await store.run(commands.audit(keys, suspects), tries=TRIES)
    known = {(finding.place, finding.code) for finding in first}
    return [finding for finding in second if (finding.place, finding.code) in known]


async def repair(store: Store, keys: QueueKeys, settings: Settings) -> AsyncIterator[list[Mend]]:
    """Mend a queue until nothing is found any more, or nothing more can be mended. Says what was
    done. Raises StoreError.
    """
    for _ in range(ROUNDS):
        progress = False
        async for found in audit(store, keys):
            places = list(dict.fromkeys(finding.place for finding in found))
            for start in range(0, len(places), REPAIRS):
                mends = await store.run(
                    commands.repair(
                        keys,
                        places[start : start + REPAIRS],
                        keep_ms=round(settings.result_ttl * 1000) or 1,
                        dead_keep_ms=round(settings.dead_ttl * 1000) or 1,
                        alive_ms=round(settings.heartbeat_ttl * 1000),
                    ),
                    tries=TRIES,
                )
                done = [mend for mend in mends if mend.done != "later"]
                if done:
                    progress = True
                    yield done
        if not progress:
            return
