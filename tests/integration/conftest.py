"""Fixtures for tests on real servers: apps of one test, workers in this process, a folder for
an embedded server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis

from taskq import TaskQ
from taskq.embedded import stop
from tests.integration.embedded_tools import servers_in
from tests.integration.workers import quick
from tests.servers import Server

MakeApp = Callable[..., TaskQ]


@pytest_asyncio.fixture
async def make_app(server: Server, namespace: str) -> AsyncIterator[MakeApp]:
    """Make apps on this test's server and namespace; settings as keyword arguments. They
    are closed at the end.
    """
    apps: list[TaskQ] = []

    def make(**settings: object) -> TaskQ:
        app = TaskQ(server.url, **quick(namespace, **settings))
        apps.append(app)
        return app

    yield make
    for app in apps:
        await app.close()


@pytest.fixture
def app(make_app: MakeApp) -> TaskQ:
    """An app without tasks yet, on this test's server and namespace."""
    return make_app()


@pytest.fixture
def raw(server: Server) -> Iterator[redis.Redis]:
    """A plain client, for looking behind the curtain."""
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A folder for one server; whatever the test did, no server stays behind."""
    path = tmp_path / "state"
    yield path
    try:
        if path.exists():
            path.chmod(0o700)
            stop(path)
    finally:
        left = servers_in(path)
        for process in left:
            process.kill()
    assert left == []
