"""What grows in bench/growth.py: one function each, which gives samples by size."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from bench import raw
from bench.bench import Sample
from bench.child import WorkerProcess, environment
from bench.server import Readings, Server
from taskq import commands
from taskq.keys import QueueKeys, SharedKeys

_BATCH = 200
_TIMES = 1_000
_SCRIPTS = ("enqueue", "heartbeat", "claim", "ack", "configure", "pause", "resume")


@dataclass(frozen=True, slots=True)
class Scale:
    """`most` waiting jobs; everything else is divided by `share`."""

    most: int
    share: int = 1

    def of(self, usual: int) -> int:
        """That many, or so."""
        return max(_BATCH, usual // self.share)


def _wire(server: Server) -> raw.Wire:
    wire = raw.Wire(server.url)
    wire.load(*_SCRIPTS)
    return wire


def _fill(
    wire: raw.Wire, keys: QueueKeys, start: int, count: int, groups: int = 0, batch: int = _BATCH
) -> None:
    """Enqueue jobs numbered from `start`, some calls on their way at a time."""
    on_their_way = 0
    for at in range(start, start + count, batch):
        some = raw.jobs(at, min(batch, start + count - at))
        if groups:
            some = [job._replace(extras=("group", f"g{int(job.id) % groups}")) for job in some]
        wire.send(raw.enqueue(keys, some))
        on_their_way += 1
        if on_their_way == 16:
            wire.receive()
            on_their_way -= 1
    for _ in range(on_their_way):
        wire.receive()


def _cost(used: Readings, count: int, what: str, case: str) -> Iterator[Sample]:
    """Server time by `count`: inside the scripts, and all of it."""
    inside = used.commands["evalsha"].usec if "evalsha" in used.commands else 0.0
    yield Sample(case, f"{what}: time in the script", inside / count, "µs")
    yield Sample(case, f"{what}: server CPU", used.cpu / count * 1e6, "µs")


def _singly(server: Server, wire: raw.Wire, keys: QueueKeys, case: str) -> Iterator[Sample]:
    """One job a call: enqueue, claim, ack with claim."""
    claimer = raw.Claimer(wire, keys, "one-by-one", batch=1)
    claimer.beat()
    calls = [raw.enqueue(keys, raw.jobs(10**15 + at, 1)) for at in range(_TIMES)]
    before = server.read()
    for call in calls:
        wire.send(call)
        wire.receive()
    yield from _cost(server.read().since(before), _TIMES, "enqueue of one", case)
    claim = claimer.claim()
    before, replies = server.read(), []
    for _ in range(_TIMES):
        wire.send(claim)
        replies.append(wire.receive())
    yield from _cost(server.read().since(before), _TIMES, "claim of one", case)
    calls = [claimer.next(reply, first=True, limit=0) for reply in replies]
    before = server.read()
    for call in calls:
        wire.send(call)
        wire.receive()
    yield from _cost(server.read().since(before), _TIMES, "ack of one", case)


def _batches(server: Server, wire: raw.Wire, keys: QueueKeys, case: str) -> Iterator[Sample]:
    """A hundred jobs a call, as busy workers and bulk producers do."""
    count = 50 * 100
    before = server.read()
    _fill(wire, keys, 2 * 10**15, count, batch=100)
    yield from _cost(server.read().since(before), count, "enqueue, of 100", case)
    claimer = raw.Claimer(wire, keys, "by-hundreds", batch=100)
    claimer.beat()
    wire.send(claimer.claim())
    call = claimer.next(wire.receive(), first=True)
    claimer.done, before = 0, server.read()
    while call and claimer.done < count - 100:
        wire.send(call)
        call = claimer.next(wire.receive())
    yield from _cost(server.read().since(before), claimer.done, "ack and claim, of 100", case)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def waiting(server: Server, scale: Scale) -> Iterable[Sample]:
    """Ready jobs in the queue, from 10^3 on."""
    wire, keys = _wire(server), QueueKeys(server.namespace, "default")
    for _ in _singly(server, wire, QueueKeys(server.namespace, "first"), ""):
        pass  # unmeasured: a server that has never run a script runs the first ones slower
    there, size = 0, 1_000
    while size <= scale.most:
        before = server.memory
        _fill(wire, keys, there, size - there)
        grown = (server.memory - before) / (size - there)
        there = size
        case = f"{size:,} jobs wait"
        yield from _singly(server, wire, keys, case)
        yield from _batches(server, wire, keys, case)
        yield Sample(case, "memory of a waiting job", grown, "bytes")
        size *= 10
    wire.close()


def workers(server: Server, scale: Scale) -> Iterable[Sample]:
    """Workers of one queue, each a connection that claims 10 jobs a call, in turn."""
    count = scale.of(40_000)
    for size in (1, 2, 4, 8, 16, 32, 64):
        server.clear()
        keys = QueueKeys(server.namespace, "default")
        _fill(_wire(server), keys, 0, count)
        wires = [raw.Wire(server.url) for _ in range(size)]
        claimers = [
            raw.Claimer(wire, keys, f"worker-{at}", batch=10) for at, wire in enumerate(wires)
        ]
        for claimer in claimers:
            claimer.beat()
        before, began = server.read(), time.perf_counter()
        for claimer in claimers:
            claimer.wire.send(claimer.claim())
        fresh, busy = set(claimers), list(claimers)
        while busy:
            for claimer in list(busy):
                call = claimer.next(claimer.wire.receive(), first=claimer in fresh)
                fresh.discard(claimer)
                if call:
                    claimer.wire.send(call)
                else:
                    busy.remove(claimer)
        wall = time.perf_counter() - began
        used = server.read().since(before)
        case = _counted(size, "worker")
        yield Sample(case, "rate", count / wall, "jobs/s")
        yield from _cost(used, count, "ack and claim, of 10", case)
        for wire in wires:
            wire.close()


def groups(server: Server, scale: Scale) -> Iterable[Sample]:
    """Groups of a fair queue, 100,000 jobs spread over them."""
    count = scale.of(100_000)
    for size in (0, 1, 10, 100, 1_000, 10_000, 100_000):
        server.clear()
        wire, keys = _wire(server), QueueKeys(server.namespace, "default")
        if size:
            raw.run(wire, commands.configure(keys, {"policy": "fair"}))
        before = server.read()
        _fill(wire, keys, 0, count, groups=size, batch=100)
        case = _counted(size, "group") if size else "no groups, strict order"
        yield from _cost(server.read().since(before), count, "enqueue, of 100", case)
        claimer = raw.Claimer(wire, keys, "worker", batch=100)
        claimer.beat()
        before = server.read()
        wire.send(claimer.claim())
        call = claimer.next(wire.receive(), first=True)
        while call:
            wire.send(call)
            call = claimer.next(wire.receive())
        yield from _cost(server.read().since(before), claimer.done, "ack and claim, of 100", case)
        yield Sample(case, "jobs", claimer.done, "")
        wire.close()


def queues(server: Server, scale: Scale) -> Iterable[Sample]:
    """Queues that one real worker serves: jobs in all of them, and in none."""
    count = scale.of(20_000)
    for size in (1, 2, 5, 10, 20, 50, 100, 200):
        server.clear()
        wire = _wire(server)
        names = [f"q{at}" for at in range(size)]
        shared = SharedKeys(server.namespace)
        words = [word for name in names for word in ("-q", name)]
        command = [sys.executable, "-m", "taskq", "worker", "bench.systems.taskq_app:app", *words]
        env = environment(BENCH_URL=server.url, BENCH_NAMESPACE=server.namespace)
        all_keys = [QueueKeys(server.namespace, name) for name in names]

        def finished(every: list[QueueKeys] = all_keys) -> int:
            with server.client.pipeline(transaction=False) as pipe:
                for keys in every:
                    pipe.hget(keys.stats, "completed")
                return sum(int(found or 0) for found in pipe.execute())

        with WorkerProcess(
            command, env, lambda shared=shared: bool(server.client.zcard(shared.workers))
        ) as worker:
            time.sleep(1.0)
            case = _counted(size, "queue")
            cpu, before, began = worker.cpu, server.read(), time.perf_counter()
            time.sleep(3.0)
            quiet, used = time.perf_counter() - began, server.read().since(before)
            yield Sample(case, "idle: script calls", used.scripts / quiet, "per s")
            yield Sample(case, "idle: commands, in scripts too", used.all_calls / quiet, "per s")
            yield Sample(case, "idle: server CPU", used.cpu / quiet * 100, "%")
            yield Sample(case, "idle: worker CPU", (worker.cpu - cpu) / quiet * 100, "%")
            for keys in all_keys:
                raw.run(wire, commands.pause(keys))
            for at, keys in enumerate(all_keys):
                _fill(wire, keys, at * count, max(1, count // size))
            total = max(1, count // size) * size
            cpu, before, began = worker.cpu, server.read(), time.perf_counter()
            for keys in all_keys:
                raw.run(wire, commands.resume(keys))
            worker.wait_until(lambda total=total: finished() >= total, 60, "finish", every=0.02)
            wall, used = time.perf_counter() - began, server.read().since(before)
            yield Sample(case, "drain: rate", total / wall, "jobs/s")
            yield Sample(case, "drain: server CPU", used.cpu / total * 1e6, "µs/job")
            yield Sample(case, "drain: worker CPU", (worker.cpu - cpu) / total * 1e6, "µs/job")
        wire.close()


ALL: tuple[Callable[[Server, Scale], Iterable[Sample]], ...] = (waiting, workers, groups, queues)
