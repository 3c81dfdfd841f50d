"""Tells when source files change, for development. watchfiles does it, from the extra `reload`."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path

from taskq.errors import ConfigError


def can_reload() -> bool:
    """Is watchfiles installed?"""
    return importlib.util.find_spec("watchfiles") is not None


def check_reload() -> None:
    """ConfigError when files cannot be watched."""
    if not can_reload():
        raise ConfigError(
            "--reload needs watchfiles, which is not installed: pip install 'taskq-redis[reload]'"
        )


async def changes(folder: Path) -> AsyncIterator[list[str]]:
    """The .py files below `folder` that changed, each time some did; a burst of changes is one."""
    check_reload()
    import watchfiles

    async for found in watchfiles.awatch(folder, watch_filter=watchfiles.PythonFilter()):
        yield sorted({path for _, path in found})
