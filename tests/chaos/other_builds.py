"""Copies of the package that differ a little, for workers of another version."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The key that holds the seconds by which a `skewed_build` finds the server's clock moved.
CLOCK = "chaos-clock"


def _copy(folder: Path) -> Path:
    build = folder / "build"
    for name in ("taskq", "lua", "tests"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, build / name, ignore=skip, symlinks=True)
    return build


def next_version(folder: Path) -> Path:
    """A copy whose every script has another SHA and does the same."""
    build = _copy(folder)
    for script in (build / "lua").glob("*.lua"):
        lines = script.read_text(encoding="utf-8").splitlines()
        code = next(place for place, line in enumerate(lines) if not line.startswith("--"))
        lines.insert(code, "local version = 2")
        script.write_text("\n".join(lines), encoding="utf-8")
    return build


def skewed_build(folder: Path) -> Path:
    """A copy whose scripts see the server's clock moved by what the key `CLOCK` says."""
    build = _copy(folder)
    include = build / "lua" / "include" / "now_us.lua"
    text = include.read_text(encoding="utf-8")
    real = "return time[1] * 1000000 + time[2]"
    assert real in text
    moved = f"{real} + (tonumber(redis.call('GET', '{CLOCK}') or 0) or 0) * 1000000"
    include.write_text(text.replace(real, moved), encoding="utf-8")
    return build
