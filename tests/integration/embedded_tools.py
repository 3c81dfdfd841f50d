"""What the tests of the embedded server share: programs that attach to it, and a look at its
processes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil

from taskq.embedded import Running
from taskq.embedded.resp import ask

STARTER = """
import json, sys
from taskq.embedded import ensure
print("up", flush=True)
sys.stdin.readline()
running = ensure(sys.argv[1])
print(json.dumps([running.pid, running.started, running.socket]), flush=True)
sys.stdin.readline()
"""


def servers_in(directory: Path) -> list[psutil.Process]:
    """Every living server process at work in or below the directory; zombies do not count."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            name = process.name()
            if ("valkey" in name or "redis" in name) and Path(process.cwd()).is_relative_to(
                directory
            ):
                found.append(process)
    return found


def kill(pid: int) -> None:
    """End it the hard way and wait until it is gone or a zombie."""
    process = psutil.Process(pid)
    process.kill()
    with contextlib.suppress(ChildProcessError):
        # A child of ours: wait, but leave the zombie for the code under test.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return
    with contextlib.suppress(psutil.Error):
        while process.status() != psutil.STATUS_ZOMBIE:
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(0.01)


def start_program(directory: Path, *, own_session: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=own_session,
    )


def send_line(program: subprocess.Popen[str]) -> None:
    assert program.stdin is not None
    program.stdin.write("\n")
    program.stdin.flush()


def read_line(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    return program.stdout.readline()


def set_and_get(running: Running, value: str | None = None) -> str:
    if value is not None:
        assert ask(running.socket, "SET", "kept", value, timeout=5) == "+OK"
    return ask(running.socket, "GET", "kept", timeout=5)


def fake_server(path: Path, body: str, version: str = "9.9.9") -> str:
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "Valkey server v={version} x" && exit 0\n{body}\n'
    )
    path.chmod(0o755)
    return str(path)
