"""The connections of blocking calls on real servers: forks, threads, kills, broken-off calls."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest
import redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from taskq import commands
from taskq.connections import Connections
from taskq.errors import StoreUnavailable
from taskq.store_sync import SyncStore, make_client
from tests.helpers import wait_until
from tests.servers import Server


@pytest.fixture
def own(server: Server) -> Iterator[Connections]:
    client = make_client(server.address, connect_timeout=10, socket_timeout=10, name="own")
    own = Connections(client)
    yield own
    own.close()


def count(raw: redis.Redis, name: str) -> int:
    """Connections of that name at the server."""
    return sum(client["name"] == name for client in raw.client_list())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_opens_its_own_and_its_parent_keeps_its_own(own: Connections) -> None:
    mine = own.ask("CLIENT", "ID")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, b"%d" % own.ask("CLIENT", "ID"))
            own.close()
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        theirs = pipe.read()
    os.waitpid(child, 0)

    assert theirs.isdigit()
    assert int(theirs) != mine
    assert own.ask("CLIENT", "ID") == mine


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_that_closes_at_once_does_not_end_its_parents(own: Connections) -> None:
    mine = own.ask("CLIENT", "ID")
    child = os.fork()
    if child == 0:
        try:
            own.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert own.ask("CLIENT", "ID") == mine


def test_threads_get_their_own_replies(own: Connections) -> None:
    wrong: list[object] = []

    def work(name: str) -> None:
        for n in range(200):
            word = f"{name}-{n}".encode()
            reply = own.ask("ECHO", word)
            if reply != word:
                wrong.append((word, reply))

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_connections_that_the_server_closed_are_replaced_before_the_call(
    own: Connections, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.connections.LOOK_AFTER", -1.0)  # as if it had been idle for long
    old = own.ask("CLIENT", "ID")
    raw.execute_command("CLIENT", "KILL", "ID", old)
    assert own.ask("CLIENT", "ID") > old


def test_a_call_on_a_connection_closed_just_now_fails_and_its_next_try_connects_anew(
    store: SyncStore, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.connections.LOOK_AFTER", 3600.0)
    number = commands.plain("CLIENT", "ID", parse=int)
    old = store.run(number)
    raw.execute_command("CLIENT", "KILL", "ID", old)
    with pytest.raises(StoreUnavailable):
        store.run(number)
    new = store.run(number)
    raw.execute_command("CLIENT", "KILL", "ID", new)
    assert store.run(number, tries=2) > new > old


def test_a_reply_that_came_too_late_is_not_taken_for_the_next(server: Server) -> None:
    client = make_client(server.address, connect_timeout=10, socket_timeout=0.2, name="own")
    own = Connections(client)
    with pytest.raises(RedisTimeoutError):
        own.ask("BLPOP", "test-no-such-list", 1)
    assert own.ask("ECHO", "mine") == b"mine"
    own.close()


class Interrupted(BaseException):
    """Raised by a signal's handler, as KeyboardInterrupt is."""


def test_a_call_that_a_signal_broke_off_takes_its_connection_with_it(
    own: Connections, raw: redis.Redis
) -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    old = own.ask("CLIENT", "ID")
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Interrupted):
            own.ask("BLPOP", "test-no-such-list", 8)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert own.ask("CLIENT", "ID") > old
    wait_until(lambda: str(old) not in {client["id"] for client in raw.client_list()})


def test_connections_are_not_used_up_by_those_that_were_lost(own: Connections) -> None:
    for _ in range(120):  # redis-py's pool makes 100
        own.ask("PING")
        own.drop()
    assert own.ask("PING") == b"PONG"


def test_closing_leaves_no_connection_and_a_later_call_opens_one(
    server: Server, raw: redis.Redis, namespace: str
) -> None:
    store = SyncStore(server.address, name=namespace)
    ping = commands.plain("PING", parse=str)
    for _ in range(3):
        store.run(ping)
    assert count(raw, namespace) == 1
    store.close()
    wait_until(lambda: count(raw, namespace) == 0)
    store.run(ping)
    assert count(raw, namespace) == 1
    store.close()


def test_replies_are_read_as_redis_py_reads_them(own: Connections, namespace: str) -> None:
    assert own.command("INFO", "memory")["maxmemory_policy"] == "noeviction"
    assert own.command("HGETALL", namespace) == {}
    assert own.ask("HGETALL", namespace) == []
