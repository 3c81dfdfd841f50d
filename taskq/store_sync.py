"""Runs calls on Redis from blocking code, any thread, over connections that redis-py makes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from taskq.address import Address
from taskq.commands import Call, Confirm, Word, check_reply
from taskq.connections import Borrowed, Connections
from taskq.errors import StoreError, StoreUnavailable
from taskq.redis_errors import check_eviction, check_version, server_error, unreachable
from taskq.scripts import ScriptSet
from taskq.tries import pause_before

T = TypeVar("T")

#: redis-py strips the code off some error texts; put it back so that both stores read the same.
_CODES: tuple[tuple[type[RedisError], str], ...] = (
    (OutOfMemoryError, "OOM"),
    (ReadOnlyError, "READONLY"),
    (BusyLoadingError, "LOADING"),
    (AuthenticationError, "WRONGPASS"),
    (MovedError, "MOVED"),
    (AskError, "ASK"),
    (TryAgainError, "TRYAGAIN"),
    (ClusterDownError, "CLUSTERDOWN"),
    (MasterDownError, "MASTERDOWN"),
    (NoPermissionError, "NOPERM"),
)


def make_client(
    address: Address,
    *,
    connect_timeout: float,
    socket_timeout: float,
    name: str,
    greet: Callable[[Any], None] | None = None,
) -> redis.Redis:
    """A redis-py client that never repeats a command by itself (its default is up to ten times).

    `greet` is called with every new connection in place of its own greeting.
    """
    options: dict[str, Any] = {
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "socket_timeout": socket_timeout,
        "socket_connect_timeout": connect_timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "client_name": name,
        "redis_connect_func": greet,
    }
    if address.path is not None:
        return redis.Redis(unix_socket_path=address.path, **options)
    if address.secure:
        tls = address.tls
        options["ssl"] = True
        if tls is not None:
            options.update(
                ssl_ca_certs=tls.ca_file,
                ssl_certfile=tls.cert_file,
                ssl_keyfile=tls.key_file,
                ssl_cert_reqs="required" if tls.verify else "none",
                ssl_check_hostname=tls.verify and tls.check_hostname,
            )
    return redis.Redis(host=address.host, port=address.port, socket_keepalive=True, **options)


class SyncStore:
    """The blocking door to one Redis. Safe from threads; after a fork the child opens new
    connections.

    `client` replaces the connection: tests pass a fake server's client.
    """

    def __init__(
        self,
        address: Address,
        *,
        scripts: ScriptSet | None = None,
        connect_timeout: float = 5.0,
        socket_timeout: float = 5.0,
        name: str = "taskq",
        client: redis.Redis | None = None,
    ) -> None:
        self.address = address
        self.scripts = scripts or ScriptSet()
        self._checked = client is not None
        self._connect_timeout = connect_timeout
        self._socket_timeout = socket_timeout
        self._name = name
        self._connections = self._first() if client is None else Borrowed(client)

    def _first(self) -> Borrowed | None:
        return Connections(self._client_at(self.address))

    def _client_at(
        self,
        address: Address,
        *,
        bound: float = math.inf,
        greet: Callable[[Any], None] | None = None,
    ) -> redis.Redis:
        return make_client(
            address,
            connect_timeout=min(bound, self._connect_timeout),
            socket_timeout=min(bound, self._socket_timeout),
            name=self._name,
            greet=greet,
        )

    def _door(self) -> Borrowed:
        """The connections to use now."""
        assert self._connections is not None
        return self._connections

    @property
    def client(self) -> Any:
        """The redis-py client in use now, for what is not a call of ours."""
        return self._door().client

    def _troubled(self, door: Borrowed, error: RedisError) -> None:
        """A server that is no primary any more is left: its name may by now lead to another."""
        if isinstance(error, (ReadOnlyError, MasterDownError)):
            door.drop()

    @property
    def where(self) -> str:
        """The server, for messages."""
        return self.address.masked

    def _translate(self, error: RedisError, server: Address | None = None) -> StoreError:
        where = self.where if server is None else server.masked
        for kind, code in _CODES:
            if isinstance(error, kind):
                text = str(error)
                if text.startswith("Authentication required"):
                    code = "NOAUTH"
                return server_error(text if text.startswith(code) else f"{code} {text}", where)
        if "max number of clients" in str(error):  # an error reply, whatever class it came as
            return server_error(str(error), self.where)
        if isinstance(error, (RedisConnectionError, RedisTimeoutError)):
            return unreachable(where, error)
        return server_error(str(error), where)

    def _ask(self, door: Borrowed, call: Call[Any], confirm: Confirm | None) -> Any:
        if not self._checked:
            info = door.command("INFO", "server")
            server = "valkey" if "valkey_version" in info else "redis"
            check_version(server, str(info.get(f"{server}_version", "")), self.where)
            self._checked = True
        if not call.script:
            return door.command(*call.args)
        script = self.scripts.get(call.script)
        words = ("EVALSHA", script.sha, len(call.keys), *call.keys, *call.args)
        try:
            return door.ask(*words) if confirm is None else _confirmed(door, words, confirm)
        except NoScriptError:
            door.ask("SCRIPT", "LOAD", script.source)
            return door.ask(*words) if confirm is None else _confirmed(door, words, confirm)

    def run(self, call: Call[T], *, tries: int = 1) -> T:
        """Run one call; see Store.run."""
        return self._run(call, None, tries)

    def run_confirmed(self, call: Call[T], confirm: Confirm, *, tries: int = 1) -> T:
        """Run one call and have replicas confirm it; see Store.run_confirmed."""
        return self._run(call, confirm, tries)

    def _run(self, call: Call[T], confirm: Confirm | None, tries: int) -> T:
        for attempt in range(1, tries + 1):
            try:
                door = self._door()
                try:
                    reply = self._ask(door, call, confirm)
                except RedisError as error:
                    self._troubled(door, error)
                    raise
                check_reply(reply, call)
                return call.parse(reply)
            except RedisError as error:
                problem = self._translate(error)
                if attempt == tries or not isinstance(problem, StoreUnavailable):
                    raise problem from error
            except StoreUnavailable:
                if attempt == tries:
                    raise
            time.sleep(pause_before(attempt))
        raise AssertionError("unreachable")

    def run_many(self, calls: Sequence[Call[T]], *, tries: int = 1) -> list[T]:
        """Run several calls, one after the other."""
        return [self.run(call, tries=tries) for call in calls]

    def listen(self, channel: str, ask: Callable[[], T | None], seconds: float) -> bytes | T | None:
        """Subscribe to `channel`, then call `ask`; when it has no answer yet, wait for one message.

        Subscribing first means an end between asking and listening cannot be missed. None when
        `seconds` pass.
        """
        door = self._door()
        pubsub = door.client.pubsub(ignore_subscribe_messages=True)
        try:
            pubsub.subscribe(channel)
            pubsub.get_message(timeout=self._socket_timeout)
            answer = ask()
            if answer is not None:
                return answer
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                message = pubsub.get_message(timeout=min(left, 5.0))
                if message is not None:
                    data: bytes = message["data"]
                    return data
            return None
        except RedisError as error:
            self._troubled(door, error)
            raise self._translate(error) from error
        finally:
            pubsub.close()

    def check_server(self) -> None:
        """ServerUnsupported when the server may throw jobs away."""
        try:
            info = self._door().command("INFO", "memory")
        except ResponseError as error:
            raise self._translate(error) from error
        check_eviction(str(info.get("maxmemory_policy", "")), self.where)

    def close(self) -> None:
        """Close all connections."""
        if self._connections is not None:
            self._connections.close()


def _confirmed(door: Borrowed, words: Sequence[Word], confirm: Confirm) -> Any:
    reply, count = door.ask_both(words, confirm.words)  # WAIT is about its own connection
    confirm.check(count)
    return reply
