"""Waiting on wake lists that live in several slots of a Cluster, and so on several nodes.

One blocking wait for each list. What still waits when one has been woken goes on waiting, so that
no token is lost and nothing is opened anew; a token that comes while nobody listens goes back.
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
        self._waits: dict[str, asyncio.Task[bool]] = {}
        self._waiters: dict[str, Waiter] = {}
        self._giving: set[asyncio.Task[None]] = set()
        self._heeding = False

    async def wait(self, keys: Sequence[str], seconds: float) -> str | None:
        """The first list somebody pushed to; None when nobody did for so long."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        self._heeding = True
        try:
            while True:
                left = max(end - loop.time(), 0.0)
                for key in keys:
                    if key not in self._waits:
                        self._begin(key, left)
                done, _ = await asyncio.wait(
                    [self._waits[key] for key in keys], return_when=asyncio.FIRST_COMPLETED
                )
                ended = {key: self._waits.pop(key) for key in keys if self._waits[key] in done}
                woken = [key for key, task in ended.items() if not _failed(task) and task.result()]
                for key in woken[1:]:
                    self._give_back(key)
                if woken:
                    return woken[0]
                for task in ended.values():
                    task.result()  # raises what went wrong
                if loop.time() >= end:
                    return None
        except asyncio.CancelledError:
            self.stop()
            raise
        finally:
            self._heeding = False

    def _begin(self, key: str, seconds: float) -> None:
        task = asyncio.ensure_future(self._wait(key, seconds))
        self._waits[key] = task
        task.add_done_callback(lambda task: self._unheeded(key, task))

    async def _wait(self, key: str, seconds: float) -> bool:
        store = await self._store_for(key)
        waiter = self._waiters.get(key)
        if waiter is None or waiter.where != store.where:
            self.leave(key)
            waiter = self._waiters[key] = store.waiter()
        try:
            reply = await waiter.wait([key], seconds)
            if type(reply) is ServerError:
                raise server_error(str(reply), store.where)
        except StoreUnavailable as error:
            self._heard(error, store)
            raise
        return reply is not None

    def _unheeded(self, key: str, task: asyncio.Task[bool]) -> None:
        if self._heeding or self._waits.get(key) is not task:
            return
        del self._waits[key]
        if not _failed(task) and task.result():
            self._give_back(key)

    def _give_back(self, key: str) -> None:
        task = asyncio.ensure_future(self._return(key))
        self._giving.add(task)
        task.add_done_callback(self._given)

    def _given(self, task: asyncio.Task[None]) -> None:
        self._giving.discard(task)
        _failed(task)  # then a hint is lost: workers look at their queues now and then anyway

    def places(self) -> list[tuple[str, str]]:
        """Each list that was waited for, and the server where."""
        return [(key, waiter.where) for key, waiter in self._waiters.items()]

    def leave(self, key: str) -> None:
        """The list lives elsewhere by now: a wait for it ends, as if its connection had broken."""
        if key in self._waiters:
            self._waiters.pop(key).close("the slot has moved")

    def stop(self) -> None:
        """End all waits."""
        for task in self._waits.values():
            task.cancel()
        for waiter in self._waiters.values():
            waiter.close("closed")
        self._waits.clear()

    def forget(self) -> None:
        """The event loop of the connections is gone."""
        self._waits, self._waiters, self._giving = {}, {}, set()


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None
