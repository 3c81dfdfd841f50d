"""Runs calls on Redis, asynchronously: connects, loads scripts, repeats what may be repeated, turns
errors into ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from taskq import commands
from taskq.address import Address
from taskq.commands import Call, Confirm, check_reply
from taskq.confirmer import Confirmer
from taskq.errors import StoreError, StoreUnavailable
from taskq.redis_errors import DEMOTED, check_eviction, server_error
from taskq.scripts import ScriptSet
from taskq.tries import pause_before
from taskq.waiter import Waiter
from taskq.wire import ServerError, Wire, open_wire

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Hearer(Protocol[T_contra]):
    """Is told how a posted call went, one of the two, while replies are being read: must not
    raise.
    """

    def answered(self, value: T_contra, /) -> None: ...

    def failed(self, error: Exception, /) -> None: ...


class _Posted(Generic[T]):
    """Takes the place of a future in a Wire: a posted call costs no turn of the loop."""

    __slots__ = ("_call", "_hearer", "_store")

    def __init__(self, store: Store, call: Call[T], hearer: Hearer[T]) -> None:
        self._store = store
        self._call = call
        self._hearer = hearer

    def done(self) -> bool:
        return False

    def set_result(self, reply: Any) -> None:
        call = self._call
        try:
            if type(reply) is ServerError:
                raise self._store.refusal(reply)
            check_reply(reply, call)
            value = call.parse(reply)
        except Exception as error:
            self._hearer.failed(error)
        else:
            self._hearer.answered(value)

    def set_exception(self, error: BaseException) -> None:
        self._hearer.failed(error if isinstance(error, Exception) else StoreUnavailable(str(error)))


class Store:
    """The async door to one Redis. Used from one event loop at a time; a new loop gets a new
    connection. Made by `stores.open_store`, which knows the kinds for Sentinel and Cluster.

    `socket_timeout` (s) bounds the wait for every reply, `connect_timeout` (s) every connection
    attempt.
    """

    def __init__(
        self,
        address: Address,
        *,
        scripts: ScriptSet | None = None,
        connect_timeout: float = 5.0,
        socket_timeout: float = 5.0,
        name: str = "taskq",
    ) -> None:
        self.address = address
        self.scripts = scripts or ScriptSet()
        self._connect_timeout = connect_timeout
        self._socket_timeout = socket_timeout
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wire: Wire | None = None
        self._opening: asyncio.Task[Wire] | None = None
        self._waiter = self.waiter()
        self._confirmer = Confirmer(self._open, self._reply)
        self._listener: Wire | None = None
        self._subscribing = asyncio.Lock()
        self._callbacks: dict[bytes, Callable[[bytes | None], None]] = {}

    scattered = False
    """Are there several servers, of which one may be away while the others serve?"""

    @property
    def where(self) -> str:
        """The server, for messages."""
        return self.address.masked

    async def _open(self, timeout: float | None = None) -> Wire:
        return await self._open_at(self.address, timeout)

    async def _open_at(self, address: Address, timeout: float | None) -> Wire:
        return await open_wire(
            address,
            connect_timeout=self._connect_timeout,
            timeout=timeout or self._socket_timeout,
            name=self._name,
        )

    @property
    def connected(self) -> bool:
        """Is the shared connection open, as far as we know?"""
        return self._wire is not None and self._wire.closed is None

    async def connect(self) -> Wire:
        """The shared connection, opened when needed. Callers that come at once share one
        attempt.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._wire, self._opening = loop, None, None
            self._listener = None
            self._waiter.forget()
            self._confirmer.forget()
            self._subscribing = asyncio.Lock()
        if self._wire is not None and self._wire.closed is None:
            return self._wire
        if self._opening is None:
            self._opening = loop.create_task(self._open())
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    def _opened(self, task: asyncio.Task[Wire]) -> None:
        self._opening = None
        if not task.cancelled() and task.exception() is None:
            self._wire = task.result()

    def _leave(self, reason: str) -> None:
        """Drop the connections there are; the next call opens new ones."""
        for one in (self._wire, self._waiter, self._confirmer, self._listener):
            if one is not None:
                one.close(reason)

    def refusal(self, reply: ServerError) -> StoreError:
        """The error for an error reply. A server that is no primary any more is left: its name, or
        a sentinel, may by now lead to another.
        """
        text = str(reply)
        if text.startswith(DEMOTED):
            self._leave("the server is no primary any more")
        return server_error(text, self.where)

    async def _reply(self, wire: Wire, call: Call[Any]) -> Any:
        if not call.script:
            return await wire.send(call.args)
        script = self.scripts.get(call.script)
        words = ("EVALSHA", script.sha, len(call.keys), *call.keys, *call.args)
        reply = await wire.send(words)
        if type(reply) is ServerError and str(reply).startswith("NOSCRIPT"):
            loaded = await wire.send(("SCRIPT", "LOAD", script.source))
            if type(loaded) is ServerError:
                return loaded
            reply = await wire.send(words)
        return reply

    async def run(self, call: Call[T], *, tries: int = 1) -> T:
        """Run one call. `tries` > 1 repeats it after a lost connection or a passing refusal; every
        script may be.

        Raises StoreUnavailable (outcome unknown if it was sent), StoreRefused, ScriptBug, and what
        the call's own parse raises.
        """
        for attempt in range(1, tries + 1):
            try:
                wire = self._wire
                if wire is None or wire.closed is not None or self._loop is not _loop():
                    wire = await self.connect()
                reply = await self._reply(wire, call)
                if type(reply) is ServerError:
                    raise self.refusal(reply)
                check_reply(reply, call)
                return call.parse(reply)
            except StoreUnavailable:
                if attempt == tries:
                    raise
            await asyncio.sleep(pause_before(attempt))
        raise AssertionError("unreachable")

    async def run_confirmed(self, call: Call[T], confirm: Confirm, *, tries: int = 1) -> T:
        """As `run`, on a connection of its own; it has been run only once replicas have it too."""
        for attempt in range(1, tries + 1):
            try:
                await self.connect()
                reply = await self._confirmer.run(call, confirm)
                if type(reply) is ServerError:
                    raise self.refusal(reply)
                check_reply(reply, call)
                return call.parse(reply)
            except StoreUnavailable:
                if attempt == tries:
                    raise
            await asyncio.sleep(pause_before(attempt))
        raise AssertionError("unreachable")

    def post(self, call: Call[T], hearer: Hearer[T]) -> bool:
        """Send a script call at once, without a task of its own; `hearer` is told how it went.

        False, and nothing sent, when there is no open connection: use `run`, which opens one. An
        error is not repeated here, not even a script the server has forgotten.
        """
        wire = self._wire
        if wire is None or wire.closed is not None or self._loop is not _loop():
            return False
        sha = self.scripts.get(call.script).sha
        words = ("EVALSHA", sha, len(call.keys), *call.keys, *call.args)
        wire.post(words, _Posted(self, call, hearer))
        return True

    async def run_many(self, calls: Sequence[Call[T]], *, tries: int = 1) -> list[T]:
        """Run several calls, sent together; replies in order."""
        return list(await asyncio.gather(*(self.run(call, tries=tries) for call in calls)))

    def waiter(self) -> Waiter:
        """Something to wait for wake tokens with, on a connection of its own."""
        return Waiter(
            self._open,
            self.where,
            connect_timeout=self._connect_timeout,
            socket_timeout=self._socket_timeout,
        )

    async def wait_for_wake(self, keys: Sequence[str], seconds: float) -> str | None:
        """Block until somebody pushes to one of these lists, at most `seconds`; which one, None
        when nobody did.

        Has a connection of its own.
        """
        await self.connect()
        reply = await self._waiter.wait(keys, seconds)
        if type(reply) is ServerError:
            raise self.refusal(reply)
        return None if reply is None else reply[0].decode()

    async def end_wait(self) -> None:
        """Let `wait_for_wake` return now, as if nobody had pushed; no token is lost."""
        await self._waiter.end(self.unblock)

    async def unblock(self, client: int) -> bool:
        """End what this client of the server is blocked on; False when it was not blocked."""
        call = commands.plain("CLIENT", "UNBLOCK", client, parse=bool)
        return await self.run(call)

    async def subscribe(self, channel: str, callback: Callable[[bytes | None], None]) -> None:
        """Call `callback(message)` for each message on `channel`, and `callback(None)` when the
        connection broke.
        """
        await self.connect()
        async with self._subscribing:
            if self._listener is None or self._listener.closed is not None:
                listener = await self._open()
                callbacks = self._callbacks = {}
                listener.on_push = self._pushed
                listener.on_lost = lambda: _tell_all(callbacks)
                self._listener = listener
            name = channel.encode()
            if name not in self._callbacks:
                reply = await self._listener.send(("SUBSCRIBE", channel))
                if type(reply) is ServerError:
                    raise server_error(str(reply), self.where)
                self._callbacks[name] = callback

    def subscribed(self, channel: str) -> bool:
        """True while messages on `channel` are heard."""
        listener = self._listener
        return (
            listener is not None
            and listener.closed is None
            and self._loop is _loop()
            and channel.encode() in self._callbacks
        )

    def _pushed(self, push: list[Any]) -> None:
        callback = self._callbacks.get(push[1])
        if callback is not None:
            callback(push[2])

    async def each(self) -> Sequence[Store]:
        """The stores of all servers that hold queues."""
        return [self]

    async def check_server(self) -> None:
        """ServerUnsupported when the server may throw jobs away. Its version was checked on
        connecting.
        """
        wire = await self.connect()
        info = await wire.send(("INFO", "memory"))
        if isinstance(info, ServerError):
            raise server_error(str(info), self.where)
        if isinstance(info, bytes):
            for line in info.decode().splitlines():
                name, _, value = line.partition(":")
                if name == "maxmemory_policy":
                    check_eviction(value, self.where)

    async def close(self) -> None:
        """Close all connections. Using the store again opens new ones."""
        opening, self._opening = self._opening, None
        if opening is not None and self._loop is _loop():
            opening.cancel()
        if self._loop is _loop():
            self._leave("closed")
        self._wire = self._listener = None
        self._waiter.forget()
        self._confirmer.forget()


def _tell_all(callbacks: Mapping[bytes, Callable[[bytes | None], None]]) -> None:
    for callback in callbacks.values():
        callback(None)


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()
