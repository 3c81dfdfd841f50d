"""What a plain job costs in Python, counted: calls and allocations. Never time.

The server's side and the wire are in test_counted_costs. `pytest -rP` on this file prints what it
measured, from which BOUNDS are made: half a call or allocation above it, so that one more a job
fails. A change that is worth more raises them, and says why.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from taskq import TaskQ, commands
from taskq.keys import QueueKeys
from tests.chaos.server import lacking
from tests.integration.counting import Allocations, Calls, Counter, compile_hook
from tests.integration.workers import idle, quick, working
from tests.servers import Server

BATCH = 100
_DRAINED = 50 * BATCH
#: Sends are counted in slices of which the cheapest tells: what is done once in a while, such as a
#: look at the clock's timers, falls into others, and into more of them where the machine is busy.
_SLICES, _SLICE = 10, 2 * BATCH


class Cost(NamedTuple):
    """Of one job, at most."""

    calls: float
    allocations: float


#: By way, then by Python: compilers and free lists differ.
BOUNDS: dict[str, dict[str, Cost]] = {
    "drain": {
        "3.11": Cost(46.7, 44.1),
        "3.12": Cost(47.4, 35.5),
        "3.13": Cost(47.4, 33.4),
    },
    "one by one": {
        "3.11": Cost(91.5, 110.7),
        "3.12": Cost(90.5, 112.8),
        "3.13": Cost(90.5, 108.7),
    },
    "one by one, blocking": {
        "3.11": Cost(60.5, 71.6),
        "3.12": Cost(60.5, 70.6),
        "3.13": Cost(60.5, 69.6),
    },
    "100 at a time": {
        "3.11": Cost(44.0, 71.4),
        "3.12": Cost(44.0, 65.4),
        "3.13": Cost(44.0, 64.3),
    },
    "in bulk": {
        "3.11": Cost(24.1, 26.7),
        "3.12": Cost(24.1, 26.6),
        "3.13": Cost(24.1, 26.5),
    },
}


@pytest.fixture(params=Cost._fields)
def counter(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Counter]:
    """Each in turn: one would count what the other does. No test leaves it counting."""
    counter: Counter = Calls()
    if request.param == "allocations":
        counter = Allocations(compile_hook(tmp_path_factory.mktemp("hook")))
    yield counter
    counter.end()


def assert_within(way: str, counter: Counter, found: float) -> None:
    """Not more than the bound of this Python."""
    what = "calls" if isinstance(counter, Calls) else "allocations"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    print(f"{way}, Python {python}: {found:.2f} {what} per job")
    if python not in BOUNDS[way]:
        lacking(f"no bounds for Python {python}", f"measure with -rP and add a row for {way!r}")
    most = getattr(BOUNDS[way][python], what)
    assert found <= most, f"{way}: {found:.2f} {what} per job, at most {most} were allowed"


async def test_drain(valkey: Server, namespace: str, counter: Counter) -> None:
    """A worker with 100 slots, from the claim to the acknowledgement, but for the last batch's."""
    app = TaskQ(
        valkey.url,
        **quick(namespace, heartbeat=5.0, heartbeat_ttl=30.0, grace=6.0, concurrency=BATCH),
    )
    left, over = 0, asyncio.Event()

    @app.task
    async def noop() -> None:
        nonlocal left
        left -= 1
        if not left:
            over.set()

    keys = QueueKeys(namespace, "default")
    async with app, working(app) as worker:

        async def drained(count: int) -> None:
            nonlocal left
            left = count
            over.clear()
            await app.client.store.run(commands.pause(keys))
            await app.enqueue_many([noop.s() for _ in range(count)])
            await idle(worker)
            if count == _DRAINED:
                counter.begin()
            await app.client.store.run(commands.resume(keys))
            await over.wait()

        await drained(BATCH)
        await idle(worker)
        await drained(_DRAINED)
        found = counter.end() / _DRAINED
    assert_within("drain", counter, found)


Send = Callable[[TaskQ, int], Awaitable[None]]


async def _singly(app: TaskQ, count: int) -> None:
    for _ in range(count):
        await app.enqueue("noop", queue="q")


async def _blocking(app: TaskQ, count: int) -> None:
    for _ in range(count):
        app.enqueue_sync("noop", queue="q")


async def _together(app: TaskQ, count: int) -> None:
    for _ in range(count // BATCH):
        await asyncio.gather(*(app.enqueue("noop", queue="q") for _ in range(BATCH)))


async def _in_bulk(app: TaskQ, count: int) -> None:
    call = app.named("noop").options(queue="q")
    await app.enqueue_many([call.s() for _ in range(count)])


@pytest.fixture
async def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes speed out of what is counted.

    All ids are of one millisecond: the first of each costs twelve calls more. And the loop looks
    for replies only when it has nothing else to do: one that is there already would save a turn.
    """
    now = time.time_ns()
    monkeypatch.setattr("taskq.job.time", SimpleNamespace(time_ns=lambda: now))
    selector: Any = vars(asyncio.get_running_loop())["_selector"]
    select = selector.select
    monkeypatch.setattr(selector, "select", lambda wait=None: [] if wait == 0 else select(wait))


@pytest.mark.usefixtures("steady")
@pytest.mark.keeps_keys("enqueues, and runs nothing")
@pytest.mark.parametrize(
    ("way", "send"),
    [
        pytest.param(way, send, id=way)
        for way, send in (
            ("one by one", _singly),
            ("one by one, blocking", _blocking),
            ("100 at a time", _together),
            ("in bulk", _in_bulk),
        )
    ],
)
async def test_enqueue(
    valkey: Server, namespace: str, counter: Counter, way: str, send: Send
) -> None:
    """Every way to enqueue; what a client does once, with its first jobs, is not counted."""
    async with TaskQ(valkey.url, namespace=namespace) as app:
        await send(app, BATCH)
        found = []
        for _ in range(_SLICES):
            counter.begin()
            await send(app, _SLICE)
            found.append(counter.end() / _SLICE)
    assert_within(way, counter, min(found))
