"""What every system's tasks and producers share. Standard library only: it runs everywhere.

A task says that it ran in shared memory, which costs the same for every system (0.1 µs, no call
to the kernel) and is seen by the run at once, whatever the system itself counts or keeps.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import struct
import threading
import time
from typing import Any

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
#: Jobs at a time, as the run's table says for this system.
SLOTS = int(os.environ.get("BENCH_SLOTS", "100"))
#: Results are kept though the system does not do so by default: a request needs an answer.
RESULTS = os.environ.get("BENCH_RESULTS") == "1"

#: Counters of 8 bytes: the first counts those taken, each thread that runs tasks takes one.
COUNTERS = 8192
BURN_NS = 1_000_000
NAP_S = 0.01
_GATHERED = 100

_mine = threading.local()
_counters: memoryview | None = None
_stamps = -1


def ran() -> None:
    """Count one job; each task calls it first."""
    try:
        _counters[_mine.place] += 1  # type: ignore[index]
    except AttributeError:
        _take_place()
        ran()


def _take_place() -> None:
    global _counters
    path = os.environ["BENCH_BOARD"]
    with open(path, "r+b") as file:
        if _counters is None:
            size = 8 * COUNTERS
            _counters = memoryview(mmap.mmap(file.fileno(), size)).cast("Q")
        fcntl.flock(file, fcntl.LOCK_EX)
        # Where a process is forked for every job they may run out: none of those run at once.
        _mine.place = 1 + _counters[0] % (COUNTERS - 1)
        _counters[0] += 1
        fcntl.flock(file, fcntl.LOCK_UN)  # the map keeps the file open


def _after_fork() -> None:
    global _mine
    _mine = threading.local()


os.register_at_fork(after_in_child=_after_fork)


def note_start(called_ns: int) -> None:
    """Note how long ago the enqueue call began."""
    global _stamps
    delay = time.monotonic_ns() - called_ns
    if _stamps < 0:
        _stamps = os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY | os.O_APPEND)
    os.write(_stamps, struct.pack("q", delay))
    ran()


def spin() -> None:
    """A millisecond of CPU, of this thread's own."""
    end = time.thread_time_ns() + BURN_NS
    while time.thread_time_ns() < end:
        pass
    ran()


# The tasks themselves, for systems whose decorator or registry takes any function. The others write
# them in their own form, beside their producer.


async def noop() -> None:
    ran()


def plain() -> None:
    ran()


async def burn() -> None:
    spin()


async def nap() -> None:
    await asyncio.sleep(NAP_S)
    ran()


async def swallow(text: str) -> None:
    ran()


async def stamp(called_ns: int) -> None:
    note_start(called_ns)


async def echo(text: str) -> str:
    return text


COROUTINES = (noop, burn, nap, swallow, stamp, echo)
ALL = (*COROUTINES, plain)


class Producer:
    """The sending side of a system, with what it has of these; `ways` names them.

    async: `send`, awaited. sync: `send_sync`. many: `bulk`, better than calling one of these often.
    """

    ways: tuple[str, ...] = ()

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""

    async def send(self, task: str, *args: Any) -> Any:
        """Enqueue one job."""
        raise NotImplementedError

    def send_sync(self, task: str, *args: Any) -> Any:
        """Enqueue one job, blocking."""
        raise NotImplementedError

    async def many(self, task: str, count: int, *args: Any) -> None:
        """Enqueue many jobs in few calls."""
        raise NotImplementedError

    async def request(self, text: str) -> Any:
        """Enqueue `echo` and wait for its result."""
        raise NotImplementedError

    async def any_way(self, task: str, *args: Any) -> None:
        """Enqueue one job, asynchronously where that can be."""
        if "async" in self.ways:
            await self.send(task, *args)
        else:
            self.send_sync(task, *args)

    async def bulk(self, task: str, count: int, *args: Any) -> None:
        """Enqueue many in the fastest way there is."""
        if "many" in self.ways:
            await self.many(task, count, *args)
        elif "async" in self.ways:
            for start in range(0, count, _GATHERED):
                some = range(start, min(count, start + _GATHERED))
                await asyncio.gather(*(self.send(task, *args) for _ in some))
        else:
            for _ in range(count):
                self.send_sync(task, *args)
