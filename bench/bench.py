"""Samples, and what a scenario needs to take them. Knows no scenario and no system."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bench.child import WorkerProcess, environment, produce
from bench.server import Server
from bench.systems import System

_SLOTS = 100
#: A worker that has announced itself looks once at its queue, then sleeps; s.
_SETTLE = 0.3


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one round: what was done, what was measured, in which unit."""

    case: str
    figure: str
    value: float
    unit: str


class Scenario(Protocol):
    """A module of bench/scenarios."""

    NAME: str
    ONCE: bool
    """Run in the first round only: slow, or no matter of chance."""

    def run(self, bench: Bench) -> Iterable[Sample]:
        """Take the samples of one round."""
        ...


@dataclass(slots=True, kw_only=True)
class Bench:
    """One run: the server, the system, and how much of everything."""

    server: Server
    system: System
    quick: bool = False
    only_kind: str | None = None
    """Scenarios that compare servers take this kind only; None: every kind there is."""
    listings: dict[str, list[Any]] = field(default_factory=dict)
    """Tables that are no figures (profiles, command costs), by name."""

    def amount(self, usual: int) -> int:
        """`usual`, a tenth of it with --quick."""
        return max(1, usual // 10) if self.quick else usual

    def environment(self, **words: str) -> dict[str, str]:
        """The environment of this run's child processes."""
        return environment(
            BENCH_SYSTEM=self.system.name,
            BENCH_URL=self.server.url,
            BENCH_NAMESPACE=self.server.namespace,
            **words,
        )

    def produce(self, *words: object) -> dict[str, Any]:
        """Run a producer process; see bench.producer."""
        return produce(self.environment(), *words)

    @contextlib.contextmanager
    def worker(self, **words: str) -> Iterator[WorkerProcess]:
        """One worker with 100 slots, ready when the block begins; `words` go to its environment."""
        command, env = self.system.worker_command(_SLOTS), self.environment(**words)
        with WorkerProcess(command, env, self.system.worker_is_up) as process:
            time.sleep(_SETTLE)
            yield process

    @contextlib.contextmanager
    def stamping_worker(self) -> Iterator[tuple[WorkerProcess, Path]]:
        """A worker whose `stamp` tasks note their delays, ns, in a file it writes at its end."""
        with tempfile.TemporaryDirectory(prefix="taskq-bench-") as folder:
            path = Path(folder) / "delays"
            with self.worker(BENCH_DELAYS=str(path)) as process:
                yield process, path


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of an ordered sequence lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
