"""`engine`: a queue on real Valkey, on real Redis and on a fake server; `real`: not on the fake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import fakeredis
import pytest

from taskq.keys import QueueKeys
from tests.helpers import delete_queue
from tests.lua.engine import Engine


@contextlib.contextmanager
def _engine(request: pytest.FixtureRequest, kind: str, keys: QueueKeys) -> Iterator[Engine]:
    if kind == "fake":
        client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    else:
        client = request.getfixturevalue("valkey" if kind == "valkey" else "redis_server").client()
    yield Engine(client=client, keys=keys, kind=kind)
    delete_queue(client, f"{keys.namespace}:")
    client.close()


@pytest.fixture(params=["valkey", "redis", "fake"])
def engine(request: pytest.FixtureRequest, keys: QueueKeys) -> Iterator[Engine]:
    """A queue with a clock that the test turns. All of its namespace goes when the test ends."""
    with _engine(request, request.param, keys) as engine:
        yield engine


@pytest.fixture(params=["valkey", "redis"])
def real(request: pytest.FixtureRequest, keys: QueueKeys) -> Iterator[Engine]:
    """As `engine`, for what the fake server cannot do."""
    with _engine(request, request.param, keys) as engine:
        yield engine
