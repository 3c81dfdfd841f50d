"""The async store of a Sentinel group: each new connection asks sentinels where the primary is.

Once connected it is the plain store. A lost connection, or a server that says it is no primary any
more, is left and the sentinels are asked anew.
"""

from __future__ import annotations

from typing import Any

from taskq.address import Address
from taskq.errors import StoreError
from taskq.redis_errors import server_error
from taskq.sentinels import ASK_SECONDS, Sentinels, check_elected, check_role
from taskq.store import Store
from taskq.wire import ServerError, Wire, open_wire


class SentinelStore(Store):
    """As Store, for `redis+sentinel://`."""

    def __init__(self, address: Address, **words: Any) -> None:
        super().__init__(address, **words)
        self._sentinels = Sentinels(address)
        self._primary: Address | None = None

    async def _open(self, timeout: float | None = None) -> Wire:
        problems: list[StoreError] = []
        for sentinel in self._sentinels.in_order():
            try:
                primary = await self._ask(sentinel)
            except StoreError as error:
                problems.append(error)
                continue
            self._sentinels.answered(sentinel)
            wire = await self._open_primary(primary, timeout)
            await self._check_again(sentinel, primary, wire)
            self._follow(primary)
            return wire
        raise self._sentinels.nobody(problems)

    async def _ask(self, sentinel: Address) -> Address:
        bound = min(self._connect_timeout, ASK_SECONDS)
        wire = await open_wire(sentinel, connect_timeout=bound, timeout=bound, name=self._name)
        try:
            reply = await wire.send(self._sentinels.question)
        finally:
            wire.close()
        if isinstance(reply, ServerError):
            raise server_error(str(reply), sentinel.masked)
        return self._sentinels.primary(reply, sentinel)

    async def _check_again(self, sentinel: Address, primary: Address, wire: Wire) -> None:
        """A primary that stood still may answer when another was elected long ago, and it does not
        know it yet: what it would be told is lost. So it must still be the one.
        """
        try:
            check_elected(await self._ask(sentinel), primary)
        except BaseException:
            wire.close()
            raise

    async def _open_primary(self, primary: Address, timeout: float | None) -> Wire:
        wire = await self._open_at(primary, timeout)
        try:
            role = await wire.send(("ROLE",))
            if isinstance(role, ServerError):
                raise server_error(str(role), primary.masked)
            check_role(role, primary)
        except BaseException:
            wire.close()
            raise
        return wire

    def _follow(self, primary: Address) -> None:
        """Another server is primary now: whatever still waits on the old one would wait in vain."""
        if self._primary is not None and self._primary != primary:
            self._leave("another server is primary now")
        self._primary = primary
