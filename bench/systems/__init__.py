"""What is measured: one module a system, all with the same few operations.

A system module has `System` (the operator's side, blocking, in the run's own process) and
`Producer` (the side that sends, asynchronous, in a process of its own).
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

NAMES = ("taskq",)


class System(Protocol):
    """Starts workers, holds them back and lets them go, counts what is done."""

    name: str

    def worker_command(self, concurrency: int) -> list[str]:
        """The words that start one worker process."""
        ...

    def worker_is_up(self) -> bool:
        """True when a worker waits for jobs."""
        ...

    def hold(self) -> None:
        """Let workers start nothing, so that a queue can be filled beside a warm worker."""
        ...

    def go(self) -> None:
        """Let them start."""
        ...

    def finished(self) -> int:
        """Jobs that have ended well since the server was cleared. One plain command."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


class Producer(Protocol):
    """Sends jobs, each way there is. `kind`: noop, gone (nothing is kept), plain (a thread)."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def one(self) -> None:
        """Enqueue one no-op."""
        ...

    def one_sync(self) -> None:
        """The same, blocking."""
        ...

    async def bulk(self, kind: str, count: int) -> None:
        """Enqueue many in the fastest way there is."""
        ...

    async def stamped(self) -> None:
        """Enqueue a job that notes how long ago this call began."""
        ...

    async def request(self) -> None:
        """Enqueue a job that returns its argument, and wait for the result."""
        ...

    async def waiting(self, count: int, payload: int) -> None:
        """Enqueue many jobs that are due in a day, with a payload of this many bytes."""
        ...

    async def claim_one_by_one(self, count: int) -> list[int]:
        """Claim `count` ready jobs singly; how long each claim took, ns."""
        ...


def system(name: str, url: str, namespace: str) -> System:
    """The operator's side of a system."""
    module = importlib.import_module(f"bench.systems.{name}")
    return cast(System, module.System(url, namespace))


def producer(name: str) -> Producer:
    """The sending side; finds its server in the environment."""
    module: Any = importlib.import_module(f"bench.systems.{name}")
    return cast(Producer, module.Producer())
