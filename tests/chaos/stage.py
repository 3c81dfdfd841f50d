"""What scenarios on Redis and the network stand on: servers and networks that outlive the bed, and
what all of them ask when the fault is over.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, TypeVar

from taskq.keys import QueueKeys
from tests.chaos.bed import Bed
from tests.chaos.checker import Verdict
from tests.chaos.network import SERVER, Network, network
from tests.chaos.processes import BedWorker
from tests.chaos.server import ServerProcess, SmallDisk, server_process
from tests.helpers import last

T = TypeVar("T")
#: Heartbeats that a busy machine keeps up with, where the point is that nobody is reaped.
STEADY: dict[str, object] = {"heartbeat": 0.2, "heartbeat_ttl": 0.9, "grace": 0.5}
#: An outage longer than STEADY's life of a heartbeat and its grace time together, s.
LONG = 1.8


class Stage:
    """Servers and networks of one scenario. Everything is gone when it ends."""

    def __init__(self, grounds: contextlib.ExitStack, make_bed: Callable[..., Bed]) -> None:
        self._grounds = grounds
        self._make_bed = make_bed

    def server(self, kind: str | None = None, **words: Any) -> ServerProcess:
        """A running server; see server_process."""
        return self.server_on_disk(kind, **words)[0]

    def server_on_disk(
        self, kind: str | None = None, **words: Any
    ) -> tuple[ServerProcess, SmallDisk | None]:
        return self._grounds.enter_context(server_process(kind, **words))

    def network(self) -> Network:
        return self._grounds.enter_context(network())

    def served_network(
        self, kind: str | None = None, **words: Any
    ) -> tuple[Network, ServerProcess]:
        """A network with a server in its middle, at SERVER:6379."""
        net = self.network()
        return net, self.server(kind, host=SERVER, port=6379, netns=net.server, **words)

    def enter(self, topology: contextlib.AbstractContextManager[T]) -> T:
        """Start servers that belong together; see tests/topologies.py."""
        return self._grounds.enter_context(topology)

    def bed(self, server: Any, **settings: object) -> Bed:
        return self._make_bed(server, **settings)


def now() -> float:
    """The ledger's clock."""
    return time.monotonic()


def first_start_after(bed: Bed, moment: float) -> float | None:
    """Seconds from `moment` to the next start of a run; None while there is none."""
    times = [e["at"] - moment for e in bed.starts() if e["at"] >= moment]
    return min(times) if times else None


def given_to(bed: Bed, worker: BedWorker, task: str, *args: object, count: int) -> list[str]:
    """Jobs of this task that run on this worker, `count` of them; what others took is theirs."""
    jobs: list[str] = []
    for _ in range(100):
        job = bed.one(task, *args)
        if bed.wait_start(job)["worker"].startswith(f"{worker.name}-"):
            jobs.append(job)
        if len(jobs) == count:
            return jobs
    raise AssertionError(f"{worker.name} took only {len(jobs)} of 100 jobs")


def crashes(bed: Bed) -> int:
    """Crashes charged to jobs, all together."""
    return sum(record.crashes for record in bed.records().values())


def counter(bed: Bed, name: str) -> int:
    """A counter of the default queue's stats."""
    return int(bed.client.hget(QueueKeys(bed.namespace, "default").stats, name) or 0)  # type: ignore[arg-type]


def in_words(verdict: Verdict) -> str:
    """A verdict for a cell of docs/reliability.md."""
    words = [f"{len(verdict.ok):,} jobs ended, {len(verdict.lost)} lost"]
    if verdict.recovered:
        words.append(f"{len(verdict.recovered)} ran though their enqueue raised")
    if verdict.absent:
        words.append(f"{len(verdict.absent)} enqueues raised and left nothing")
    return ", ".join(words)


def rolled_back(bed: Bed) -> Verdict:
    """The verdict after the server forgot its latest writes: jobs may be lost, and a job whose ack
    was forgotten while its claim was not may be run again by its holder, under the same lease.
    """
    verdict = bed.verdict(allow=["lost", "tokens"])
    records = bed.records()
    assert not [job for job in verdict.lost if job in records], "lost, though the server knows it"
    for job in verdict.tokens:
        assert len({run.worker for run in verdict.runs[job]}) == 1, verdict.why[job]
    return verdict


def ended_well(bed: Bed, timeout: float = 30.0) -> None:
    """All workers are alive, all jobs ended, nobody was charged."""
    bed.settle(timeout)
    assert all(worker.alive for worker in bed.workers), "a worker has exited"
    assert crashes(bed) == 0, "healthy workers were reaped"
    charged = {j: r for j, r in bed.records().items() if r.attempt}
    assert not charged, f"attempts were charged: {charged}"


def consuming_again(bed: Bed, healed: float, within: float) -> float:
    """Send a job now and again until one starts after `healed`; how long that took, s."""
    end = healed + 30
    while (took := first_start_after(bed, healed)) is None:
        assert now() < end, "nothing runs any more after the fault"
        bed.one("quick")
        last(0.1)
    assert took < within, f"consuming again only after {took:.1f} s"
    return took
