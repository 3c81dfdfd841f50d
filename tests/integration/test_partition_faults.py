"""A partitioned queue when workers or nodes of a Cluster die: nothing is lost, the rest goes on."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq import TaskQ
from taskq.errors import StoreUnavailable
from taskq.inspect import Inspector
from taskq.keys import QueueKeys
from taskq.partition import partition_names, partition_of
from taskq.partitioned import LIVE, whole_of
from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.parted import PARTITIONS
from tests.integration.workers import HasUrl, quick, worker_process, working
from tests.nodes import Node
from tests.servers import Server
from tests.topologies import Cluster, cluster

MAIL = partition_names("mail", PARTITIONS)
FAST = {"socket_timeout": 1.0, "connect_timeout": 1.0}


@pytest.fixture
def group() -> Iterator[Cluster]:
    """Three primaries with a replica each, the first with two; a test may kill what it likes."""
    words = {"cluster_require_full_coverage": "no"}
    with cluster("redis", replicas=(0, 0, 1, 2), node_timeout_ms=1000, **words) as found:
        yield found


def make(url: str, namespace: str, **settings: object) -> TaskQ:
    app = TaskQ(url, **quick(namespace, **settings))
    app.queue("mail", partitions=PARTITIONS)
    return app


async def empty(app: TaskQ) -> bool:
    """Is there no job left that is not over?"""
    whole = await whole_of(Inspector(app.client.store, app.settings.namespace), "mail")
    return not any(whole.view.jobs[state] for state in LIVE)


async def kill_a_worker(server: HasUrl, namespace: str, notes: Path) -> None:
    """Two workers share six partitions; one is killed while it holds jobs of all of them."""
    app, words = make(server.url, namespace), {"queues": "mail", "concurrency": 30}
    other = {**words, "app": "tests.integration.parted:app"}
    async with app:
        with worker_process(server, namespace, **other) as victim:
            note = app.named("note").options(queue="mail")
            await app.enqueue_many(
                note.options(id=f"{n}").s(str(notes), f"{n}", 2.0 if n < 30 else 0.0)
                for n in range(120)
            )
            await asyncio.to_thread(victim.lines, notes, 30)
            with worker_process(server, namespace, **other) as heir:
                victim.send(signal.SIGKILL)
                await eventually(lambda: empty(app), 30)
                heir.send(signal.SIGTERM)
                assert await asyncio.to_thread(heir.wait) == 0

    lines = Counter(notes.read_text().split("\n"))
    assert {partition_of("mail", f"{n}", PARTITIONS) for n in range(30)} == set(MAIL)
    assert all(lines[f"end {n}"] for n in range(120)), "no job is lost"
    assert all(lines[f"end {n}"] == 1 for n in range(30)), "none ends twice"
    assert sum(lines[f"start {n}"] for n in range(120)) > 120, "the dead one held some"


async def test_a_killed_worker_loses_no_job_of_any_partition(
    server: Server, namespace: str, tmp_path: Path
) -> None:
    await kill_a_worker(server, namespace, tmp_path / "notes")


async def test_a_killed_worker_loses_no_job_of_any_partition_on_a_cluster(
    group: Cluster, namespace: str, tmp_path: Path
) -> None:
    await kill_a_worker(group, namespace, tmp_path / "notes")


def on(group: Cluster, node: Node, namespace: str) -> set[str]:
    """The partitions that live on a node."""
    slots = {name: group.slot_of(QueueKeys(namespace, name).ready) for name in MAIL}
    return {name for name, slot in slots.items() if group.owner(slot) is node}


class Stream:
    """Jobs of their own ids, each sent again until it is taken; none waits for another."""

    def __init__(self, producer: TaskQ, worker: TaskQ) -> None:
        self.ran: Counter[str] = Counter()
        self.taken: set[str] = set()
        self._producer = producer
        self._sent = 0
        self._going: set[asyncio.Task[None]] = set()

        @worker.task(queue="mail")
        async def count(word: str) -> None:
            self.ran[word] += 1

    async def _send(self, word: str) -> None:
        task = self._producer.named("count").options(id=word, queue="mail")
        while word not in self.taken:
            try:
                await task.enqueue(word)
                self.taken.add(word)
            except StoreUnavailable:
                await take(0.05)

    async def more(self, count: int, among: set[str]) -> None:
        """Go on sending until so many new jobs of these partitions have run."""
        first = self._sent

        def seen() -> int:
            new = {f"{n}" for n in range(first, self._sent)} & set(self.ran)
            return sum(partition_of("mail", word, PARTITIONS) in among for word in new)

        end = time.monotonic() + 30
        while seen() < count:
            assert time.monotonic() < end, f"{seen()} of {count} jobs ran"
            task = asyncio.create_task(self._send(f"{self._sent}"))
            self._going.add(task)
            task.add_done_callback(self._going.discard)
            self._sent += 1
            await take(0.005)

    async def all_done(self) -> None:
        """Wait until all that was sent was taken and has run."""
        await eventually(lambda: not self._going, 30, "everything is taken")
        await eventually(lambda: self.taken <= set(self.ran), 30, "everything taken has run")


async def test_only_the_partitions_of_a_killed_primary_pause(
    group: Cluster, namespace: str
) -> None:
    words = {**FAST, "replica_timeout": 0.4}
    app = make(group.url, namespace, **words)
    producer = make(group.url, namespace, durability="replicated", **words)
    old = group.primaries[0]
    gone = on(group, old, namespace)
    rest = set(MAIL) - gone
    assert gone
    assert rest
    stream = Stream(producer, app)

    async with app, producer, working(app, queues=["mail"]):
        await stream.more(100, set(MAIL))
        began = time.monotonic()
        old.kill()
        await stream.more(100, rest)
        meanwhile = time.monotonic() - began
        slot = group.slot_of(QueueKeys(namespace, min(gone)).ready)
        await asyncio.to_thread(group.wait_for_failover, old, slot)
        failed_over = time.monotonic() - began
        await stream.more(20, gone)
        back = time.monotonic() - began
        await stream.all_done()
        await eventually(lambda: empty(app), 20)

    print(
        f"\n{len(gone)} of {PARTITIONS} partitions lost their node; 100 jobs of the others after"
        f" {meanwhile:.2f} s, failed over after {failed_over:.2f} s, 20 jobs of theirs after"
        f" {back:.2f} s; {stream.ran.total() - len(stream.ran)} of {len(stream.ran)} ran twice"
    )
    assert set(stream.ran) == stream.taken
