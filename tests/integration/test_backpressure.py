"""What an enqueue does that finds its queue full: refuse, wait for room, make room."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import redis

from taskq import JobExpired, QueueFull, TaskQ
from taskq.keys import QueueKeys
from taskq.task import Task
from tests.helpers import eventually
from tests.integration.conftest import MakeApp
from tests.integration.workers import working


def with_bound(make_app: MakeApp, on_full: str, most: int = 3, **settings: object) -> TaskQ:
    app = make_app(**settings)
    app.queue("default", max_jobs=most, on_full=on_full)
    return app


def waiting(app: TaskQ, raw: redis.Redis) -> int:
    return int(raw.zcard(QueueKeys(app.settings.namespace, "default").ready))  # type: ignore[arg-type]


def task_of(app: TaskQ) -> Task[[int], int]:
    async def work(n: int) -> int:
        return n

    return app.task(work)


async def declared(app: TaskQ) -> None:
    """A worker has been here and has written the settings of the queue."""
    async with working(app):
        pass


async def test_reject_is_the_default_and_names_the_numbers(make_app: MakeApp) -> None:
    app = with_bound(make_app, "reject", 2)
    work = task_of(app)

    async with app:
        await declared(app)
        await app.enqueue_many([work.s(1), work.s(2)])
        with pytest.raises(QueueFull, match="2 jobs wait, 2 may"):
            await work.enqueue(3)
        async with working(app):
            await eventually(lambda: _sent(work))


async def _sent(work: Task[[int], int]) -> bool:
    try:
        await (await work.enqueue(4)).result(timeout=5)
    except QueueFull:
        return False
    return True


async def test_wait_holds_producers_back_until_workers_have_made_room(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = with_bound(make_app, "wait", 5)
    work = task_of(app)
    seen: list[int] = []

    async with app:
        await declared(app)
        sending = asyncio.ensure_future(asyncio.gather(*(work.enqueue(n) for n in range(100))))
        await eventually(lambda: waiting(app, raw) == 5)
        assert not sending.done()

        async def watch() -> None:
            while not sending.done():
                seen.append(waiting(app, raw))
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        async with working(app):
            jobs = await asyncio.wait_for(sending, 30)
            assert await app.results(jobs, timeout=30) == list(range(100))
        await watching
    assert max(seen) <= 5


async def test_waiting_does_not_hold_up_the_event_loop_or_other_queues(
    make_app: MakeApp,
) -> None:
    app = with_bound(make_app, "wait", 1, full_timeout=0.3)
    work = task_of(app)

    async with app:
        await declared(app)
        await work.enqueue(1)
        sending = asyncio.ensure_future(work.enqueue(2))
        other = await work.options(queue="other").enqueue(3)
        turns = 0
        while not sending.done():
            turns += 1
            await asyncio.sleep(0)

        with pytest.raises(QueueFull, match=r"waited 0\.3 s, as full_timeout says"):
            await sending
        assert turns > 50
        async with working(app, queues=["default", "other"]):
            assert await other.result(timeout=5) == 3


async def test_a_producer_that_never_heard_of_it_waits_too(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app, stranger = with_bound(make_app, "wait"), make_app()
    task_of(app)

    async with app, stranger:
        await declared(app)
        jobs = list(await asyncio.gather(*(stranger.enqueue("work", n) for n in range(3))))
        sending = asyncio.ensure_future(stranger.enqueue_many([stranger.named("work").s(9)]))
        blocking = asyncio.ensure_future(asyncio.to_thread(stranger.enqueue_sync, "work", 8))
        await eventually(lambda: waiting(app, raw) == 3)
        assert not sending.done()
        assert not blocking.done()
        async with working(app):
            jobs += [*await sending, await blocking]
            assert await app.results(jobs, timeout=10) == [0, 1, 2, 9, 8]


async def test_many_wait_for_room_for_all_of_them(make_app: MakeApp, raw: redis.Redis) -> None:
    app = with_bound(make_app, "wait", 4)
    work = task_of(app)

    async with app:
        await declared(app)
        await work.enqueue(0)
        sending = asyncio.ensure_future(app.enqueue_many([work.s(n) for n in range(1, 5)]))
        with pytest.raises(QueueFull):
            await app.enqueue_many([work.s(n) for n in range(9)])  # more than ever fits
        assert waiting(app, raw) == 1
        async with working(app):
            assert await app.results(await sending, timeout=10) == [1, 2, 3, 4]


async def test_a_blocking_producer_gives_up_after_full_timeout(make_app: MakeApp) -> None:
    app = with_bound(make_app, "wait", 1, full_timeout=0.2)
    work = task_of(app)

    async with app:
        await declared(app)
        first = await work.enqueue(1)
        began = time.monotonic()
        with pytest.raises(QueueFull, match=r"waited 0\.2 s"):
            await asyncio.to_thread(work.enqueue_sync, 2)
        assert time.monotonic() - began >= 0.2
        await first.cancel()


async def test_drop_oldest_makes_room_for_the_newest(make_app: MakeApp) -> None:
    app = with_bound(make_app, "drop_oldest", 3)
    work = task_of(app)

    async with app:
        await declared(app)
        jobs = [await work.enqueue(n) for n in range(6)]
        infos = await app.infos(jobs)
        states = [(str(info.state), info.reason) for info in infos if info]

        assert states == [("expired", "dropped")] * 3 + [("ready", None)] * 3
        with pytest.raises(JobExpired, match="was dropped: its queue was full"):
            await jobs[0].result(timeout=5)
        async with working(app):
            assert await app.results(jobs[3:], timeout=5) == [3, 4, 5]


async def test_many_threads_wait_for_room_and_all_get_in(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = with_bound(make_app, "wait", 2)
    work = task_of(app)
    results: list[int] = []

    def produce(n: int) -> None:
        results.append(work.enqueue_sync(n).result_sync(timeout=20))

    async with app:
        await declared(app)
        threads = [threading.Thread(target=produce, args=(n,)) for n in range(10)]
        for thread in threads:
            thread.start()
        await eventually(lambda: waiting(app, raw) == 2)
        async with working(app):
            for thread in threads:
                await asyncio.to_thread(thread.join, 20)
    assert sorted(results) == list(range(10))
