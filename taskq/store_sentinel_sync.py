"""The blocking store of a Sentinel group: every new connection is checked to be one to a primary.

redis-py's own Sentinel pool is not used: it does not ask the sentinels again when a call is tried
again. Here a lost connection, or a server that is no primary, makes the next try ask them anew.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from taskq.address import Address
from taskq.connections import Borrowed, Connections
from taskq.errors import StoreError, StoreUnavailable
from taskq.sentinels import ASK_SECONDS, Sentinels, check_elected, check_role
from taskq.store_sync import SyncStore

_LOST = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, MasterDownError)


class SentinelSyncStore(SyncStore):
    """As SyncStore, for `redis+sentinel://`. Safe from threads."""

    def __init__(self, address: Address, **words: Any) -> None:
        self._sentinels = Sentinels(address)
        self._lock = threading.Lock()
        super().__init__(address, **words)

    def _first(self) -> Borrowed | None:
        return None

    def _door(self) -> Borrowed:
        door = self._connections
        if door is not None:
            return door
        with self._lock:
            if self._connections is None:
                primary = self._find()
                client = self._client_at(primary, greet=self._only(primary))
                self._connections = Connections(client)
            return self._connections

    def _find(self) -> Address:
        problems: list[StoreError] = []
        for sentinel in self._sentinels.in_order():
            client: Any = self._client_at(sentinel, bound=ASK_SECONDS)
            try:
                reply = client.execute_command(*self._sentinels.question)
                primary = self._sentinels.primary(reply, sentinel)
            except RedisError as error:
                problems.append(self._translate(error, sentinel))
            except StoreUnavailable as error:
                problems.append(error)
            else:
                self._sentinels.answered(sentinel)
                return primary
            finally:
                client.close()
        raise self._sentinels.nobody(problems)

    def _troubled(self, door: Borrowed, error: RedisError) -> None:
        """Ask the sentinels before the next call. Calls of other threads that are under way on the
        old connections end there, each in its own way.
        """
        if not isinstance(error, _LOST):
            return
        with self._lock:
            if self._connections is door:
                self._connections = None
        with contextlib.suppress(RedisError, OSError):
            door.drop(in_use=False)

    def _only(self, primary: Address) -> Any:
        """A greeting for redis-py that refuses a server which is no primary, or is none any more:
        one that stood still may not know yet that another was elected.
        """

        def greet(connection: Any) -> None:
            connection.on_connect()
            connection.send_command("ROLE")
            reply = connection.read_response()
            try:
                check_role(reply, primary)
                check_elected(self._find(), primary)
            except StoreError as error:
                raise RedisConnectionError(str(error)) from error

        return greet
