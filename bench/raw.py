"""taskq's own scripts, driven without taskq: calls packed beforehand, replies parsed in C.

What this reaches is the server's limit, not a client's. Of a claimed job Python touches nothing
but id and token, which it takes out of the reply to put them into the next call.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import hiredis

from taskq import commands
from taskq.codec import Codec
from taskq.commands import BATCH, Ack, Call
from taskq.commands.produce import NewJob
from taskq.keys import QueueKeys
from taskq.scripts import ScriptSet

_scripts = ScriptSet()
_EMPTY = Codec().encode_call((), {}, limit=1000)
_KEEP_MS = 600_000
_DONE_MAX = 1_000_000
_FOREVER_MS = 3_600_000


class Wire:
    """One connection that sends packed calls and reads parsed replies."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        if where.scheme == "unix":
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(where.path)
        else:
            self._socket = socket.create_connection((where.hostname, where.port or 6379))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()

    def send(self, packed: bytes) -> None:
        """Send what `pack` or `packed` made."""
        self._socket.sendall(packed)

    def receive(self) -> Any:
        """The next reply; RuntimeError when it is an error."""
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(1 << 18)
            if not data:
                raise RuntimeError("the server closed the connection")
            self._reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise RuntimeError(f"the server answered: {reply}")
        return reply

    def ask(self, *words: bytes | str | int | float) -> Any:
        """One command and its reply."""
        self.send(_pack(words))
        return self.receive()

    def load(self, *names: str) -> None:
        """Give the server these scripts."""
        for name in names:
            self.ask("SCRIPT", "LOAD", _scripts.get(name).source)

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def scripts(others: ScriptSet) -> Iterator[None]:
    """Use other scripts than those of this checkout."""
    global _scripts
    mine, _scripts = _scripts, others
    try:
        yield
    finally:
        _scripts = mine


def run_raw(wire: Wire, call: bytes) -> Any:
    """Send packed bytes; the reply as it came."""
    wire.send(call)
    return wire.receive()


def packed(call: Call[Any]) -> bytes:
    """A call as bytes for the wire."""
    if not call.script:
        return _pack(call.args)
    sha = _scripts.get(call.script).sha
    return _pack(("EVALSHA", sha, len(call.keys), *call.keys, *call.args))


def _pack(words: Sequence[Any]) -> bytes:
    return cast(bytes, hiredis.pack_command(tuple(words)))


def run(wire: Wire, call: Call[Any]) -> Any:
    """Send one call and parse its reply."""
    wire.send(packed(call))
    return call.parse(wire.receive())


def jobs(
    start: int,
    count: int,
    *,
    task: str = "noop",
    group: str = "",
    priority: int = 5,
    delay_ms: int = 0,
) -> list[NewJob]:
    """Jobs without arguments, with ids made from numbers, as long as those taskq makes."""
    extras = ("group", group) if group else ()
    at = f"+{delay_ms}" if delay_ms else ""
    return [
        NewJob(f"{number:024d}", task, _EMPTY, priority, at, "", "", extras)
        for number in range(start, start + count)
    ]


def enqueue(keys: QueueKeys, some: Sequence[NewJob], *, max_jobs: int = 100_000_000) -> bytes:
    """One call for up to 200 jobs."""
    return packed(commands.enqueue(keys, some, max_jobs=max_jobs, all_or_none=False))


class Claimer:
    """A worker as the server sees one: reports what it claimed, and claims anew, in one call."""

    def __init__(self, wire: Wire, keys: QueueKeys, name: str, *, batch: int = 100) -> None:
        self.wire = wire
        self._name = name
        self.follow(keys)
        self._batch = batch
        self._limit = min(batch, BATCH)
        self._at: tuple[int, int] | None = None
        self.done = 0

    def follow(self, keys: QueueKeys) -> None:
        """Claim from another queue from now on."""
        self._keys = keys

    def beat(self) -> None:
        """Prove life, for an hour."""
        run(self.wire, commands.heartbeat(self._keys, self._name, ttl_ms=_FOREVER_MS))

    def claim(self, limit: int | None = None) -> bytes:
        """A first call."""
        most = self._limit if limit is None else limit
        return packed(
            commands.claim(self._keys, self._name, keep_ms=_KEEP_MS, limit=most, slots={"": most})
        )

    def next(self, reply: list[Any], *, first: bool = False, limit: int | None = None) -> bytes:
        """The call that follows `reply`: reports all that it brought, and claims as many again."""
        claimed = reply[4:] if first else reply[5:]
        if not claimed:
            return b""
        if self._at is None:
            flat = claimed[0]
            self._at = flat.index(b"id") + 1, flat.index(b"token") + 1
        at_id, at_token = self._at
        self.done += len(claimed)
        acks = [Ack(flat[at_id], flat[at_token], b"", _KEEP_MS) for flat in claimed]
        most = self._limit if limit is None else limit
        call = commands.ack(
            self._keys,
            self._name,
            acks,
            keep_ms=_KEEP_MS,
            done_max=_DONE_MAX,
            limit=most,
            slots={"": most},
        )
        return packed(call)
