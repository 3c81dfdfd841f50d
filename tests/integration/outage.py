"""Trouble on the way to Redis, made to order: a proxy that loses replies, and a server that can
be restarted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from taskq.scripts import ScriptSet
from tests.helpers import wait_until
from tests.servers import _with_our_life


class Proxy:
    """Between clients and a server on a unix socket, on threads. `lose` drops the next
    reply to a script or command.
    """

    def __init__(self, target: str, folder: str) -> None:
        self.path = f"{folder}/proxy"
        self.url = f"unix://{self.path}"
        self.lost: list[str] = []
        self._target = target
        self._scripts = ScriptSet()
        self._wanted: dict[bytes, str] = {}
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(100)
        self._start(self._accept)

    def lose(self, name: str) -> None:
        """Cut the connection instead of giving the reply to the next call of this
        script or command.
        """
        known = name in self._scripts.names()
        self._wanted[(self._scripts.get(name).sha if known else name).encode()] = name

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                self._sockets |= {client, server}
                cut: list[str] = []
                self._start(self._forth, client, server, cut)
                self._start(self._back, client, server, cut)

    def _forth(self, client: socket.socket, server: socket.socket, cut: list[str]) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                for mark in [mark for mark in self._wanted if mark in data]:
                    cut.append(self._wanted.pop(mark))
                server.sendall(data)
        hang_up(client, server)

    def _back(self, client: socket.socket, server: socket.socket, cut: list[str]) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                if cut:
                    self.lost += cut
                    break
                client.sendall(data)
        hang_up(client, server)

    def close(self) -> None:
        """Cut everything."""
        hang_up(self._listener, *self._sockets)
        for thread in self._threads:
            thread.join(5)
        for one in (self._listener, *self._sockets):
            one.close()


def hang_up(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    """A proxy to the server with this socket path."""
    with tempfile.TemporaryDirectory(prefix="taskq-", dir="/tmp") as folder:
        proxy = Proxy(target, folder)
        try:
            yield proxy
        finally:
            proxy.close()


class Restartable:
    """A server of its own that writes every change to its disk, on a unix socket or a port."""

    def __init__(self, binary: str, folder: str, words: tuple[str, ...]) -> None:
        self.path = f"{folder}/s"
        self.url = f"unix://{self.path}"
        self._folder = Path(folder)
        self._command = [
            *(binary, "--unixsocket", self.path, "--port", "0", "--dir", folder, "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always", *words),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it, and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                _with_our_life(self._command), stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._answers, timeout=20)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError, redis.BusyLoadingError):
            client = self.client()
            try:
                return bool(client.ping())
            except redis.AuthenticationError:
                return True
            finally:
                client.close()
        return False

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=self.path, retry=Retry(NoBackoff(), 0))

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it the hard way."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def restartable(binary: str, *words: str) -> Iterator[Restartable]:
    """A running server of its own. `words` are added to its command line."""
    folder = tempfile.mkdtemp(prefix="taskq-", dir="/tmp")
    server = Restartable(binary, folder, words)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def impostor(*replies: bytes) -> Iterator[str]:
    """The URL of something that listens and sends these bytes to whoever says something,
    then goes on listening.
    """
    script = (
        "import socket,sys\n"
        "listener=socket.socket(fileno=int(sys.argv[1]))\n"
        "while True:\n"
        "  connection=listener.accept()[0]\n"
        "  try:\n"
        "    while connection.recv(65536): connection.sendall(bytes.fromhex(sys.argv[2]))\n"
        "  except OSError: pass\n"
        "  connection.close()\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        os.set_inheritable(number, True)
        process = subprocess.Popen(
            _with_our_life([sys.executable, "-c", script, str(number), b"".join(replies).hex()]),
            pass_fds=[number],
        )
        try:
            yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.kill()
            process.wait()
