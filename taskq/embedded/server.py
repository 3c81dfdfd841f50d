"""Starting, finding and stopping the embedded server.

The server outlives whoever started it. `lock` orders starts and stops; an answer to PING is the
proof of life; the recorded pid only tells "dead" from "slow", so that no second server is ever
started on the files of one that lives.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from taskq.embedded.binary import Binary, find_binary
from taskq.embedded.place import Place, Record, existing, prepare
from taskq.embedded.process import alive, created, end, wait
from taskq.embedded.resp import ask
from taskq.errors import ConfigError, StoreUnavailable

_READY_SECONDS = 10.0
_ASK_SECONDS = 1.0
_SHUTDOWN_SECONDS = 5.0
_LOG_PREFIX = re.compile(r"^\d+:[A-Z] .*? [.\-*#] ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A running embedded server; `started`: by this very call."""

    url: str
    socket: str
    pid: int
    started: bool
    version: str
    directory: Path


def ensure(directory: str | os.PathLike[str] | None = None, binary: str | None = None) -> Running:
    """Attach to the server of `directory`, or start it; many callers at once get the same one.

    It keeps its data in `directory` (AOF, fsync every second) and stays up when its users leave,
    until `stop`. Raises ConfigError (directory, program), StoreUnavailable (it does not come up).
    """
    place = prepare(directory)
    record = place.read()
    if record is not None and _ping(record.socket) == "+PONG":
        return _running(place, record)
    with place.lock():
        record = _recorded(place)
        if record is None:
            return _start(place, find_binary(binary))
        place.write(record)
        if not wait(
            lambda: _ping(record.socket) == "+PONG" or not alive(place, record), _READY_SECONDS
        ):
            raise StoreUnavailable(
                f"embedded server: pid {record.pid} in {str(place.directory)!r} lives but does not "
                f"answer; wait if it loads much data, or kill {record.pid}"
            )
        if _ping(record.socket) != "+PONG":
            return _start(place, find_binary(binary))
        return _running(place, record)


def status(directory: str | os.PathLike[str] | None = None) -> Running | None:
    """The running server of `directory`, or None. Changes nothing. Raises ConfigError."""
    place = existing(directory)
    record = _recorded(place) if place else None
    return _running(place, record) if place and record else None


def stop(directory: str | os.PathLike[str] | None = None) -> bool:
    """Shut the server down and wait until it is gone; False if none ran. Its data stays.

    Raises ConfigError, or StoreUnavailable if another process holds the lock.
    """
    place = existing(directory)
    if place is None or _recorded(place) is None:
        return False
    with place.lock():
        record = _recorded(place)
        if record is None:
            return False
        with contextlib.suppress(OSError):
            ask(record.socket, "SHUTDOWN", timeout=_SHUTDOWN_SECONDS)
        end(place, record)
        place.forget()
    return True


def _running(place: Place, record: Record, *, started: bool = False) -> Running:
    return Running(
        url=f"unix://{quote(record.socket)}",
        socket=record.socket,
        pid=record.pid,
        started=started,
        version=record.version,
        directory=place.directory,
    )


def _recorded(place: Place) -> Record | None:
    """The record of a server that lives, rebuilt from the server itself if the file is lost."""
    record = place.read()
    if record is not None:
        return record if _ping(record.socket) == "+PONG" or alive(place, record) else None
    try:
        socket = place.socket(make=False)
        info = ask(socket, "INFO", "server", timeout=_ASK_SECONDS)
    except (OSError, ConfigError):
        return None
    facts = dict(line.partition(":")[::2] for line in info.splitlines() if ":" in line)
    pid = int(facts.get("process_id", "0"))
    return Record(
        pid=pid,
        created=created(pid) or 0.0,
        socket=socket,
        binary=facts.get("executable", ""),
        version=facts.get("valkey_version") or facts.get("redis_version", ""),
    )


def _start(place: Place, binary: Binary) -> Running:
    place.forget()
    socket = place.socket()
    offset = place.log.stat().st_size if place.log.exists() else 0
    process = _spawn(place, binary, socket)
    try:
        record = Record(
            pid=process.pid,
            created=created(process.pid) or 0.0,
            socket=socket,
            binary=binary.path,
            version=binary.version,
        )
        # Before it is ready: if we are killed while waiting, the next one finds it by its pid.
        place.write(record)
        _await_ready(process, place, socket, offset)
    except BaseException:
        if _ping(socket).startswith("-LOADING"):
            _let_go(process)
            raise
        process.kill()
        process.wait()
        place.forget()
        raise
    _let_go(process)
    return _running(place, record, started=True)


def _spawn(place: Place, binary: Binary, socket: str) -> subprocess.Popen[bytes]:
    options = {
        "port": "0",
        "unixsocket": socket,
        "unixsocketperm": "700",
        "dir": str(place.directory),
        "logfile": str(place.log),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    try:
        # What it says before it opens its own log (a bad option, a missing library) goes there too.
        with place.log.open("ab") as log:
            return subprocess.Popen(
                [binary.path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=place.directory,
                umask=0o077,
                # Its own session: Ctrl+C and a closed terminal end the workers, not the server.
                start_new_session=True,
            )
    except OSError as error:
        raise ConfigError(
            f"embedded server: cannot run {binary.path!r}: {error.strerror or error}; "
            f"set TASKQ_REDIS_SERVER to another program"
        ) from error


def _await_ready(process: subprocess.Popen[bytes], place: Place, socket: str, offset: int) -> None:
    wait(lambda: process.poll() is not None or _ping(socket) == "+PONG", _READY_SECONDS)
    if process.poll() is None and _ping(socket) == "+PONG":
        return
    if process.poll() is not None:
        what = f"ended at once with code {process.returncode}"
    elif _ping(socket).startswith("-LOADING"):
        what = "is still loading its data; try again in a moment"
    else:
        what = f"was not ready within {_READY_SECONDS:.0f} s"
    raise StoreUnavailable(
        f"embedded server: {what}; its log {str(place.log)!r} says: {_last_line(place.log, offset)}"
    )


def _last_line(log: Path, offset: int) -> str:
    """The last warning since `offset` bytes, else the last line."""
    try:
        data = log.read_bytes()[offset:]
    except OSError:
        data = b""
    lines = [line for line in data.decode(errors="replace").splitlines() if line.strip()]
    warnings = [line for line in lines if re.match(r"^\d+:[A-Z] .*? # ", line)]
    line = (warnings or lines or ["nothing"])[-1]
    return _LOG_PREFIX.sub("", line).strip()[:300]


def _let_go(process: subprocess.Popen[bytes]) -> None:
    # It is meant to outlive us: without this Popen warns of a process still running.
    process.returncode = 0


def _ping(socket: str) -> str:
    try:
        return ask(socket, "PING", timeout=_ASK_SECONDS)
    except (OSError, ValueError):  # ValueError: a NUL in a damaged record
        return ""
