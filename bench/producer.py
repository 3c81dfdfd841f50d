"""A process that sends: `python -m bench.producer MODE ARGUMENTS`. Answers one line of JSON.

Modes: fill KIND COUNT | enqueue COUNT | latency RATE SECONDS | spaced COUNT MS | request COUNT
| waiting COUNT BYTES | claims COUNT | singly COUNT PATH. The environment names system, server and
namespace (BENCH_SYSTEM, BENCH_URL, BENCH_NAMESPACE). BENCH_LOOP=uvloop changes the loop.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis
import redis.asyncio

from bench.bench import percentile
from bench.server import Server
from bench.systems import Producer, producer

Answer = dict[str, Any]

_URL = os.environ["BENCH_URL"]
_GATHERED = 100
_WARM_UP = 200
_SLICES = 10


class Meter:
    """Rate, producer CPU and server CPU of kinds of work, each taken in one or more slices."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._sums: dict[str, list[float]] = {}

    async def take(self, case: str, count: int, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`, which is `count` operations, and note what each cost."""
        before = self._server.read()
        cpu, began = time.process_time(), time.perf_counter()
        await work()
        wall, own = time.perf_counter() - began, time.process_time() - cpu
        used = self._server.read().since(before)
        sums = self._sums.setdefault(case, [0.0, 0.0, 0.0, 0.0])
        for place, amount in enumerate((count, wall, own, used.cpu)):
            sums[place] += amount

    @property
    def found(self) -> Answer:
        """The figures of each case."""
        return {
            case: {
                "rate": count / wall,
                "producer CPU": own / count * 1e6,
                "server CPU": server / count * 1e6,
            }
            for case, (count, wall, own, server) in self._sums.items()
        }


async def fill(sender: Producer, kind: str, count: str) -> Answer:
    """Enqueue in bulk, unmeasured."""
    await sender.bulk(kind, int(count))
    return {}


async def singly(sender: Producer, count: str, path: str) -> Answer:
    """Enqueue one by one; with a path, under cProfile."""
    profiler = cProfile.Profile()
    await sender.one()
    if path:
        profiler.enable()
    for _ in range(int(count)):
        await sender.one()
    if path:
        profiler.disable()
        profiler.dump_stats(path)
    return {}


async def enqueue(sender: Producer, count: str) -> Answer:
    """Every way to enqueue, and beside each kind of call the bare client's SET of a small value."""
    n = int(count) // _SLICES
    server = Server(_URL, private=False)
    meter = Meter(server)
    key, value = f"{os.environ['BENCH_NAMESPACE']}:floor", b"x" * 20
    bare = redis.asyncio.Redis.from_url(_URL)
    bare_sync: Any = redis.Redis.from_url(_URL)

    async def one_by_one() -> None:
        for _ in range(n):
            await sender.one()

    async def floor() -> None:
        for _ in range(n):
            await bare.set(key, value)

    async def one_by_one_sync() -> None:
        for _ in range(n):
            sender.one_sync()

    async def floor_sync() -> None:
        for _ in range(n):
            bare_sync.set(key, value)

    async def gathered() -> None:
        for _ in range(4 * n // _GATHERED):
            await asyncio.gather(*(sender.one() for _ in range(_GATHERED)))

    for _ in range(_WARM_UP):
        await sender.one()
        sender.one_sync()
        await bare.set(key, value)
        bare_sync.set(key, value)
    # Taking turns: how fast an idle core wakes changes in the course of a run, and must not decide.
    for _ in range(_SLICES):
        await meter.take("floor: await set()", n, floor)
        await meter.take("one by one, async", n, one_by_one)
    for _ in range(_SLICES):
        await meter.take("floor: set()", n, floor_sync)
        await meter.take("one by one, sync", n, one_by_one_sync)
    n *= _SLICES
    await meter.take("100 coroutines at a time", 4 * n, gathered)
    await meter.take("bulk", 10 * n, lambda: sender.bulk("noop", 10 * n))
    await bare.aclose()
    return meter.found


async def latency(sender: Producer, rate: str, seconds: str) -> Answer:
    """Open loop: `rate` calls a second are begun whether or not earlier ones have returned."""
    per_second, count = float(rate), int(float(rate) * float(seconds))
    late: list[float] = []
    sending: set[asyncio.Task[None]] = set()
    for _ in range(50):
        await sender.stamped()
    began, sent = time.perf_counter(), 0
    cpu = time.process_time()
    while sent < count:
        passed = time.perf_counter() - began
        due = min(count, int(passed * per_second) + 1)
        late.append(passed - sent / per_second)
        while sent < due:
            task = asyncio.ensure_future(sender.stamped())
            sending.add(task)
            task.add_done_callback(sending.discard)
            sent += 1
        await asyncio.sleep(0.0005)
    wall = time.perf_counter() - began
    if sending:
        await asyncio.wait(sending)
    late.sort()
    return {
        "rate": count / wall,
        "late p99": percentile(late, 0.99) * 1e3,
        "sent": count + 50,
        "producer CPU": (time.process_time() - cpu) / count * 1e6,
    }


async def spaced(sender: Producer, count: str, ms: str) -> Answer:
    """Single jobs, far enough apart that the worker is idle before each."""
    for _ in range(int(count)):
        await asyncio.sleep(float(ms) / 1000)
        await sender.stamped()
    return {"sent": int(count)}


async def request(sender: Producer, count: str) -> Answer:
    """Enqueue, wait for the result, again."""
    for _ in range(50):
        await sender.request()
    times = []
    for _ in range(int(count)):
        began = time.perf_counter_ns()
        await sender.request()
        times.append((time.perf_counter_ns() - began) / 1e6)
    times.sort()
    return {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99)}


async def waiting(sender: Producer, count: str, payload: str) -> Answer:
    """Enqueue jobs that are due in a day."""
    began = time.perf_counter()
    await sender.waiting(int(count), int(payload))
    return {"rate": int(count) / (time.perf_counter() - began)}


async def claims(sender: Producer, count: str) -> Answer:
    """Claim jobs singly while others wait; `server` is the server's time for one, µs."""
    await sender.bulk("noop", int(count))
    server = Server(_URL, private=False)
    before = server.read()
    times = [ns / 1e6 for ns in await sender.claim_one_by_one(int(count))]
    scripts = server.read().since(before).commands["evalsha"]
    times.sort()
    return {
        "p50": percentile(times, 0.5),
        "p99": percentile(times, 0.99),
        "server": scripts.usec / scripts.calls,
    }


_MODES: dict[str, Callable[..., Awaitable[Answer]]] = {
    mode.__name__: mode
    for mode in (fill, singly, enqueue, latency, spaced, request, waiting, claims)
}


async def main(mode: str, *words: str) -> None:
    """Connect, do one thing, answer."""
    sender = producer(os.environ["BENCH_SYSTEM"])
    await sender.open()
    try:
        answer = await _MODES[mode](sender, *words)
    finally:
        await sender.close()
    print(json.dumps(answer))


if __name__ == "__main__":
    if os.environ.get("BENCH_LOOP") == "uvloop":
        import uvloop

        uvloop.run(main(*sys.argv[1:]))
    else:
        asyncio.run(main(*sys.argv[1:]))
