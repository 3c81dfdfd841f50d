"""The connection itself, against a scripted server: order, batching, silence, broken bytes, the
greeting.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskq.address import Address
from taskq.errors import ServerUnsupported, StoreRefused, StoreUnavailable
from taskq.wire import ServerError, Wire, open_wire
from tests.helpers import eventually

HELLO = b"*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.1\r\n"


class Peer:
    """The far end of a socket pair, read and written by the test."""

    def __init__(self, mine: socket.socket) -> None:
        mine.setblocking(False)
        self._socket = mine
        self._loop = asyncio.get_running_loop()

    async def read(self) -> bytes:
        return await self._loop.sock_recv(self._socket, 1 << 16)

    async def write(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._socket, data)

    def hang_up(self) -> None:
        self._socket.close()


@contextlib.asynccontextmanager
async def connected(timeout: float = 5.0) -> Any:
    """A Wire and its far end."""
    near, far = socket.socketpair()
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_unix_connection(lambda: Wire("here", timeout), sock=near)
    peer = Peer(far)
    try:
        yield wire, peer
    finally:
        wire.close()
        peer.hang_up()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_calls_of_one_turn_leave_in_one_write_and_get_their_replies_in_order() -> None:
    async with connected() as (wire, peer):
        first, second = wire.send(("GET", "a")), wire.send(("ECHO", b"\x00\xff", 7, 1.5))

        sent = await peer.read()
        await peer.write(b"$1\r\n1\r\n:2\r\n")

        assert sent == (
            b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
            b"*4\r\n$4\r\nECHO\r\n$2\r\n\x00\xff\r\n$1\r\n7\r\n$3\r\n1.5\r\n"
        )
        assert [await first, await second] == [b"1", 2]


class Heard:
    """Hears the reply to what was posted, and when."""

    def __init__(self, said: list[object], then: object = None) -> None:
        self.said = said
        self._then: Any = then

    def done(self) -> bool:
        return False

    def set_result(self, result: object, /) -> None:
        self.said.append(result)
        if self._then is not None:
            self._then()

    def set_exception(self, exception: BaseException, /) -> None:
        self.said.append(type(exception))


async def test_what_is_posted_leaves_at_once_behind_what_was_sent_and_its_reply_is_told() -> None:
    async with connected() as (wire, peer):
        said: list[object] = []
        first = wire.send(("GET", "a"))
        wire.post(("GET", "b"), Heard(said))
        transport: Any = wire._transport

        assert not wire._outbox, "nothing waits for the turn's end"
        assert transport.get_write_buffer_size() == 0
        assert await peer.read() == b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"
        await peer.write(b"$1\r\n1\r\n$1\r\n2\r\n")
        assert await first == b"1"
        assert said == [b"2"]


async def test_a_connection_that_breaks_tells_what_was_posted() -> None:
    async with connected() as (wire, peer):
        said: list[object] = []
        wire.post(("GET", "a"), Heard(said))
        wire.post(("GET", "b"), Heard(said))

        peer.hang_up()
        await eventually(lambda: said == [StoreUnavailable] * 2)


async def test_who_hears_a_reply_may_close_the_connection_and_those_behind_it_fail() -> None:
    """A server that says it is no primary any more is left while its replies are read."""
    async with connected() as (wire, peer):
        said: list[object] = []
        wire.post(("GET", "a"), Heard(said, then=lambda: wire.close("left")))
        behind = wire.send(("GET", "b"))
        await peer.read()

        await peer.write(b"$1\r\n1\r\n$1\r\n2\r\n")

        with pytest.raises(StoreUnavailable, match="left"):
            await behind
        assert said == [b"1"]
        assert wire.closed == "left"


async def test_replies_cut_anywhere_are_put_together() -> None:
    async with connected() as (wire, peer):
        future = wire.send(("X",))
        await peer.read()
        for byte in b"*2\r\n$3\r\nabc\r\n*1\r\n:7\r\n":
            await peer.write(bytes([byte]))
            await asyncio.sleep(0)

        assert await future == [b"abc", [7]]


async def test_an_error_reply_is_a_value_for_the_caller_and_harms_no_other() -> None:
    async with connected() as (wire, peer):
        bad, good = wire.send(("A",)), wire.send(("B",))
        await peer.write(b"-NOSCRIPT none\r\n+OK\r\n")

        error = await bad

        assert isinstance(error, ServerError)
        assert str(error) == "NOSCRIPT none"
        assert await good == b"OK"


async def test_a_caller_that_went_away_does_not_shift_the_replies_of_others() -> None:
    async with connected() as (wire, peer):
        first, second = wire.send(("A",)), wire.send(("B",))
        first.cancel()
        await peer.write(b"+one\r\n+two\r\n")

        assert await second == b"two"


async def test_silence_is_noticed_and_fails_all_calls() -> None:
    async with connected(timeout=0.1) as (wire, _):
        calls = [wire.send(("A",)), wire.send(("B",))]

        for call in calls:
            with pytest.raises(StoreUnavailable, match=r"no answer within 0\.1 s"):
                await call

        assert wire.closed is not None
        with pytest.raises(StoreUnavailable):
            await wire.send(("C",))


async def test_a_reply_that_comes_slowly_is_no_silence() -> None:
    async with connected(timeout=0.15) as (wire, peer):
        call = wire.send(("A",))
        began = asyncio.get_running_loop().time()
        for byte in b"$8\r\nabcdefgh\r\n":
            await peer.write(bytes([byte]))
            await asyncio.wait([call], timeout=0.04)

        assert await call == b"abcdefgh"
        assert asyncio.get_running_loop().time() - began > 0.3


async def test_a_call_that_is_sent_slowly_is_no_silence_and_one_that_stands_still_is() -> None:
    async with connected(timeout=0.15) as (wire, peer):
        call = wire.send(("A", b"x" * 4_000_000))
        read = 0
        while read < 3_000_000:
            read += len(await peer.read())
            await asyncio.wait([call], timeout=0.01)
        assert not call.done()

        with pytest.raises(StoreUnavailable, match="no answer"):
            await call


async def test_a_quiet_connection_without_calls_is_left_alone() -> None:
    async with connected(timeout=0.05) as (wire, peer):
        call = wire.send(("A",))
        await peer.write(b"+OK\r\n")
        assert await call == b"OK"

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await asyncio.Event().wait()

        assert wire.closed is None


async def test_a_broken_connection_fails_its_calls_and_tells_its_listener() -> None:
    async with connected() as (wire, peer):
        told: list[bool] = []
        wire.on_lost = lambda: told.append(True)
        call = wire.send(("A",))
        await peer.read()

        peer.hang_up()

        with pytest.raises(StoreUnavailable, match="here"):
            await call
        assert told == [True]


@pytest.mark.parametrize(
    "noise", [b"HTTP/1.1 400 Bad\r\n", b"+OK\r\n+unasked\r\n", b"\x15\x03\x01"]
)
async def test_bytes_that_are_no_redis_close_the_connection(noise: bytes) -> None:
    async with connected() as (wire, peer):
        call = wire.send(("A",))
        await peer.write(noise)

        with contextlib.suppress(StoreUnavailable):
            await call
        async with asyncio.timeout(2):
            while wire.closed is None:
                await asyncio.sleep(0)

        assert "not a Redis server" in wire.closed


async def test_pushed_messages_go_to_the_listener_and_not_to_a_caller() -> None:
    async with connected() as (wire, peer):
        pushed: list[Any] = []
        wire.on_push = pushed.append
        call = wire.send(("SUBSCRIBE", "c"))
        message = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n"

        await peer.write(message + b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n" + message)

        assert await call == [b"subscribe", b"c", 1]
        assert pushed == [[b"message", b"c", b"hi"]] * 2


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[socket.socket, Address]]:
    path = f"/tmp/taskq-wire-{tmp_path.name[-20:]}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.setblocking(False)
        yield listener, Address(scheme="unix", path=path, username="u", password="secret", db=3)
    Path(path).unlink()


async def greet(
    listening: tuple[socket.socket, Address], reply: bytes, timeout: float = 2.0
) -> tuple[Any, bytes]:
    listener, address = listening
    loop = asyncio.get_running_loop()
    opening = asyncio.ensure_future(
        open_wire(address, connect_timeout=timeout, timeout=timeout, name="me")
    )
    connection, _ = await loop.sock_accept(listener)
    with connection:
        connection.setblocking(False)
        sent = await loop.sock_recv(connection, 1000)
        await loop.sock_sendall(connection, reply)
        (outcome,) = await asyncio.gather(opening, return_exceptions=True)
        if isinstance(outcome, Wire):
            outcome.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return outcome, sent


async def test_the_greeting_logs_in_names_itself_and_chooses_the_database(
    listening: tuple[socket.socket, Address],
) -> None:
    outcome, sent = await greet(listening, HELLO + b"+OK\r\n")

    assert isinstance(outcome, Wire)
    words = sent.split(b"\r\n")[2::2]
    assert b"HELLO 2 AUTH u secret SETNAME me".split() == words[:7]
    assert sent.endswith(b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (HELLO.replace(b"7.0.1", b"6.2.9") + b"+OK\r\n", ServerUnsupported),
        (HELLO.replace(b"7.0.1", b"a.b.c") + b"+OK\r\n", ServerUnsupported),
        (b"-ERR unknown command `HELLO`\r\n+OK\r\n", ServerUnsupported),
        (b"-WRONGPASS invalid username-password pair\r\n-NOAUTH no\r\n", StoreRefused),
        (HELLO + b"-ERR DB index is out of range\r\n", StoreRefused),
        (b"-LOADING data\r\n-LOADING data\r\n", StoreUnavailable),
    ],
)
async def test_a_greeting_that_fails_has_the_right_error_and_hides_the_password(
    listening: tuple[socket.socket, Address], reply: bytes, kind: type[Exception]
) -> None:
    outcome, _ = await greet(listening, reply)

    assert type(outcome) is kind
    assert "secret" not in str(outcome)


async def test_a_server_that_accepts_and_says_nothing_is_given_up(
    listening: tuple[socket.socket, Address],
) -> None:
    outcome, _ = await greet(listening, b"", timeout=0.2)

    assert type(outcome) is StoreUnavailable
