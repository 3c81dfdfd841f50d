"""Environments of the systems: one each, made on demand in bench/.peers, kept for the next run."""

from __future__ import annotations

import glob
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from bench.child import ROOT
from bench.peers.table import TASKQ, System

FOLDER = ROOT / "bench/.peers"
_WANTED = ("python3.13", "python3.12")
_MINUTES = 4
_FAST = "uvloop==0.23.0"


class NotHere(Exception):
    """A system or interpreter that is not to be had; the message says why."""


def interpreter() -> str:
    """The newest wanted Python here that can make environments, else the one that runs this."""
    for name in _WANTED:
        try:
            return named(name)
        except NotHere:
            continue
    return sys.executable


def named(name: str) -> str:
    """The interpreter called `3.13`, `python3.13` or by a path; NotHere when none works."""
    name = f"python{name}" if name[:1].isdigit() else name
    # A version manager's shim is on PATH though nothing is behind it: look at what it manages.
    pyenv = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    for found in (name, *sorted(glob.glob(f"{pyenv}/versions/*/bin/{name}"), reverse=True)):
        if _works(found):
            return found
    raise NotHere(f"no {name} here that can make environments; install it with its venv module")


def _works(python: str) -> bool:
    try:
        done = subprocess.run(
            [python, "-c", "import ensurepip, venv"], capture_output=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def version(python: str) -> str:
    """Such as `3.13.0`."""
    words = [python, "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def python_of(system: System, python: str) -> str:
    """The interpreter of a system's environment; NotHere when it cannot be made."""
    if system.name == TASKQ:
        return _made(system.name, python, ["-e", str(ROOT), _FAST])
    return _made(system.name, python, list(system.packages))


def of_checkout(python: str) -> str:
    """The interpreter of an environment with this checkout and what its own benchmark needs, as
    `make setup` has it; NotHere when it cannot be made.
    """
    return _made("bench", python, ["-e", f"{ROOT}[embedded,fast]"])


def _made(name: str, python: str, wanted: list[str]) -> str:
    """The interpreter of the environment of this name, made if it is not there or out of date."""
    release = version(python)
    mark = "\n".join([release, *wanted])
    if "-e" in wanted:
        mark += hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    place = FOLDER / f"{name}-py{release}"
    own, ready = place / "bin/python", place / "ready"
    if not ready.exists() or ready.read_text() != mark:
        pip = [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        try:
            _run([python, "-m", "venv", "--clear", str(place)])
            _run([*pip, *wanted])
        except (OSError, subprocess.SubprocessError) as error:
            raise NotHere(f"cannot be installed: {_reason(error)}") from None
        ready.write_text(mark)
    return str(own)


def freeze(python: str) -> list[str]:
    """What is installed in an environment, as `name==version`."""
    words = [python, "-m", "pip", "list", "--format", "freeze", "--disable-pip-version-check"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    return [line for line in done.stdout.splitlines() if not line.startswith("pip==")]


def _run(words: list[str]) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=60 * _MINUTES)


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"pip was not done after {_MINUTES} minutes"
    lines = [line for line in str(getattr(error, "stderr", "") or error).splitlines() if line]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [type(error).__name__])[0][:200]
