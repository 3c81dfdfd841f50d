"""Tasks in processes of their own: values, errors, and what happens when the process dies or
must be killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from taskq import JobCancelled, JobFailed, TaskQ
from taskq.keys import QueueKeys
from taskq.worker.processes import _Slot
from tests.helpers import eventually
from tests.integration import chores
from tests.integration.conftest import MakeApp
from tests.integration.workers import wait_for_lines, working

pytestmark = pytest.mark.parametrize("server", ["valkey"], indirect=True)


def adopt(app: TaskQ, *names: str) -> Any:
    """Register process tasks of the `chores` module with `app`; a namespace of them."""

    class Tasks:
        pass

    for name in names:
        task = getattr(chores, name)
        options = {n: getattr(task.defaults, n) for n in ("retries", "backoff")}
        adopted: Any = app.task(executor="process", **options)(task.fn)
        setattr(Tasks, name, adopted)
    return Tasks


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_it_runs_in_another_process_with_a_context(app: TaskQ) -> None:
    tasks = adopt(app, "pid")
    async with app, working(app) as worker:
        job = await tasks.pid.enqueue(1)

        got = await job.result(timeout=10)

    assert got[0] != os.getpid()
    assert got[1:] == [job.id, 1, "default", worker.id, None]


async def test_an_error_comes_with_its_traceback_as_text(app: TaskQ) -> None:
    tasks = adopt(app, "divide")
    async with app, working(app):
        assert await (await tasks.divide.enqueue(1, 2)).result(timeout=10) == 0.5
        with pytest.raises(JobFailed) as caught:
            await (await tasks.divide.enqueue(1, 0)).result(timeout=10)

    assert caught.value.error == "ZeroDivisionError: division by zero"
    assert "return a / b" in caught.value.traceback


async def test_retry_and_discard_cross_the_process_border(app: TaskQ) -> None:
    tasks = adopt(app, "again", "give_up")
    async with app, working(app):
        assert await (await tasks.again.enqueue()).result(timeout=10) == 2
        with pytest.raises(JobFailed, match="no use") as caught:
            await (await tasks.give_up.enqueue()).result(timeout=10)

    assert caught.value.reason == "discarded"


@pytest.mark.parametrize("name", ["vanish", "leave", "unsendable"])
async def test_a_process_that_dies_or_misbehaves_fails_only_its_own_job(
    app: TaskQ, name: str, tmp_path: Path
) -> None:
    tasks = adopt(app, name, "hang")
    async with app, working(app) as worker:
        sibling = await tasks.hang.enqueue(str(tmp_path / "pids"), 1.0)
        await asyncio.to_thread(wait_for_lines, tmp_path / "pids", 1)

        says = {"vanish": "ProcessDied", "leave": "SystemExit: 4", "unsendable": "Lock"}[name]
        with pytest.raises(JobFailed, match=says):
            await (await getattr(tasks, name).enqueue()).result(timeout=10)

        (line,) = wait_for_lines(tmp_path / "pids", 1)
        assert await sibling.result(timeout=10) == int(line)
        jobs = [await tasks.hang.enqueue(str(tmp_path / "pids"), 0.3) for _ in range(2)]
        both = await app.results(jobs, timeout=4)
        assert len(set(both)) == 2
        assert worker.runner.processes.free == 2


async def test_a_timeout_really_kills_the_process_and_the_slot_lives_on(
    app: TaskQ, tmp_path: Path
) -> None:
    tasks = adopt(app, "hang", "pid")
    async with app, working(app):
        job = await tasks.hang.options(timeout=1).enqueue(str(tmp_path / "pids"))

        with pytest.raises(JobFailed, match="TaskTimeout: ran longer than 1 s"):
            await job.result(timeout=10)

        (line,) = wait_for_lines(tmp_path / "pids", 1)
        await eventually(lambda: gone(int(line)))
        jobs = [await tasks.pid.enqueue(1) for _ in range(4)]
        pids = {result[0] for result in await app.results(jobs, timeout=4)}
        assert int(line) not in pids


async def test_a_cancelled_process_is_killed_within_a_heartbeat_or_so(
    app: TaskQ, tmp_path: Path
) -> None:
    tasks = adopt(app, "hang")
    async with app, working(app):
        job = await tasks.hang.enqueue(str(tmp_path / "pids"))
        (line,) = await asyncio.to_thread(wait_for_lines, tmp_path / "pids", 1)

        assert await job.cancel() is False

        with pytest.raises(JobCancelled):
            await job.result(timeout=2)
        await eventually(lambda: gone(int(line)))


async def test_never_more_process_jobs_are_claimed_than_there_are_slots(
    app: TaskQ, raw: redis.Redis, tmp_path: Path, namespace: str
) -> None:
    tasks = adopt(app, "hang")
    keys = QueueKeys(namespace, "default")
    held = []
    async with app, working(app) as worker:
        jobs = [await tasks.hang.enqueue(str(tmp_path / "pids"), 0.1) for _ in range(10)]
        done = asyncio.ensure_future(app.results(jobs, timeout=4))

        while not done.done():
            held.append(raw.zcard(keys.running(worker.id)))
            await asyncio.sleep(0)
        await done

    assert max(held) == 2  # type: ignore[type-var]
    assert raw.hget(keys.stats, "released") is None


async def test_waiting_for_a_process_keeps_no_coroutine_waiting(
    make_app: MakeApp, tmp_path: Path
) -> None:
    app = make_app(concurrency=10)
    tasks = adopt(app, "hang")

    @app.task
    async def quick() -> int:
        return 1

    async with app, working(app):
        slow = [await tasks.hang.enqueue(str(tmp_path / "pids"), 0.5) for _ in range(6)]
        quicks = [await quick.enqueue() for _ in range(20)]

        assert await app.results(quicks, timeout=5) == [1] * 20

        assert (await slow[-1].info()).state == "ready"
        await app.results(slow, timeout=4)


async def test_no_process_outlives_its_worker(app: TaskQ, tmp_path: Path) -> None:
    tasks = adopt(app, "pid")
    async with app:
        async with working(app):
            jobs = [await tasks.pid.enqueue(1) for _ in range(8)]
            pids = {result[0] for result in await app.results(jobs, timeout=4)}

        assert pids
        await eventually(lambda: all(gone(pid) for pid in pids))


async def test_a_process_that_died_while_it_was_idle_costs_the_next_job_nothing(
    app: TaskQ,
) -> None:
    tasks = adopt(app, "pid")
    async with app, working(app) as worker:
        first = await (await tasks.pid.enqueue(1)).result(timeout=20)
        for slot in worker.runner.processes._idle:
            os.kill(slot._pid, signal.SIGKILL)
        await eventually(
            lambda: all(
                slot._pool is not None and slot._pool._broken
                for slot in worker.runner.processes._idle
            )
        )

        job = await tasks.pid.enqueue(1)
        second = await job.result(timeout=20)
        assert (await job.info()).attempt == 0
    assert first[0] != second[0]


async def test_a_process_that_dies_while_it_starts_does_not_end_the_worker(
    app: TaskQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warm-up is only for speed."""
    tasks = adopt(app, "pid")
    dying = iter([True])

    start = _Slot.start

    async def sometimes(slot: _Slot) -> Any:
        if next(dying, False):
            raise BrokenProcessPool("killed")
        return await start(slot)

    monkeypatch.setattr(_Slot, "start", sometimes)
    async with app, working(app):
        assert await (await tasks.pid.enqueue(1)).result(timeout=20)
    assert next(dying, None) is None
