"""How fast the server can run taskq's scripts, whoever drives them: the limit of any worker.

Two connections take turns, each as a worker of its own with 100 slots: while the server works on
one's call, the other's reply is being read and its next call packed, so that the server never
waits. It shows in the share of a core that it used, which is reported.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from bench import raw
from bench.bench import Sample
from bench.server import Readings, Server
from taskq.keys import QueueKeys

_JOBS = 20_000
_BATCH = 200
_SCRIPTS = ("heartbeat", "claim", "ack", "enqueue")

NAME = "ceiling"
ABOUT = {
    "version": "this checkout",
    "concurrency": "2 connections, 100 jobs a call",
    "prefetch": "",
    "results": "10 minutes, as taskq keeps them",
    "notes": "taskq's scripts, driven with packed bytes instead of a worker: what the server"
    " could do at most",
}


def run(server: Server, scale: float = 1.0) -> Iterable[tuple[str, Sample]]:
    """Fill a queue and empty it again; (scenario, sample) as those of a system."""
    server.clear()
    count = int(_JOBS * scale) // _BATCH * _BATCH
    keys = QueueKeys(server.namespace, "default")
    wires = [raw.Wire(server.url) for _ in range(2)]
    wires[0].load(*_SCRIPTS)
    calls = [raw.enqueue(keys, raw.jobs(at, _BATCH)) for at in range(0, count, _BATCH)]

    before, began = server.read(), time.perf_counter()
    # Two calls on their way at a time: the server has the next one when it has done the last.
    for place, call in enumerate(calls):
        if place >= 2:
            wires[place % 2].receive()
        wires[place % 2].send(call)
    for wire in wires:
        wire.receive()
    wall = time.perf_counter() - began
    for sample in _samples("bulk", count, wall, server.read().since(before)):
        yield "enqueue", sample

    claimers = [raw.Claimer(wire, keys, f"raw-{place}") for place, wire in enumerate(wires)]
    for claimer in claimers:
        claimer.beat()
    before, began = server.read(), time.perf_counter()
    for claimer in claimers:
        claimer.wire.send(claimer.claim())
    first, busy = {0, 1}, [True, True]
    place = 0
    while any(busy):
        if busy[place]:
            claimer = claimers[place]
            call = claimer.next(claimer.wire.receive(), first=place in first)
            first.discard(place)
            busy[place] = bool(call)
            if call:
                claimer.wire.send(call)
        place = 1 - place
    wall = time.perf_counter() - began
    used = server.read().since(before)
    done = sum(claimer.done for claimer in claimers)
    for wire in wires:
        wire.close()
    for sample in _samples("no-op coroutines", done, wall, used):
        yield "drain", sample
    yield "drain", Sample("no-op coroutines", "server busy", used.cpu / wall * 100, "%")
    server.clear()


def _samples(case: str, count: int, wall: float, used: Readings) -> Iterable[Sample]:
    yield Sample(case, "rate", count / wall, "jobs/s")
    yield Sample(case, "server CPU", used.cpu / count * 1e6, "µs/job")
    yield Sample(case, "script calls", used.scripts / count, "per job")
    yield Sample(case, "commands, inside scripts too", used.all_calls / count, "per job")
    yield Sample(case, "to the server", used.received / count, "bytes/job")
    yield Sample(case, "from the server", used.sent / count, "bytes/job")
