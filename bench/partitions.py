"""What partitions of a queue cost and bring on a Cluster of three nodes: jobs a second, and CPU of
each node and of the worker for one job. `python -m bench.partitions [JOBS]`.

A program of its own: it starts its servers (tests/topologies.py), and no other scenario needs a
Cluster. The queue is filled while it is paused; the clock runs from its release to the last job.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from taskq import TaskQ, commands
from taskq.address import Address
from taskq.inspect import Inspector
from taskq.keys import QueueKeys
from taskq.partition import partition_names
from taskq.partitioned import whole_of
from taskq.stores import open_store
from tests.topologies import Cluster, cluster

ROOT = Path(__file__).resolve().parent.parent
NAMESPACE = "bench"
#: Partitions compared; the queue's name is chosen so that three of them lie on three nodes.
COUNTS = (1, 3, 4, 1, 3, 4)

app = TaskQ(os.environ.get("BENCH_URL"), namespace=NAMESPACE)
QUEUE = os.environ.get("BENCH_QUEUE", "default")
app.queue(QUEUE, partitions=int(os.environ.get("BENCH_PARTITIONS", "1")))


@app.task
async def noop() -> None:
    """Nothing; how it ended is kept as by default."""


def spread(group: Cluster) -> str:
    """A name whose first three partitions lie on the three nodes."""
    for number in range(1000):
        name = f"q{number}"
        slots = [group.slot_of(QueueKeys(NAMESPACE, one).ready) for one in partition_names(name, 3)]
        if len({group.owner(slot) for slot in slots}) == 3:
            return name
    raise RuntimeError("no such name")


def cpu_of(group: Cluster) -> list[float]:
    """CPU seconds of each node."""
    found = [node.info("cpu") for node in group.primaries]
    return [float(one["used_cpu_user"] + one["used_cpu_sys"]) for one in found]


async def measure(group: Cluster, queue: str, partitions: int, jobs: int) -> None:
    """One drain; prints one line."""
    producer = TaskQ(group.url, namespace=NAMESPACE, max_jobs=10 * jobs)
    producer.queue(queue, partitions=partitions)
    store = open_store(Address.parse(group.url))
    keys = [QueueKeys(NAMESPACE, name) for name in partition_names(queue, partitions)]
    for one in keys:
        await store.run(commands.pause(one))
    call = producer.named("noop").options(queue=queue)
    before, began = cpu_of(group), time.perf_counter()
    for start in range(0, jobs, 5000):
        await producer.enqueue_many(call.s() for _ in range(min(5000, jobs - start)))
    filled = time.perf_counter() - began
    fill = [(now - then) / jobs * 1e6 for now, then in zip(cpu_of(group), before, strict=True)]
    environment = {
        **os.environ,
        "BENCH_URL": group.url,
        "BENCH_QUEUE": queue,
        "BENCH_PARTITIONS": str(partitions),
    }
    words = [sys.executable, "-m", "taskq", "worker", "bench.partitions:app", "-q", queue]
    worker = psutil.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    look = Inspector(store, NAMESPACE)
    try:
        while not any(one.alive for one in await look.workers()):
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        before, own, began = cpu_of(group), worker.cpu_times(), time.perf_counter()
        for one in keys:
            await store.run(commands.resume(one))
        while (whole := await whole_of(look, queue)).view.counters.get("completed", 0) < jobs:
            await asyncio.sleep(0.02)
        wall, now = time.perf_counter() - began, worker.cpu_times()
        drain = [(b - a) / jobs * 1e6 for a, b in zip(before, cpu_of(group), strict=True)]
        spent = (now.user + now.system - own.user - own.system) / jobs * 1e6
    finally:
        worker.terminate()
        worker.wait()
        await producer.close()
        await store.close()
    shares = "/".join(str(part.counters.get("completed", 0)) for part in whole.parts)
    print(
        f"{partitions} partitions: enqueue {jobs / filled:6.0f} jobs/s, nodes {_list(fill)} us/job;"
        f" drain {jobs / wall:6.0f} jobs/s, nodes {_list(drain)} us/job,"
        f" worker {spent:.1f} us/job; jobs {shares}",
        flush=True,
    )


def _list(figures: list[float]) -> str:
    return "+".join(f"{one:.1f}" for one in figures) + f"={sum(figures):.1f}"


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 30_000
    with cluster("redis") as group:
        queue = spread(group)
        for partitions in COUNTS:
            asyncio.run(measure(group, queue, partitions, jobs))
            for node in group.primaries:
                node.ask("FLUSHALL")


if __name__ == "__main__":
    main()
