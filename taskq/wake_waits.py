"""Waiting on wake lists that live in several slots of a Cluster, and so on several nodes.

One blocking wait for the lists of each queue: they share a slot. What still waits when one has been
woken goes on waiting, so that no token is lost and nothing is opened anew; a token that comes while
nobody listens goes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from taskq.errors import StoreUnavailable
from taskq.redis_errors import server_error
from taskq.store import Store
from taskq.waiter import Waiter
from taskq.wire import ServerError

#: A blocking wait; its result is the list that was pushed to, None when none was.
Wait = asyncio.Task[str | None]


class WakeWaits:
    """The waits of one store. `store_for(key)` tells the node of a list, `heard` is told what went
    wrong there, `give_back(key)` puts a token back.
    """

    def __init__(
        self,
        store_for: Callable[[str], Awaitable[Store]],
        heard: Callable[[Exception, Store], None],
        give_back: Callable[[str], Coroutine[Any, Any, None]],
    ) -> None:
        self._store_for = store_for
        self._heard = heard
        self._return = give_back
        self._waits: dict[str, Wait] = {}
        """By hash tag, as what follows."""
        self._keys: dict[str, frozenset[str]] = {}
        """The lists each of them waits for."""
        self._waiters: dict[str, tuple[str, Waiter]] = {}
        """One of the lists, and the connection."""
        self._chores: set[asyncio.Task[None]] = set()
        self._heeding = False
        self._ended: asyncio.Future[None] | None = None

    async def wait(self, keys: Sequence[str], seconds: float) -> str | None:
        """The first list somebody pushed to; None when nobody did for so long, or at `end`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        groups: dict[str, list[str]] = {}
        for key in keys:
            groups.setdefault(_tag(key), []).append(key)
        self._heeding = True
        ended = self._ended = loop.create_future()
        try:
            while True:
                for tag, lists in groups.items():
                    if tag not in self._waits:
                        self._begin(tag, lists, max(end - loop.time(), 0.0))
                    elif not self._keys[tag].issuperset(lists):
                        self._chore(self._end(tag))
                waits = [self._waits[tag] for tag in groups]
                done, _ = await asyncio.wait([*waits, ended], return_when=asyncio.FIRST_COMPLETED)
                over = {tag: self._waits.pop(tag) for tag in groups if self._waits[tag] in done}
                ends = [task.result() for task in over.values() if not _failed(task)]
                woken = [key for key in ends if key is not None]
                for another in woken[1:]:
                    self._give_back(another)
                if woken:
                    return woken[0]
                for task in over.values():
                    task.result()  # raises what went wrong
                if loop.time() >= end or ended.done():
                    return None
        except asyncio.CancelledError:
            self.stop()
            raise
        finally:
            self._heeding = False

    def end(self) -> None:
        """Let `wait` return now. What waits at the nodes goes on, unless the next `wait` is for
        other lists.
        """
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _begin(self, tag: str, keys: Sequence[str], seconds: float) -> None:
        task = asyncio.ensure_future(self._wait(tag, keys, seconds))
        self._waits[tag] = task
        self._keys[tag] = frozenset(keys)
        task.add_done_callback(lambda task: self._unheeded(tag, task))

    async def _wait(self, tag: str, keys: Sequence[str], seconds: float) -> str | None:
        store = await self._store_for(keys[0])
        _, waiter = self._waiters.get(tag, ("", None))
        if waiter is None or waiter.where != store.where:
            self.leave(keys[0])
            waiter = store.waiter()
            self._waiters[tag] = (keys[0], waiter)
        try:
            reply = await waiter.wait(keys, seconds)
            if type(reply) is ServerError:
                raise server_error(str(reply), store.where)
        except StoreUnavailable as error:
            self._heard(error, store)
            raise
        return None if reply is None else reply[0].decode()

    async def _end(self, tag: str) -> None:
        """Other lists are wanted: the wait ends without a token, or with one that came before."""
        if tag in self._waiters:
            key, waiter = self._waiters[tag]
            store = await self._store_for(key)
            await waiter.end(store.unblock)

    def _unheeded(self, tag: str, task: Wait) -> None:
        if self._heeding or self._waits.get(tag) is not task:
            return
        del self._waits[tag]
        if not _failed(task) and (key := task.result()):
            self._give_back(key)

    def _give_back(self, key: str) -> None:
        self._chore(self._return(key))

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._chores.add(task)
        task.add_done_callback(self._chore_done)

    def _chore_done(self, task: asyncio.Task[None]) -> None:
        self._chores.discard(task)
        _failed(task)  # then a hint is lost: workers look at their queues now and then anyway

    def places(self) -> list[tuple[str, str]]:
        """A list of each queue that was waited for, and the server where."""
        return [(key, waiter.where) for key, waiter in self._waiters.values()]

    def leave(self, key: str) -> None:
        """The list lives elsewhere by now: a wait for it ends, as if its connection had broken."""
        found = self._waiters.pop(_tag(key), None)
        if found is not None:
            found[1].close("the slot has moved")

    def stop(self) -> None:
        """End all waits."""
        for task in self._waits.values():
            task.cancel()
        for _, waiter in self._waiters.values():
            waiter.close("closed")
        self._waits.clear()

    def forget(self) -> None:
        """The event loop of the connections is gone."""
        self._waits, self._waiters, self._chores = {}, {}, set()
        self._ended = None


def _tag(key: str) -> str:
    """What decides the slot: a queue's keys share it."""
    return key[: key.index("}") + 1]


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None
