"""What a figure was measured on: processor, kernel, interpreter, libraries."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "no"


def describe() -> dict[str, str]:
    """The machine and the software, without its name or owner."""
    load = os.getloadavg()[0]
    return {
        "cpu": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "redis-py": _version("redis"),
        "hiredis": _version("hiredis"),
        "uvloop": _version("uvloop"),
        "load before": f"{load:.2f}",
    }


def label(machine: dict[str, str]) -> str:
    """A short name for a file: processor, cores and Python, no host name."""
    words = f"{machine['cpu']} {machine['cores']}c py{machine['python'].split()[-1]}"
    return re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-")
