"""Runs calls on Redis from blocking code, any thread, over redis-py's connection pool."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from taskq.address import Address
from taskq.commands import Call, check_reply
from taskq.errors import StoreError, StoreUnavailable
from taskq.redis_errors import check_eviction, check_version, server_error, unreachable
from taskq.scripts import ScriptSet

T = TypeVar("T")

#: redis-py strips the code off some error texts; put it back so that both stores read the same.
_CODES: tuple[tuple[type[RedisError], str], ...] = (
    (OutOfMemoryError, "OOM"),
    (ReadOnlyError, "READONLY"),
    (BusyLoadingError, "LOADING"),
    (AuthenticationError, "WRONGPASS"),
    (NoPermissionError, "NOPERM"),
)


def make_client(
    address: Address, *, connect_timeout: float, socket_timeout: float, name: str
) -> redis.Redis:
    """A redis-py client that never repeats a command by itself (its default is up to ten times)."""
    options: dict[str, Any] = {
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "socket_timeout": socket_timeout,
        "socket_connect_timeout": connect_timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "client_name": name,
    }
    if address.path is not None:
        return redis.Redis(unix_socket_path=address.path, **options)
    if address.scheme == "rediss":
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
    """The blocking door to one Redis. Safe from threads; after a fork redis-py opens new
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
        # redis-py's own signatures are untyped in part.
        self._client: Any = client or make_client(
            address, connect_timeout=connect_timeout, socket_timeout=socket_timeout, name=name
        )
        self._socket_timeout = socket_timeout

    @property
    def where(self) -> str:
        """The server, for messages."""
        return self.address.masked

    def _translate(self, error: RedisError) -> StoreError:
        for kind, code in _CODES:
            if isinstance(error, kind):
                text = str(error)
                if text.startswith("Authentication required"):
                    code = "NOAUTH"
                return server_error(text if text.startswith(code) else f"{code} {text}", self.where)
        if isinstance(error, (RedisConnectionError, RedisTimeoutError)):
            return unreachable(self.where, error)
        return server_error(str(error), self.where)

    def _reply(self, call: Call[Any]) -> Any:
        client = self._client
        if not self._checked:
            info: Any = client.execute_command("INFO", "server")
            server = "valkey" if "valkey_version" in info else "redis"
            check_version(server, str(info.get(f"{server}_version", "")), self.where)
            self._checked = True
        if not call.script:
            return client.execute_command(*call.args)
        script = self.scripts.get(call.script)
        words = (script.sha, len(call.keys), *call.keys, *call.args)
        try:
            return client.execute_command("EVALSHA", *words)
        except NoScriptError:
            client.execute_command("SCRIPT LOAD", script.source)
            return client.execute_command("EVALSHA", *words)

    def run(self, call: Call[T], *, tries: int = 1) -> T:
        """Run one call; see Store.run."""
        for attempt in range(1, tries + 1):
            try:
                reply = self._reply(call)
                check_reply(reply, call)
                return call.parse(reply)
            except RedisError as error:
                problem = self._translate(error)
                if attempt == tries or not isinstance(problem, StoreUnavailable):
                    raise problem from error
            time.sleep(random.uniform(0, min(2.0, 0.05 * 4**attempt)))
        raise AssertionError("unreachable")

    def run_many(self, calls: Sequence[Call[T]], *, tries: int = 1) -> list[T]:
        """Run several calls, one after the other."""
        return [self.run(call, tries=tries) for call in calls]

    def listen(self, channel: str, ask: Callable[[], T | None], seconds: float) -> bytes | T | None:
        """Subscribe to `channel`, then call `ask`; when it has no answer yet, wait for one message.

        Subscribing first means an end between asking and listening cannot be missed. None when
        `seconds` pass.
        """
        pubsub = self._client.pubsub(ignore_subscribe_messages=True)
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
            raise self._translate(error) from error
        finally:
            pubsub.close()

    def check_server(self) -> None:
        """ServerUnsupported when the server may throw jobs away."""
        try:
            info: Any = self._client.execute_command("INFO", "memory")
        except ResponseError as error:
            raise self._translate(error) from error
        check_eviction(str(info.get("maxmemory_policy", "")), self.where)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
