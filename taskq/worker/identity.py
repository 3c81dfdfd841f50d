"""Who a worker is: an id unique to one life of one process, and what it tells the roster about
itself.
"""

from __future__ import annotations

import os
import platform
import re
import socket
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import psutil


def worker_id(name: str | None) -> str:
    """`name` (or host and pid) with six random characters: two workers never share an id."""
    base = name or f"{socket.gethostname().split('.')[0]}-{os.getpid()}"
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', base)[:50]}-{os.urandom(3).hex()}"


class Load(NamedTuple):
    """What a worker does now."""

    running: int
    health: str
    slots: int
    """Slots it uses now: fewer than its concurrency while it is short of something."""
    taken: int
    """Slots its runs occupy: what they cost."""
    done: int
    failed: int
    loop_lag: float
    blocks: int
    """How often a coroutine blocked the event loop."""


class Identity:
    """The fields of `taskq:worker:<id>`."""

    def __init__(
        self,
        worker: str,
        *,
        queues: list[str],
        concurrency: int,
        processes: int,
        tasks: list[str],
        provides: Sequence[str],
    ) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()
        self._fixed: dict[str, str | int] = {
            "worker": worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "python": platform.python_version(),
            "platform": sys.platform,
            "queues": " ".join(queues),
            "tasks": " ".join(tasks),
            "provides": " ".join(provides),
            "concurrency": concurrency,
            "process_slots": processes,
            "started_ms": round(time.time() * 1000),
        }

    def rss(self) -> int:
        """Memory this process holds, bytes."""
        held: int = self._process.memory_info().rss
        return held

    def fields(self, load: Load) -> dict[str, str | int]:
        """Everything, with this moment's load; cpu in percent of one core, rss in bytes,
        loop_lag_ms.
        """
        with self._process.oneshot():
            cpu = round(self._process.cpu_percent())
            rss = self.rss()
        return {
            **self._fixed,
            "running": load.running,
            "slots": load.slots,
            "taken": min(load.taken, load.slots),
            "done": load.done,
            "failed": load.failed,
            "cpu": cpu,
            "rss": rss,
            "loop_lag_ms": round(load.loop_lag * 1000),
            "blocks": load.blocks,
            "health": load.health,
        }
