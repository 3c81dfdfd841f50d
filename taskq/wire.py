"""One asyncio connection to Redis: many calls in flight, replies in order. RESP2, parsed by
hiredis.

redis-py's asyncio connections serve one call at a time; here all coroutines of a process share one,
and calls made in the same turn of the loop leave in one write. Nothing is ever sent twice: that
decision belongs to the store.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import hiredis

from taskq.address import Address
from taskq.commands import Word
from taskq.redis_errors import check_version, server_error, unreachable


class ServerError(Exception):
    """An error reply, as it came."""


class Reply(Protocol):
    """What hears a reply: a future, or what does not need one. Told while bytes are being read:
    it must not raise.
    """

    def done(self) -> bool: ...

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, exception: BaseException, /) -> None: ...


class Wire(asyncio.Protocol):
    """A connected, authenticated connection. Made by `open_wire`."""

    def __init__(self, where: str, timeout: float) -> None:
        self.where = where
        self.closed: str | None = None
        self.on_push: Callable[[list[Any]], None] | None = None
        self.on_lost: Callable[[], None] | None = None
        self.client = 0
        """Its number at the server; 0 when that does not tell."""
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=ServerError)
        self._pending: deque[tuple[float, Reply]] = deque()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._outbox: list[bytes] = []
        self._heard = 0.0
        """Loop time at which bytes last came in: a long reply on a slow link is no silence."""
        self._unsent = sys.maxsize
        """Bytes that waited to be sent at the last look; as many as can be before the first."""

    def send(self, words: Sequence[Word]) -> asyncio.Future[Any]:
        """Send one command; the future gives its reply (a ServerError instance for an error reply).

        Raises StoreUnavailable through the future when the connection breaks or nothing is heard in
        time.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.closed is not None:
            future.set_exception(unreachable(self.where, self.closed))
            return future
        packed = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]
        if not self._outbox:
            self._loop.call_soon(self.flush)
        self._outbox.append(packed)
        self._expect(future)
        return future

    def post(self, words: tuple[Word, ...], reply: Reply) -> None:
        """Write one command now, with all that waits for the turn's end; `reply` hears what comes.
        The connection must be open.
        """
        self._outbox.append(hiredis.pack_command(words))  # type: ignore[arg-type]
        self._expect(reply)
        self.flush()

    def _expect(self, reply: Reply) -> None:
        self._pending.append((self._loop.time(), reply))
        if self._timer is None:
            self._unsent = sys.maxsize
            self._timer = self._loop.call_later(self._timeout, self._check_silence)

    def flush(self) -> None:
        """Write what was sent in this turn now, not at the turn's end."""
        if self._outbox and self._transport is not None:
            self._transport.write(
                self._outbox[0] if len(self._outbox) == 1 else b"".join(self._outbox)
            )
        self._outbox.clear()

    def close(self, reason: str = "closed") -> None:
        """Drop the connection; calls in flight fail."""
        if self.closed is None:
            self.closed = reason
            if self._transport is not None:
                self._transport.abort()
            self._fail_pending()

    def _check_silence(self) -> None:
        """Replies come in order, so the oldest call tells whether the server still answers; a part
        of a reply is an answer too.
        """
        self._timer = None
        if not self._pending:
            return
        since = max(self._pending[0][0], self._heard)
        left = since + self._timeout - self._loop.time()
        unsent = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if left <= 0 and 0 < unsent < self._unsent:
            left = self._timeout  # a big payload goes out slowly, but it goes
        self._unsent = unsent
        if left <= 0:
            self.close(f"no answer within {self._timeout:g} s")
        else:
            self._timer = self._loop.call_later(left, self._check_silence)

    def _fail_pending(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._pending:
            _, waiting = self._pending.popleft()
            if not waiting.done():
                waiting.set_exception(unreachable(self.where, self.closed or "closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        reader, pending = self._reader, self._pending
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                if self.on_push is not None and type(reply) is list and reply[0] == b"message":
                    self.on_push(reply)
                    continue
                waiting = pending.popleft()[1]
                if not waiting.done():
                    waiting.set_result(reply)
        except (hiredis.HiredisError, IndexError) as error:
            self.close(f"not a Redis server, or the protocol broke ({error})")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.closed is None:
            self.closed = str(exc) if exc else "the server closed the connection"
        self._fail_pending()
        if self.on_lost is not None:
            self.on_lost()


def tls_context(address: Address) -> ssl.SSLContext | None:
    """The TLS settings of an address with TLS; None for the others."""
    if not address.secure:
        return None
    tls = address.tls
    context = ssl.create_default_context(cafile=tls.ca_file if tls else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls is not None:
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file)
        context.check_hostname = tls.verify and tls.check_hostname
        if not tls.verify:
            context.verify_mode = ssl.CERT_NONE
    return context


async def open_wire(address: Address, *, connect_timeout: float, timeout: float, name: str) -> Wire:
    """Connect, authenticate, choose the database, check the server's version.

    Times in seconds. Raises StoreUnavailable, StoreRefused or ServerUnsupported.
    """
    loop = asyncio.get_running_loop()
    where = address.masked

    def make() -> Wire:
        return Wire(where, timeout)

    try:
        async with asyncio.timeout(connect_timeout):
            if address.path is not None:
                _, wire = await loop.create_unix_connection(make, address.path)
            else:
                context = tls_context(address)
                _, wire = await loop.create_connection(
                    make, address.host, address.port, ssl=context
                )
    except TimeoutError as error:
        raise unreachable(where, f"no connection within {connect_timeout:g} s") from error
    except OSError as error:
        raise unreachable(where, error.strerror or str(error)) from error
    try:
        await _greet(wire, address, name)
    except BaseException:
        wire.close()
        raise
    return wire


async def _greet(wire: Wire, address: Address, name: str) -> None:
    hello: list[str] = ["HELLO", "2"]
    if address.password is not None:
        hello += ["AUTH", address.username or "default", address.password]
    calls = [wire.send([*hello, "SETNAME", name])]
    if address.db:
        calls.append(wire.send(["SELECT", str(address.db)]))
    replies = await asyncio.gather(*calls)
    for reply in replies:
        if isinstance(reply, ServerError):
            if str(reply).startswith("ERR unknown command"):
                check_version("redis", "0.0", address.masked)
            raise server_error(str(reply), address.masked)
    about = dict(zip(replies[0][::2], replies[0][1::2], strict=False))
    wire.client = int(about.get(b"id") or 0)
    check_version(
        about.get(b"server", b"redis").decode(), about.get(b"version", b"").decode(), wire.where
    )
