"""A real server that a scenario may kill, freeze, restart, empty, starve of disk or put into a
network namespace. No scenarios here, and nothing about taskq.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.helpers import wait_until
from tests.servers import _with_our_life, redis_binary, valkey_binary

#: Scenarios take turns with the kinds, so that a run of all of them uses both.
_TURNS = itertools.count()


def binary_of(kind: str | None = None) -> tuple[str, str]:
    """(kind, path) of a server program: the asked-for one, else Valkey and Redis in turn.

    Skips when there is none, and fails in CI.
    """
    found = {"valkey": valkey_binary(), "redis": redis_binary()}
    kinds = [kind] if kind else ["valkey", "redis"]
    there = [(name, path) for name in kinds if (path := found[name]) is not None]
    if not there:
        lacking(f"no server program for {' or '.join(kinds)}", "apt-get install redis-server")
    return there[next(_TURNS) % len(there)]


def lacking(what: str, remedy: str) -> None:
    """The machine cannot do this scenario: skip on a laptop, fail in CI."""
    message = f"{what}: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def bound_to_us(command: Sequence[str]) -> list[str]:
    """`command`, such that it dies with this test run; its first word is looked up on PATH."""
    return _with_our_life([shutil.which(command[0]) or command[0], *command[1:]])


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class SmallDisk:
    """A tmpfs of a few megabytes that only its own mount namespace sees: it goes with its holder.

    `path` is where a server started by `enter` finds it; `seen` is the same folder from outside.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("nsenter") is None:
            lacking("a full disk needs root, unshare and nsenter", "run as root, with util-linux")
        self.path = folder / "disk"
        self.path.mkdir()
        mount = f"mount -t tmpfs -o size={megabytes}m none {self.path} && echo up && exec sleep 1d"
        self._holder = subprocess.Popen(
            bound_to_us(["unshare", "-m", "sh", "-c", mount]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"up\n":
            self.close()
            lacking("no tmpfs can be mounted here", "run with CAP_SYS_ADMIN")
        self.seen = Path(f"/proc/{self._holder.pid}/root{self.path}")

    @property
    def enter(self) -> list[str]:
        """First words of a command that shall see the disk."""
        return ["nsenter", "-t", str(self._holder.pid), "-m", "--"]

    def fill(self) -> None:
        """Write until nothing more fits."""
        with (self.seen / "filler").open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 10, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def clear(self) -> None:
        """There is room again."""
        (self.seen / "filler").unlink()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        if self._holder.stdout is not None:
            self._holder.stdout.close()


class ServerProcess:
    """One server with a folder of its own, on a unix socket and, with `port`, on TCP.

    The unix socket works from every network namespace, so a scenario can always look. `sync` is
    `appendfsync`, None for no persistence. `disk` and `netns`: where it lives. `words`
    and `environment` are added.
    """

    def __init__(
        self,
        folder: Path,
        binary: str,
        *,
        sync: str | None = "everysec",
        host: str = "127.0.0.1",
        port: int | None = None,
        netns: str | None = None,
        disk: SmallDisk | None = None,
        words: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.path = f"{folder}/s"
        self.host, self.port = host, port
        self.data = disk.path if disk else folder / "data"
        self.data.mkdir(exist_ok=True)
        prefix = [*(disk.enter if disk else ()), *(("ip", "netns", "exec", netns) if netns else ())]
        aof = ["--appendonly", "yes", "--appendfsync", sync] if sync else ["--appendonly", "no"]
        self._command = [
            *(*prefix, binary, "--port", str(port or 0), "--bind", "0.0.0.0" if netns else host),
            *("--protected-mode", "no", "--unixsocket", self.path, "--unixsocketperm", "700"),
            *("--dir", str(self.data), "--save", "", "--loglevel", "notice"),
            *("--daemonize", "no", *aof, *words),
        ]
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """By its unix socket, which no network trouble reaches."""
        return f"unix://{self.path}"

    @property
    def tcp_url(self) -> str:
        """By TCP, for those who shall meet trouble on the way."""
        return f"redis://{self.host}:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll() if self._process is not None else 0

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, *words: str, timeout: float = 20.0) -> None:
        """Run it, this time with these `words` too, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                bound_to_us([*self._command, *words]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        wait_until(self._answers, timeout, f"an answer of {self._command[0]}")

    def _answers(self) -> bool:
        if self.ended is not None:
            raise RuntimeError(f"the server ended with {self.ended}: {self.log[-800:]}")
        client = self.client(timeout=1.0)
        try:
            return bool(client.ping())
        except (redis.AuthenticationError, redis.exceptions.NoPermissionError):
            return True
        except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError):
            return False
        finally:
            client.close()

    def client(self, *, timeout: float = 10.0) -> redis.Redis:
        """A plain client on the unix socket that repeats nothing. The caller closes it."""
        return redis.Redis(
            unix_socket_path=self.path, socket_timeout=timeout, retry=Retry(NoBackoff(), 0)
        )

    def kill(self) -> None:
        """SIGKILL; its data stay."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._process is not None:
            self._process.wait()
        Path(self.path).unlink(missing_ok=True)

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM; its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout)

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def empty(self) -> None:
        """Forget all data. Only while it is down."""
        shutil.rmtree(self.data)
        self.data.mkdir()

    def wait(self, timeout: float = 20.0) -> int:
        """Its exit code, once it has ended by itself."""
        assert self._process is not None
        return self._process.wait(timeout)


@contextlib.contextmanager
def server_process(
    kind: str | None = None,
    *,
    sync: str | None = "everysec",
    tcp: bool = False,
    host: str = "127.0.0.1",
    port: int | None = None,
    netns: str | None = None,
    megabytes: int | None = None,
    words: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[ServerProcess, SmallDisk | None]]:
    """A running server and, with `megabytes`, the small disk its data are on."""
    binary = binary_of(kind)[1]
    folder = Path(tempfile.mkdtemp(prefix="taskq-", dir="/tmp" if Path("/tmp").is_dir() else None))
    disk = None
    server = None
    try:
        disk = SmallDisk(folder, megabytes) if megabytes else None
        server = ServerProcess(
            folder,
            binary,
            sync=sync,
            host=host,
            port=port or (free_port() if tcp else None),
            netns=netns,
            disk=disk,
            words=words,
            environment=environment,
        )
        server.start()
        yield server, disk
    finally:
        if server is not None:
            with contextlib.suppress(ProcessLookupError, AssertionError):
                server.thaw()
            server.kill()
        if disk is not None:
            disk.close()
        shutil.rmtree(folder, ignore_errors=True)
