"""A process that sends: `python -m bench.peers.producer SYSTEM`, in the system's own environment.

Reads one JSON object a line, does it, and answers with one: {"do": MODE, ...}. It connects before
the first and keeps its connections. Standard library and the system's own client only.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bench.peers.kit import Producer

Answer = dict[str, Any]

_CHUNK = 2_000
_GATHERED = 100


async def ways(sender: Producer) -> Answer:
    """What this system's client can do."""
    return {"ways": list(sender.ways)}


async def fill(sender: Producer, task: str, count: int, seconds: float, payload: int) -> Answer:
    """Enqueue up to `count` jobs in the fastest way there is, for at most about `seconds`."""
    words = ("x" * payload,) if payload else ()
    chunk = max(10, min(_CHUNK, 20_000_000 // (payload + 1)))
    if "many" not in sender.ways:
        chunk = min(chunk, _GATHERED)
    sent, began, cpu = 0, time.perf_counter(), time.process_time()
    while sent < count and time.perf_counter() - began < seconds:
        some = min(chunk, count - sent)
        await sender.bulk(task, some, *words)
        sent += some
    return {
        "count": sent,
        "wall": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
    }


async def enqueue(sender: Producer, way: str, seconds: float) -> Answer:
    """Enqueue no-ops for about `seconds`: one by one, awaited or not, or 100 at a time."""

    async def one_by_one() -> int:
        for _ in range(20):
            await sender.send("noop")
        return 20

    async def blocking() -> int:
        for _ in range(20):
            sender.send_sync("noop")
        return 20

    async def gathered() -> int:
        await asyncio.gather(*(sender.send("noop") for _ in range(_GATHERED)))
        return _GATHERED

    some = {"async": one_by_one, "sync": blocking, "gathered": gathered}[way]
    await some()
    sent, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        sent += await some()
    return {
        "count": sent,
        "wall": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
    }


async def spaced(sender: Producer, count: int, ms: float) -> Answer:
    """Single jobs, far enough apart that the worker is idle before each."""
    for _ in range(count):
        await asyncio.sleep(ms / 1000)
        await sender.any_way("stamp", time.monotonic_ns())
    return {"sent": count}


async def request(sender: Producer, count: int, seconds: float) -> Answer:
    """Enqueue, wait for the result, again; how long each took, ms."""
    for _ in range(3):
        if await sender.request("hello") != "hello":
            raise AssertionError("another result than was asked for")
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < count and time.perf_counter() < end:
        began = time.perf_counter_ns()
        await sender.request("hello")
        times.append((time.perf_counter_ns() - began) / 1e6)
    return {"times": times}


async def open_loop(sender: Producer, rate: float, seconds: float) -> Answer:
    """`rate` calls a second are begun whether or not earlier ones have returned.

    A client that blocks cannot do so: its calls begin when the one before has returned. It gives
    up after twice the time.
    """
    count = int(rate * seconds)
    late: list[float] = []
    sending: set[asyncio.Future[Any]] = set()
    asynchronous = "async" in sender.ways
    began, sent, cpu = time.perf_counter(), 0, time.process_time()
    while sent < count:
        passed = time.perf_counter() - began
        if passed > 2 * seconds:
            break
        due = min(count, int(passed * rate) + 1)
        late.append(passed - sent / rate)
        while sent < due:
            if asynchronous:
                call = asyncio.ensure_future(sender.send("stamp", time.monotonic_ns()))
                sending.add(call)
                call.add_done_callback(sending.discard)
            else:
                sender.send_sync("stamp", time.monotonic_ns())
                if time.perf_counter() - began > 2 * seconds:
                    due = sent + 1
            sent += 1
        await asyncio.sleep(0.0005)
    wall = time.perf_counter() - began
    failed = 0
    if sending:
        done, pending = await asyncio.wait(sending, timeout=2 * seconds)
        failed = len(pending) + sum(1 for call in done if call.exception())
        for call in pending:
            call.cancel()
    all_returned = time.perf_counter() - began
    late.sort()
    return {
        "sent": sent,
        "failed": failed,
        "wall": wall,
        "returned": all_returned,
        "late p99": late[int(len(late) * 0.99)] * 1e3,
        "cpu": time.process_time() - cpu,
    }


_MODES: dict[str, Callable[..., Awaitable[Answer]]] = {
    mode.__name__: mode for mode in (ways, fill, enqueue, spaced, request, open_loop)
}


async def main(name: str) -> None:
    """Connect, then do what is asked until the input ends."""
    module: Any = importlib.import_module(f"bench.peers.apps.{name}")
    sender: Producer = module.Producer()
    await sender.open()
    # What a library prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        words = json.loads(line)
        try:
            answer = await _MODES[words.pop("do")](sender, **words)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(answer), file=answers, flush=True)
    await sender.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
