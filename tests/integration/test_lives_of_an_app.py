"""One app over several event loops, after closing, and in a forked process."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import warnings
from typing import Any

import pytest

from taskq import TaskQ
from taskq.worker.worker import Worker
from tests.integration.workers import quick
from tests.servers import Server


def make(server: Server, namespace: str) -> tuple[TaskQ, Any]:
    app = TaskQ(server.url, **quick(namespace))

    @app.task
    async def double(n: int) -> int:
        return 2 * n

    return app, double


@pytest.mark.parametrize("closing", [True, False])
def test_an_app_is_used_from_several_event_loops_one_after_the_other(
    server: Server, namespace: str, closing: bool
) -> None:
    app, double = make(server, namespace)

    async def once(n: int) -> int:
        jobs = await asyncio.gather(*(double.enqueue(n) for _ in range(5)))
        await Worker(app, burst=True).run()
        value: int = (await app.results(jobs, timeout=5))[0]
        if closing:
            await app.close()
        return value

    with warnings.catch_warnings():
        # A program that does not close its app leaves its connections to the garbage collector.
        warnings.simplefilter("error" if closing else "ignore", ResourceWarning)
        assert [asyncio.run(once(n)) for n in range(3)] == [0, 2, 4]
        asyncio.run(app.close())
        gc.collect()


async def test_an_app_can_be_used_again_after_it_was_closed(server: Server, namespace: str) -> None:
    app, double = make(server, namespace)
    async with app:
        first = await double.enqueue(1)
    async with app:
        await Worker(app, burst=True).run()
        assert await first.result(timeout=5) == 2
    again = await double.enqueue(2)
    await Worker(app, burst=True).run()
    assert await again.result(timeout=5) == 4
    await app.close()


async def test_closing_lets_what_is_being_sent_arrive(server: Server, namespace: str) -> None:
    app, double = make(server, namespace)
    async with app:
        await double.enqueue(0)
        sending = [asyncio.ensure_future(double.enqueue(n)) for n in range(5)]
        await asyncio.sleep(0)

    jobs = await asyncio.gather(*sending)
    assert [(await job.info()).state for job in jobs] == ["ready"] * 5
    await Worker(app, burst=True).run()
    await app.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_goes_on_with_its_own_connections_and_ids(
    server: Server, namespace: str
) -> None:
    app, double = make(server, namespace)
    first = double.enqueue_sync(1)
    read, write = os.pipe()

    child = os.fork()
    if child == 0:
        try:
            ids = [double.enqueue_sync(n).id for n in range(20)]
            os.write(write, " ".join(ids).encode())
        finally:
            os._exit(0)
    mine = [double.enqueue_sync(n).id for n in range(20)]
    os.close(write)
    with os.fdopen(read) as pipe:
        theirs = pipe.read().split()
    os.waitpid(child, 0)

    assert len({first.id, *mine, *theirs}) == 41
    for job_id in [first.id, *mine, *theirs]:
        assert app.job(job_id).cancel_sync() is True
    app.close_sync()


def test_many_threads_share_one_app(server: Server, namespace: str) -> None:
    app, double = make(server, namespace)
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda: ids.extend(double.enqueue_sync(n).id for n in range(25)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(ids)) == 200
    asyncio.run(Worker(app, burst=True).run())
    assert app.job(ids[0]).info_sync().state == "completed"
    app.close_sync()


def test_importing_a_module_of_tasks_connects_to_nothing() -> None:
    app = TaskQ("redis://127.0.0.1:1")

    @app.task
    async def one() -> None: ...

    assert one.s().task == "one"
    assert sys.modules["taskq.app"]
