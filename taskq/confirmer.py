"""A connection whose writes count only once replicas have them too: EVALSHA, then WAIT.

One of its own, as WAIT holds up everything behind it. Calls that come while one WAIT is under way
share the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from taskq.commands import Call, Confirm
from taskq.errors import StoreUnavailable
from taskq.wire import Wire

#: Sends a call over a connection and gives its reply, an error reply included.
Send = Callable[[Wire, Call[Any]], Awaitable[Any]]


class _Asked(NamedTuple):
    call: Call[Any]
    confirm: Confirm
    answer: asyncio.Future[Any]


class Confirmer:
    """Sends calls and has them confirmed, in groups."""

    def __init__(self, open_: Callable[[], Awaitable[Wire]], send: Send) -> None:
        self._open = open_
        self._send = send
        self._wire: Wire | None = None
        self._queue: list[_Asked] = []
        self._work: asyncio.Task[None] | None = None

    async def run(self, call: Call[Any], confirm: Confirm) -> Any:
        """The reply to `call`, an error reply included. Raises StoreUnavailable when it was not
        confirmed, or the connection broke: it may have been run.
        """
        asked = _Asked(call, confirm, asyncio.get_running_loop().create_future())
        self._queue.append(asked)
        if self._work is None:
            self._work = asyncio.create_task(self._send_groups())
        return await asked.answer

    async def _send_groups(self) -> None:
        try:
            while self._queue:
                group, self._queue = self._queue, []
                try:
                    await self._send_group(group)
                except asyncio.CancelledError:
                    _fail(group, StoreUnavailable("closed while replicas were waited for"))
                    raise
                except Exception as error:
                    _fail(group, error)
        finally:
            self._work = None

    async def _send_group(self, group: list[_Asked]) -> None:
        wire = self._wire
        if wire is None or wire.closed is not None:
            wire = self._wire = await self._open()
        replies = await asyncio.gather(*(self._send(wire, asked.call) for asked in group))
        # The strictest wish of the group; all calls of one client have the same.
        count = await wire.send(max(asked.confirm for asked in group).words)
        for asked, reply in zip(group, replies, strict=True):
            if asked.answer.done():
                continue  # its caller has gone
            try:
                asked.confirm.check(count)
            except StoreUnavailable as error:
                asked.answer.set_exception(error)
            else:
                asked.answer.set_result(reply)

    def close(self, reason: str) -> None:
        """Drop the connection; calls under way fail."""
        if self._wire is not None:
            self._wire.close(reason)

    def forget(self) -> None:
        """The event loop of the connection is gone."""
        self._wire = self._work = None
        self._queue = []


def _fail(group: list[_Asked], error: Exception) -> None:
    for asked in group:
        if not asked.answer.done():
            asked.answer.set_exception(error)
