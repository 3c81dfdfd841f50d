"""A connection that blocks on wake lists: one of its own, as a blocked one serves nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from taskq.errors import StoreUnavailable
from taskq.wire import Wire

#: Between two tries to end a wait whose command may still be on its way, s; and how many tries.
AGAIN = 0.005
TRIES = 200


class Waiter:
    """Opened when it is needed. `open_` gets the reply timeout of the connection; times in s."""

    def __init__(
        self,
        open_: Callable[[float], Awaitable[Wire]],
        where: str,
        *,
        connect_timeout: float,
        socket_timeout: float,
    ) -> None:
        self._open = open_
        self.where = where
        self._connect_timeout = connect_timeout
        self._socket_timeout = socket_timeout
        self._wire: Wire | None = None
        self._waits = 0
        """How many waits began."""
        self._waiting = False

    async def wait(self, keys: Sequence[str], seconds: float) -> Any:
        """The reply of BLPOP, an error reply included; its timeout is longer than the wait."""
        wire = self._wire
        self._waits += 1
        self._waiting = True
        try:
            if wire is None or wire.closed is not None:
                async with asyncio.timeout(self._connect_timeout + self._socket_timeout):
                    wire = self._wire = await self._open(60.0 + self._socket_timeout)
            async with asyncio.timeout(seconds + self._socket_timeout):
                return await wire.send(("BLPOP", *keys, f"{max(seconds, 0.001):.3f}"))
        except BaseException as error:
            # A cancelled wait may still pop a token later; nobody reads that connection any more.
            self.close("wait given up")
            if isinstance(error, TimeoutError):
                raise StoreUnavailable(f"Redis at {self.where} does not answer") from error
            raise
        finally:
            self._waiting = False

    async def end(self, unblock: Callable[[int], Awaitable[bool]]) -> None:
        """End the wait there is as if nobody had come. Whether a token was popped before, the
        server decides: then the wait ends with it, and none is lost. `unblock(client)` asks the
        server, and tells whether that client was blocked. When it cannot be asked, the connection
        is closed.
        """
        this = self._waits
        for _ in range(TRIES):
            if not self._waiting or self._waits != this:
                return
            wire = self._wire
            if wire is not None and wire.closed is None:
                if not wire.client:
                    break
                try:
                    if await unblock(wire.client):
                        return
                except Exception:  # refused, or away
                    break
            await asyncio.sleep(AGAIN)  # it is being opened, or BLPOP is on its way
        if self._waiting and self._waits == this:
            self.close("wait given up")

    def close(self, reason: str) -> None:
        """End the wait there is; the next one opens a new connection."""
        if self._wire is not None:
            self._wire.close(reason)

    def forget(self) -> None:
        """The event loop of the connection is gone."""
        self._wire = None
