"""A million jobs wait: memory of each, and what a claim costs meanwhile, on each kind of server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from bench import systems
from bench.bench import Bench, Sample
from bench.server import Server, binaries, private_server

NAME = "waiting"
ONCE = True

_JOBS = 1_000_000
_PAYLOAD = 20
_CLAIMS = 1_000
_LARGER = 100
_SLOW_US = 10_000


def run(bench: Bench) -> Iterable[Sample]:
    """Fill and claim, always on fresh servers of our own: a used one's memory says nothing."""
    bench.server.clear()
    for kind, binary in binaries().items():
        if bench.only_kind not in (None, kind):
            continue
        with private_server(binary) as server:
            system = systems.system(bench.system.name, server.url, server.namespace)
            try:
                yield from _on(replace(bench, server=server, system=system))
            finally:
                system.close()


def _on(bench: Bench) -> Iterator[Sample]:
    server = bench.server
    client: Any = server.client
    case = server.version
    count = bench.amount(_JOBS)
    client.config_set("slowlog-log-slower-than", _SLOW_US)
    alone = bench.produce("claims", _CLAIMS)
    server.clear()
    client.slowlog_reset()
    empty = server.memory
    filled = bench.produce("waiting", count, _PAYLOAD)
    memory = (server.memory - empty) / count
    slow_enqueues = client.slowlog_len()
    yield Sample(case, "waiting jobs", count, "jobs")
    yield Sample(case, "bulk enqueue", filled["rate"], "jobs/s")
    yield Sample(case, f"memory, with a payload of {_PAYLOAD} bytes", memory, "bytes/job")
    yield from _parts(case, server, memory, count)

    client.slowlog_reset()
    claimed = bench.produce("claims", _CLAIMS)
    slow = [entry for entry in client.slowlog_get(128) if b"EVALSHA" in entry["command"].upper()]
    yield Sample(case, "server time per claim, queue else empty", alone["server"], "µs")
    yield Sample(case, "server time per claim, while they wait", claimed["server"], "µs")
    yield Sample(case, "claim round trip p50", claimed["p50"], "ms")
    yield Sample(case, "claim round trip p99", claimed["p99"], "ms")
    yield Sample(case, "claims over 10 ms (SLOWLOG)", len(slow), "calls")
    yield Sample(case, "enqueues over 10 ms (SLOWLOG)", slow_enqueues, "calls")

    larger = count // 10
    server.clear()
    empty = server.memory
    bench.produce("waiting", larger, _LARGER)
    figure = f"memory, with a payload of {_LARGER} bytes"
    yield Sample(case, figure, (server.memory - empty) / larger, "bytes/job")


def _parts(case: str, server: Server, memory: float, count: int) -> Iterator[Sample]:
    """What the memory of a waiting job consists of, from MEMORY USAGE."""
    client: Any = server.client
    index, job = None, None
    for key in client.scan_iter(f"{server.namespace}:*", count=1000):
        if b":job:" in key:
            job = job or key
        elif client.type(key) == b"zset" and client.zcard(key) == count:
            index = key
        if index and job:
            break
    if index and job:
        of_job = client.memory_usage(job, samples=0)
        of_index = client.memory_usage(index, samples=1000) / count
        yield Sample(case, "of it the job's hash and key", of_job, "bytes/job")
        yield Sample(case, "of it the entry by due time", of_index, "bytes/job")
        yield Sample(case, "of it tables and rounding", memory - of_job - of_index, "bytes/job")
