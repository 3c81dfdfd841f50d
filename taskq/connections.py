"""The connections of blocking calls: redis-py makes them, and they wait here between two calls.

redis-py's own pool and `execute_command` cost about as much CPU as everything else in a call. Here
a call takes the connection used last, writes once and reads once. Nothing is ever sent twice: that
decision belongs to the store.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import hiredis
from redis.exceptions import RedisError, ResponseError

from taskq.commands import Word

#: A connection whose last call began longer ago is looked at before it is used, s.
LOOK_AFTER = 1.0

#: Idle connections that are kept; more than that many threads at once leave none behind.
KEEP = 100

_Idle: TypeAlias = list[tuple[Any, float]]


class Borrowed:
    """The same calls over a redis-py client that somebody else made: a fake server's, in tests."""

    def __init__(self, client: Any) -> None:
        # redis-py's own signatures are untyped in part.
        self.client = client

    def ask(self, *words: Word) -> Any:
        """The reply to one command, as it came. Raises redis-py's errors."""
        return self.client.execute_command(*words)

    def command(self, *words: Word) -> Any:
        """The reply to one command, as redis-py reads it (INFO and HGETALL give a dict)."""
        return self.client.execute_command(*words)

    def ask_both(self, first: Sequence[Word], second: Sequence[Word]) -> tuple[Any, Any]:
        """The replies to two commands of one connection. Raises the first error reply of theirs."""
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command(*first)
            pipeline.execute_command(*second)
            reply, other = pipeline.execute(raise_on_error=False)
        return _unless_error(reply), _unless_error(other)

    def drop(self, *, in_use: bool = True) -> None:
        """Leave this server: the next call connects anew. `in_use`: redis-py's own connections
        which another thread uses are closed as well.
        """
        self.client.connection_pool.disconnect(inuse_connections=in_use)

    def close(self) -> None:
        """Close all connections. A later call opens new ones."""
        self.client.close()


class Connections(Borrowed):
    """As Borrowed, over connections of our own. Safe from threads; after a fork the child connects
    anew, and leaves those of its parent alone.
    """

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self._idle: _Idle = []
        """Used last, taken first. Append and pop are atomic; `drop` puts another list in its place,
        so a call that began before gives its connection back to none.
        """
        self._pid = os.getpid()
        self._doubt = -math.inf
        """When a connection failed last: those that were idle then may be dead as well."""

    def ask(self, *words: Word) -> Any:
        """As Borrowed.ask."""
        return self._talk(hiredis.pack_command(words))  # type: ignore[arg-type]

    def command(self, *words: Word) -> Any:
        """As Borrowed.command."""
        parse, name = self.client.parse_response, words[0]
        packed = hiredis.pack_command(words)  # type: ignore[arg-type]
        return self._talk(packed, lambda connection: parse(connection, name))

    def ask_both(self, first: Sequence[Word], second: Sequence[Word]) -> tuple[Any, Any]:
        """As Borrowed.ask_both."""
        packed = [hiredis.pack_command(tuple(words)) for words in (first, second)]  # type: ignore[arg-type]
        reply, other = self._talk(b"".join(packed), _read_both)
        return _unless_error(reply), _unless_error(other)

    def _talk(self, packed: bytes, read: Callable[[Any], Any] | None = None) -> Any:
        # In one piece, as every blocking enqueue pays for each call of a function.
        if os.getpid() != self._pid:
            # In this order: who sees the new pid must not find the parent's connections.
            self._idle = []
            self._pid = os.getpid()
        idle, now = self._idle, time.monotonic()
        try:
            connection, since = idle.pop()
        except IndexError:
            connection = self._connect()
        else:
            if since <= self._doubt or now - since > LOOK_AFTER:
                connection = self._sound(connection, idle)
        try:
            connection.send_packed_command([packed], check_health=False)
            reply = connection.read_response() if read is None else read(connection)
        except ResponseError:  # a whole reply: nothing is left to be read
            self._give(idle, connection, now)
            raise
        except BaseException:  # KeyboardInterrupt too: its reply would be read by the next call
            self._doubt = time.monotonic()
            connection.disconnect()
            raise
        self._give(idle, connection, now)
        return reply

    def _give(self, idle: _Idle, connection: Any, since: float) -> None:
        if idle is self._idle and len(idle) < KEEP:
            # `drop` may come between: then the list goes, and the connection closes with it.
            idle.append((connection, since))
        else:
            connection.disconnect()

    def _sound(self, connection: Any, idle: _Idle) -> Any:
        """`connection`, or the next that the server has not closed and that holds no old reply."""
        while True:
            try:
                if not connection.can_read(timeout=0):
                    return connection
            except (RedisError, OSError):
                pass  # closed
            connection.disconnect()
            try:
                connection, _ = idle.pop()
            except IndexError:
                return self._connect()

    def _connect(self) -> Any:
        # Not the pool's make_connection(): redis-py counts those, and gives no more after 100.
        pool = self.client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def drop(self, *, in_use: bool = True) -> None:
        """As Borrowed.drop. Connections of our own that are in use close when their call ends."""
        idle, self._idle = self._idle, []
        while idle:
            idle.pop()[0].disconnect()
        super().drop(in_use=in_use)

    def close(self) -> None:
        """As Borrowed.close."""
        self.drop()
        super().close()


def _read_both(connection: Any) -> tuple[Any, Any]:
    """Two replies; error replies as values, as the second must be read in any case."""
    found = []
    for _ in range(2):
        try:
            found.append(connection.read_response())
        except ResponseError as error:
            found.append(error)
    return found[0], found[1]


def _unless_error(reply: Any) -> Any:
    if isinstance(reply, RedisError):
        raise reply
    return reply
