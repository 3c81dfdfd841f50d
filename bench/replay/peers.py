"""Environments of the peers: made on demand under build/, one each, kept for the next run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What is installed, pinned: figures belong to a version.
PACKAGES = {"bullmq": ("bullmq==3.4.4",), "huey": ("huey==3.5.4", "redis>=5")}
_MINUTES = 3


class NotHere(Exception):
    """A peer that cannot be installed; the message says why."""


def python_of(name: str, folder: Path = ROOT / "build/bench-peers") -> Path:
    """The interpreter of a peer's environment; NotHere when it cannot be made."""
    place = folder / f"{name}-{PACKAGES[name][0].partition('==')[2]}"
    python, ready = place / "bin/python", place / "ready"
    if not ready.exists():
        try:
            _run([sys.executable, "-m", "venv", "--clear", str(place)])
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _run([*pip, *PACKAGES[name]])
        except (OSError, subprocess.SubprocessError) as error:
            raise NotHere(f"{name} is left out, it cannot be installed: {_reason(error)}") from None
        ready.touch()
    return python


def _run(words: list[str]) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=60 * _MINUTES)


def _reason(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    lines = [line for line in str(said).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [type(error).__name__])[0]
