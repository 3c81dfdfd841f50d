"""Which connection a blocking call takes, and what becomes of it; over connections that only play.

The same on real servers: tests/integration/test_blocking_connections.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from taskq.connections import KEEP, LOOK_AFTER, Connections


class Played:
    """A connection: `replies` come in turn, then its own number; errors are raised."""

    def __init__(self, pool: Pool) -> None:
        self.number = len(pool.made)
        self.pool = pool
        self.open = False
        self.sent: list[bytes] = []
        self.replies: list[Any] = []
        self.reads = 0
        self.looks = 0
        self.found: bool | Exception = False
        pool.made.append(self)

    def connect(self) -> None:
        self.open = True
        if self.pool.refuses is not None:
            raise self.pool.refuses

    def disconnect(self) -> None:
        self.open = False

    def send_packed_command(self, parts: list[bytes], check_health: bool) -> None:
        assert self.open
        self.sent += parts

    def read_response(self) -> Any:
        self.reads += 1
        reply = self.replies.pop(0) if self.replies else self.number
        if callable(reply):
            reply = reply()
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def can_read(self, timeout: float) -> bool:
        assert timeout == 0
        self.looks += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Pool:
    """What Connections need of redis-py's pool and client."""

    def __init__(self) -> None:
        self.made: list[Played] = []
        self.connection_kwargs: dict[str, Any] = {"pool": self}
        self.connection_class = Played
        self.refuses: BaseException | None = None
        self.connection_pool = self
        self.dropped: list[bool] = []

    def disconnect(self, inuse_connections: bool) -> None:
        self.dropped.append(inuse_connections)


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def own(pool: Pool) -> Connections:
    return Connections(pool)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that stands still; the fixture moves it on."""
    now = [1000.0]
    monkeypatch.setattr("taskq.connections.time.monotonic", lambda: now[0])

    def later(seconds: float) -> None:
        now[0] += seconds

    return later


def two_idle(pool: Pool, own: Connections) -> None:
    """Connections 0 and 1 are idle; 0 is on top."""
    own.ask("PING")
    pool.made[0].replies = [lambda: own.ask("PING")]  # while the first is in use
    assert own.ask("PING") == 1


def test_one_thread_uses_one_connection(pool: Pool, own: Connections) -> None:
    assert [own.ask("ECHO", "a"), own.ask("ECHO", b"b", 1)] == [0, 0]
    assert pool.made[0].sent == [
        b"*2\r\n$4\r\nECHO\r\n$1\r\na\r\n",
        b"*3\r\n$4\r\nECHO\r\n$1\r\nb\r\n$1\r\n1\r\n",
    ]
    assert pool.made[0].looks == 0


def test_the_connection_used_last_is_taken_first(pool: Pool, own: Connections) -> None:
    two_idle(pool, own)
    assert [own.ask("PING") for _ in range(3)] == [0, 0, 0]
    assert len(pool.made) == 2


def test_an_error_reply_keeps_the_connection(pool: Pool, own: Connections) -> None:
    own.ask("PING")
    pool.made[0].replies = [ResponseError("no")]
    with pytest.raises(ResponseError):
        own.ask("NONE")
    assert own.ask("PING") == 0


@pytest.mark.parametrize(
    "error",
    [RedisTimeoutError("late"), RedisConnectionError("gone"), KeyboardInterrupt(), MemoryError()],
    ids=lambda error: type(error).__name__,
)
def test_a_connection_that_failed_is_closed_and_never_used_again(
    pool: Pool, own: Connections, error: BaseException
) -> None:
    own.ask("PING")
    pool.made[0].replies = [error]
    with pytest.raises(type(error)):
        own.ask("PING")
    assert not pool.made[0].open
    assert own.ask("PING") == 1


@pytest.mark.parametrize("found", [True, RedisConnectionError("closed"), OSError()], ids=repr)
def test_after_a_while_a_closed_or_dirty_connection_is_replaced_before_the_call(
    pool: Pool, own: Connections, clock: Callable[[float], None], found: bool | Exception
) -> None:
    own.ask("PING")
    pool.made[0].found = found
    clock(LOOK_AFTER)
    assert own.ask("PING") == 0  # used just now: not looked at
    clock(LOOK_AFTER + 0.01)
    assert own.ask("PING") == 1
    assert not pool.made[0].open
    assert len(pool.made[0].sent) == 2


def test_a_good_connection_goes_on_after_the_look(
    pool: Pool, own: Connections, clock: Callable[[float], None]
) -> None:
    own.ask("PING")
    clock(LOOK_AFTER + 0.01)
    assert own.ask("PING") == 0
    assert own.ask("PING") == 0
    assert pool.made[0].looks == 1


def test_when_one_fails_the_others_that_were_idle_are_looked_at(
    pool: Pool, own: Connections, clock: Callable[[float], None]
) -> None:
    two_idle(pool, own)
    pool.made[0].replies = [RedisConnectionError("gone")]
    pool.made[1].found = RedisConnectionError("gone too")
    with pytest.raises(RedisConnectionError):
        own.ask("PING")
    assert own.ask("PING") == 2
    assert not pool.made[1].open
    clock(0.1)
    own.ask("PING")
    own.ask("PING")
    assert pool.made[2].looks == 1  # given back at the time of the failure; not later


def test_a_forked_process_leaves_the_connections_of_its_parent_alone(
    pool: Pool, own: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.ask("PING")
    child = os.getpid() + 1
    monkeypatch.setattr("taskq.connections.os.getpid", lambda: child)
    assert [own.ask("PING"), own.ask("PING")] == [1, 1]
    assert pool.made[0].open
    assert len(pool.made[0].sent) == 1


def test_dropping_closes_idle_ones_now_and_those_in_use_when_their_call_ends(
    pool: Pool, own: Connections
) -> None:
    two_idle(pool, own)

    def dropped() -> int:
        own.drop(in_use=False)
        assert pool.made[0].open
        assert not pool.made[1].open
        return 7

    pool.made[0].replies = [dropped]
    assert own.ask("PING") == 7
    assert not pool.made[0].open
    assert pool.dropped == [False]
    assert own.ask("PING") == 2


def test_no_more_than_a_hundred_stay_idle(pool: Pool, own: Connections) -> None:
    def deeper(left: int) -> int:
        if left:
            own.ask("PING")  # each call begins while the one before is under way
        return left

    left = [KEEP + 5]

    class Deep(Played):
        def read_response(self) -> int:
            left[0] -= 1
            return deeper(left[0])

    pool.connection_class = Deep
    own.ask("PING")
    assert len(pool.made) == KEEP + 5
    assert sum(one.open for one in pool.made) == KEEP


def test_of_two_commands_both_replies_are_read_when_the_first_is_an_error(
    pool: Pool, own: Connections
) -> None:
    own.ask("PING")
    pool.made[0].replies = [ResponseError("no"), 5, "next"]
    with pytest.raises(ResponseError):
        own.ask_both(("SET", "a", 1), ("WAIT", 1, 10))
    assert own.ask("PING") == "next"
    pool.made[0].replies = [1, ResponseError("no")]
    with pytest.raises(ResponseError):
        own.ask_both(("SET", "a", 1), ("WAIT", 1, 10))
    pool.made[0].replies = [1, 2]
    assert own.ask_both(("SET", "a", 1), ("WAIT", 1, 10)) == (1, 2)
    assert len(pool.made) == 1


def test_words_that_cannot_be_sent_cost_no_connection(pool: Pool, own: Connections) -> None:
    own.ask("PING")
    with pytest.raises(TypeError):
        own.ask("ECHO", object())  # type: ignore[arg-type]
    assert own.ask("PING") == 0


@pytest.mark.parametrize("error", [RedisConnectionError("no"), KeyboardInterrupt()], ids=repr)
def test_a_connection_that_did_not_come_about_is_closed(
    pool: Pool, own: Connections, error: BaseException
) -> None:
    pool.refuses = error
    with pytest.raises(type(error)):
        own.ask("PING")
    assert not pool.made[0].open
    pool.refuses = None
    assert own.ask("PING") == 1
