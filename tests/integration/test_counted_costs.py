"""What a plain job costs, counted: commands, script calls, bytes on the wire. Never time.

These fail when a change makes the hot path dearer, however busy the machine is. The bounds are
what was measured, rounded up by a few hundredths; a change that is worth more raises them, and says
why. Bytes hold for ids, names and times of today's lengths.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest

from bench import raw
from bench.server import Server as Measured
from taskq import TaskQ, commands
from taskq.keys import QueueKeys
from tests.helpers import eventually
from tests.integration.workers import idle, quick, working
from tests.servers import Server

BATCH = 100


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one job. `commands` has those inside scripts too, and the script calls themselves."""

    scripts: float
    commands: float
    to_server: float
    from_server: float


class Meter:
    """Counts what the server sees from `begin` on, without the counting itself."""

    def __init__(self, server: Server) -> None:
        self._server = Measured(server.url, private=False)

    def begin(self) -> None:
        earlier = self._server.read()
        self._before = self._server.read()
        self._own = self._before.since(earlier)

    def cost(self, jobs: int) -> Cost:
        """By job, of all since."""
        used, own = self._server.read().since(self._before), self._own
        return Cost(
            used.scripts / jobs,
            used.all_calls / jobs,
            (used.received - own.received) / jobs,
            (used.sent - own.sent) / jobs,
        )

    def close(self) -> None:
        self._server.client.close()


def assert_within(found: Cost, bound: Cost) -> None:
    """No figure above its bound. One far below it: tighten the bound, or it guards nothing."""
    for name in Cost.__slots__:
        got, most = getattr(found, name), getattr(bound, name)
        assert got <= most, f"{name} per job: {got:.4f}, at most {most} was allowed: {found}"


@pytest.fixture
def meter(server: Server) -> Iterator[Meter]:
    """Reads the server's counters."""
    meter = Meter(server)
    yield meter
    meter.close()


@pytest.mark.keeps_keys("its two workers never end")
def test_drain(server: Server, namespace: str, meter: Meter) -> None:
    """The scripts themselves, in batches of 100: no timing decides what is counted."""
    keys, count = QueueKeys(namespace, "q"), 20 * BATCH
    wire = raw.Wire(server.url)
    wire.load("enqueue", "heartbeat", "claim", "ack")
    for start in range(0, count, BATCH):
        wire.send(raw.enqueue(keys, raw.jobs(start, BATCH)))
        wire.receive()
    claimer = raw.Claimer(wire, keys, "w" * 20, batch=BATCH)
    claimer.beat()
    meter.begin()
    wire.send(claimer.claim())
    call = claimer.next(wire.receive(), first=True)
    while call:
        wire.send(call)
        call = claimer.next(wire.receive())
    found = meter.cost(count)
    wire.close()
    assert claimer.done == count
    assert_within(found, Cost(0.0106, 5.40, 80, 165))


async def test_drain_by_a_worker(server: Server, namespace: str, meter: Meter) -> None:
    """A real worker with 100 slots: what it sends beside the scripts' own cost, and whether it
    still reports and claims whole batches.
    """
    app = TaskQ(
        server.url,
        **quick(namespace, heartbeat=5.0, heartbeat_ttl=30.0, grace=6.0, concurrency=BATCH),
    )
    ran, count = 0, 50

    @app.task
    async def noop() -> None:
        nonlocal ran
        ran += 1

    keys = QueueKeys(namespace, "default")
    async with app, working(app) as worker:
        store = app.client.store
        await store.run(commands.pause(keys))
        await app.enqueue_many([noop.s() for _ in range(count * BATCH)])
        await idle(worker)
        meter.begin()
        await store.run(commands.resume(keys))
        await eventually(lambda: ran == count * BATCH, timeout=30)
        await idle(worker)
        found = meter.cost(count * BATCH)
    # A heartbeat, wake tokens, an idle look and a batch not full may fall between: a little more.
    assert found.scripts <= 0.016, found
    assert found.commands <= 5.5, found
    assert found.to_server <= 90, found
    assert found.from_server <= 165, found


Send = Callable[[TaskQ], Awaitable[int]]


async def _singly(app: TaskQ) -> int:
    for _ in range(300):
        await app.enqueue("noop", queue="q")
    return 300


async def _blocking(app: TaskQ) -> int:
    for _ in range(300):
        app.enqueue_sync("noop", queue="q")
    return 300


async def _together(app: TaskQ) -> int:
    for _ in range(10):
        await asyncio.gather(*(app.enqueue("noop", queue="q") for _ in range(BATCH)))
    return 10 * BATCH


async def _in_bulk(app: TaskQ) -> int:
    call = app.named("noop").options(queue="q")
    await app.enqueue_many([call.s() for _ in range(2_000)])
    return 2_000


@pytest.mark.keeps_keys("enqueues, and runs nothing")
@pytest.mark.parametrize(
    ("send", "bound"),
    [
        pytest.param(_singly, Cost(1.0, 14.3, 515, 38), id="one by one"),
        pytest.param(_blocking, Cost(1.0, 14.3, 515, 38), id="one by one, blocking"),
        pytest.param(_together, Cost(0.01, 2.2, 98, 0.45), id="100 at a time"),
        pytest.param(_in_bulk, Cost(0.0055, 2.12, 90, 0.25), id="in bulk"),
    ],
)
async def test_enqueue(
    server: Server, namespace: str, meter: Meter, send: Send, bound: Cost
) -> None:
    """Every way to enqueue; what a client does once, before its first job, is not counted."""
    app = TaskQ(server.url, namespace=namespace)
    async with app:
        await app.enqueue("noop", queue="q")
        app.enqueue_sync("noop", queue="q")
        meter.begin()
        count = await send(app)
        found = meter.cost(count)
    assert_within(found, bound)
