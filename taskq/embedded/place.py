"""The private directory of an embedded server: its path, lock, socket and `server.json`.

Files only; nothing here starts, asks or ends a process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from taskq.errors import ConfigError, StoreUnavailable

if sys.platform != "win32":  # there is no embedded server on Windows, but importing works
    import fcntl

#: Bytes a socket path may have; `sun_path` is shorter on macOS.
MAX_SOCKET_PATH = 103 if sys.platform == "darwin" else 107
_LOCK_SECONDS = 30.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What `server.json` says. `created`: the process's start, seconds since the epoch."""

    pid: int
    created: float
    socket: str
    binary: str
    version: str


@dataclass(frozen=True, slots=True)
class Place:
    """One state directory: owned by this user, mode 0700."""

    directory: Path

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def _record(self) -> Path:
        return self.directory / "server.json"

    def socket(self, *, make: bool = True) -> str:
        """Where the socket goes: beside the data, or in a private short directory elsewhere.

        Raises ConfigError if no such directory can be used, or, without `make`, is there yet.
        """
        beside = str(self.directory / "s.sock")
        if len(os.fsencode(beside)) <= MAX_SOCKET_PATH:
            return beside
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
            short = Path(base or "/", f"taskq-{os.geteuid()}-{name}")
            if not base or len(os.fsencode(short / "s.sock")) > MAX_SOCKET_PATH:
                continue
            with contextlib.suppress(OSError):
                if make:
                    short.mkdir(mode=0o700, exist_ok=True)
                # Not stat(): in a shared folder somebody else may have put a link here first.
                _check_private(short, short.lstat())
                return str(short / "s.sock")
        raise ConfigError(
            f"embedded server: {str(self.directory)!r} is too long for a socket and no temporary "
            f"folder can take it; set TASKQ_EMBEDDED_DIR to a shorter path"
        )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time may start or stop this server. Raises StoreUnavailable."""
        try:
            handle = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(self.directory, error) from error
        try:
            _wait_for_lock(handle, self.directory)
            yield
        finally:
            # Not by close alone: a child forked meanwhile has the same handle and keeps it open.
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)

    def read(self) -> Record | None:
        """The record, or None if there is none that can be read."""
        try:
            data = json.loads(self._record.read_bytes())
            return Record(
                pid=int(data["pid"]),
                created=float(data["created"]),
                socket=str(data["socket"]),
                binary=str(data["binary"]),
                version=str(data["version"]),
            )
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None

    def write(self, record: Record) -> None:
        """Replace the record in one step, so that a reader sees the old or the new.

        Call it with the lock held. Raises ConfigError.
        """
        draft = self.directory / "server.json.new"
        try:
            draft.write_text(json.dumps(asdict(record)), encoding="utf-8")
            draft.replace(self._record)
        except OSError as error:
            raise _unusable(self.directory, error) from error

    def forget(self) -> None:
        """Remove the record and the socket of a server that is gone."""
        record = self.read()
        sockets = {record.socket} if record else set()
        with contextlib.suppress(ConfigError):
            sockets.add(self.socket(make=False))
        for path in (str(self._record), *sockets):
            with contextlib.suppress(OSError):
                os.unlink(path)
        for short in {Path(path).parent for path in sockets} - {self.directory}:
            with contextlib.suppress(OSError):
                short.rmdir()


def locate(directory: str | os.PathLike[str] | None) -> Path:
    """`directory`, or TASKQ_EMBEDDED_DIR, or this user's state directory; made absolute."""
    chosen = directory or os.environ.get("TASKQ_EMBEDDED_DIR")
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        if chosen:
            return Path(chosen).expanduser().absolute()
        # The XDG rules say that a relative path there is to be ignored.
        base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    except RuntimeError:
        raise ConfigError(
            "embedded server: this user has no home directory; set TASKQ_EMBEDDED_DIR"
        ) from None
    return base / "taskq"


def existing(directory: str | os.PathLike[str] | None) -> Place | None:
    """The place if its directory is there, unchanged. Raises ConfigError if it is another's."""
    path = locate(directory)
    try:
        _check_owner(path, path.stat())
    except OSError:
        return None
    return Place(path)


def prepare(directory: str | os.PathLike[str] | None) -> Place:
    """The place, made if needed and closed to others. Raises ConfigError."""
    path = locate(directory)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.stat()
        _check_owner(path, info)
        if info.st_mode & 0o077 and (not any(path.iterdir()) or (path / "lock").exists()):
            path.chmod(0o700)
        _check_private(path, path.stat())
    except OSError as error:
        raise _unusable(path, error) from error
    return Place(path)


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"embedded server: cannot use {str(path)!r}: {error.strerror or error}; "
        f"set TASKQ_EMBEDDED_DIR to a directory of your own"
    )


def _check_owner(path: Path, info: os.stat_result) -> None:
    if info.st_uid != os.geteuid():
        raise ConfigError(
            f"embedded server: {str(path)!r} belongs to another user; "
            f"set TASKQ_EMBEDDED_DIR to a directory of your own"
        )


def _check_private(path: Path, info: os.stat_result) -> None:
    _check_owner(path, info)
    if not stat.S_ISDIR(info.st_mode) or info.st_mode & 0o077:
        raise ConfigError(
            f"embedded server: {str(path)!r} is not a directory closed to other users; "
            f"give it one of its own with TASKQ_EMBEDDED_DIR, or chmod 700"
        )


def _wait_for_lock(handle: int, directory: Path) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"embedded server: another process has been starting or stopping the one in "
                    f"{str(directory)!r} for {_LOCK_SECONDS:.0f} s; end that process, or try again"
                ) from None
        except OSError as error:
            raise _unusable(directory, error) from error
        time.sleep(_POLL_SECONDS)
