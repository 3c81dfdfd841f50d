"""Limits on real servers, with three workers: never exceeded, never leaking, never asleep while
there is room.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from taskq import JobFailed, Limit, TaskQ, TaskStruck
from taskq.errors import InvalidOption
from taskq.keys import QueueKeys
from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.gauge import Gauge
from tests.integration.workers import worker_process, working
from tests.servers import Server


@contextlib.asynccontextmanager
async def three_workers(app: TaskQ, **words: object) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(app)
        for _ in range(3):
            await stack.enter_async_context(working(app, **words))
        yield


async def parked(app: TaskQ, raw: redis.Redis, count: int, queue: str = "default") -> None:
    """Wait until so many jobs are parked."""
    keys = QueueKeys(app.settings.namespace, queue)
    await eventually(lambda: raw.zcard(keys.prefix + "blocked") == count)


def of_limits(app: TaskQ, raw: redis.Redis) -> list[str]:
    """Keys that limits use while they hold or block something."""
    prefix = f"{app.settings.namespace}:{{default}}:"
    names = (key.decode().removeprefix(prefix) for key in raw.scan_iter(f"{prefix}*"))
    return [n for n in names if n.startswith(("holding:", "parked:", "blocked", "timers"))]


async def test_a_limit_of_a_task_holds_over_all_workers_and_leaves_nothing(
    app: TaskQ, raw: redis.Redis
) -> None:
    gauge = Gauge()

    @app.task(limits=[Limit("vendor", concurrency=3)])
    async def call() -> None:
        async with gauge.run("vendor", seconds=0.005):
            pass

    @app.task
    async def free() -> None:
        async with gauge.run("free", seconds=0.01):
            pass

    async with three_workers(app):
        jobs = await app.enqueue_many([call.s() for _ in range(120)])
        jobs += await app.enqueue_many([free.s() for _ in range(60)])
        await app.results(jobs, timeout=30)

    assert gauge.most["vendor"] == 3
    assert gauge.most["free"] > 3
    assert of_limits(app, raw) == []


async def test_each_tenant_has_a_limit_of_its_own(app: TaskQ) -> None:
    gauge = Gauge()

    @app.task(limits=[Limit("tenant:{tenant}", concurrency=2), Limit("all", concurrency=7)])
    async def work(tenant: str) -> None:
        async with gauge.run(tenant, "all", seconds=0.01):
            pass

    async with three_workers(app):
        calls = [work.s(f"t{n % 5}") for n in range(100)]
        await app.results(await app.enqueue_many(calls), timeout=30)

    assert max(gauge.most[f"t{n}"] for n in range(5)) == 2
    assert gauge.most["all"] == 7


async def test_a_backlog_of_one_tenant_does_not_hold_up_another(app: TaskQ) -> None:
    gate = asyncio.Event()

    @app.task(limits=[Limit("tenant:{tenant}", concurrency=1)])
    async def work(tenant: str) -> str:
        if tenant == "big":
            await gate.wait()
        return tenant

    async with app, working(app):
        big = await app.enqueue_many([work.s("big") for _ in range(300)])
        small = await work.enqueue("small")

        assert await small.result(timeout=10) == "small"
        gate.set()
        await app.results(big, timeout=30)


async def test_a_limit_of_a_queue_and_one_of_a_call_hold_together(app: TaskQ) -> None:
    app.queue("default", limits=[Limit("queue", concurrency=4)])
    gauge = Gauge()

    @app.task
    async def work(kind: str) -> None:
        async with gauge.run("queue", kind, seconds=0.01):
            pass

    one = work.options(limits=[Limit("one", concurrency=1)])
    async with three_workers(app):
        calls = [one.s("one") if n % 3 == 0 else work.s("any") for n in range(90)]
        await app.results(await app.enqueue_many(calls), timeout=30)

    assert gauge.most["one"] == 1
    assert gauge.most["queue"] == 4


async def test_a_producer_that_knows_nothing_of_the_app_is_under_its_limits_too(
    app: TaskQ, make_app: MakeApp
) -> None:
    gauge = Gauge()

    @app.task(limits=[Limit("vendor", concurrency=1)])
    async def call() -> None:
        async with gauge.run("vendor", seconds=0.005):
            pass

    stranger = make_app()
    async with three_workers(app):
        jobs = await asyncio.gather(*(stranger.enqueue("call") for _ in range(40)))
        await app.results(jobs, timeout=30)

    assert gauge.most["vendor"] == 1


async def test_a_limit_of_a_blocking_producer_is_written_before_its_job(app: TaskQ) -> None:
    gauge = Gauge()

    @app.task
    async def call(n: int) -> None:
        async with gauge.run("x", seconds=0.005):
            pass

    limited = call.options(limits=[Limit("x", concurrency=1)])

    def produce() -> list[object]:
        return [limited.enqueue_sync(0), *app.enqueue_many_sync([limited.s(n) for n in range(20)])]

    async with three_workers(app):
        jobs = await asyncio.to_thread(produce)
        await app.results(jobs, timeout=30)  # type: ignore[arg-type]

    assert gauge.most["x"] == 1


async def test_a_rate_spaces_starts_and_a_burst_may_come_at_once(app: TaskQ) -> None:
    gauge = Gauge()

    @app.task(limits=[Limit("api", rate="20/s", burst=5)])
    async def call() -> None:
        async with gauge.run("api"):
            pass

    async with three_workers(app):
        await app.results(await app.enqueue_many([call.s() for _ in range(25)]), timeout=30)

    at = [when for when, _ in gauge.started]
    # 5 at once, then one each 50 ms; what starts late has no successor that starts early.
    windows = [later - earlier for earlier, later in zip(at, at[6:], strict=False)]
    assert at[-1] - at[0] >= 20 * 0.05 - 0.06
    assert min(windows) >= 0.03
    assert at[-1] - at[0] < 20


async def test_a_slow_rate_wakes_by_its_time_and_holds_no_slot(app: TaskQ) -> None:
    gauge = Gauge()

    @app.task(limits=[Limit("slow", rate="2/s", burst=1)])
    async def slow() -> None:
        async with gauge.run("slow"):
            pass

    @app.task
    async def quick() -> int:
        return 1

    async with app, working(app):
        jobs = await app.enqueue_many([slow.s() for _ in range(3)])
        assert await (await quick.enqueue()).result(timeout=5) == 1
        await app.results(jobs, timeout=20)

    assert min(gauge.spans("slow")) >= 0.45


async def test_a_failed_run_gives_its_place_back_while_it_waits_for_its_retry(
    app: TaskQ, raw: redis.Redis
) -> None:
    runs: list[int] = []

    @app.task(limits=[Limit("one", concurrency=1)], retries=1, backoff=0.2)
    async def work(n: int) -> int:
        runs.append(n)
        if runs.count(n) == 1 and n == 0:
            raise ValueError("first")
        return n

    async with app, working(app):
        first = await work.enqueue(0)
        await eventually(lambda: runs == [0])
        second = await work.enqueue(1)

        assert await app.results([first, second], timeout=10) == [0, 1]
    assert runs == [0, 1, 0]
    assert of_limits(app, raw) == []


async def test_dead_cancelled_and_parked_jobs_leave_nothing(app: TaskQ, raw: redis.Redis) -> None:
    started = asyncio.Event()

    @app.task(limits=[Limit("one", concurrency=1)], retries=0)
    async def work(what: str) -> None:
        started.set()
        if what == "fail":
            raise ValueError(what)
        await take(60)

    async with app, working(app):
        runs = await work.enqueue("long")
        await started.wait()
        waits, fails = await work.enqueue("long"), await work.enqueue("fail")
        await parked(app, raw, 2)

        assert await waits.cancel() is True
        await runs.cancel()
        with pytest.raises(JobFailed):
            await fails.result(timeout=10)
    assert of_limits(app, raw) == []


async def test_a_parked_job_expires_at_its_deadline(app: TaskQ, raw: redis.Redis) -> None:
    gate = asyncio.Event()

    @app.task(limits=[Limit("one", concurrency=1)])
    async def work() -> None:
        await gate.wait()

    async with app, working(app):
        first = await work.enqueue()
        await parked(app, raw, 0)
        await eventually(lambda: raw.scard(f"{app.settings.namespace}:{{default}}:holding:one"))
        late = await work.options(deadline=0.2).enqueue()
        await parked(app, raw, 1)
        await take(0.25)
        gate.set()
        await first.result(timeout=10)

        await eventually(lambda: raw.hget(_job(app, late.id), "state") == b"expired")
    assert of_limits(app, raw) == []


def _job(app: TaskQ, job_id: str) -> str:
    return QueueKeys(app.settings.namespace, "default").job(job_id)


async def test_a_worker_that_is_killed_gives_its_places_back(
    server: Server, app: TaskQ, namespace: str, tmp_path: Path, raw: redis.Redis
) -> None:
    log = tmp_path / "runs"
    limited = app.named("note").options(limits=[Limit("one", concurrency=1)])

    async with app:
        with worker_process(server, namespace, heartbeat_ttl=1.0) as doomed:
            first = await limited.enqueue(str(log), "first", 60.0)
            second = await limited.enqueue(str(log), "second", 0.0)
            await asyncio.to_thread(doomed.lines, log, 1)
            await parked(app, raw, 1)
            os.killpg(doomed.pid, signal.SIGKILL)
        with worker_process(server, namespace, heartbeat_ttl=1.0) as heir:
            # Its rank is the older one: it runs again before the other.
            await eventually(lambda: log.read_text().count("start first") == 2, 30)
            assert raw.zcard(QueueKeys(namespace, "default").prefix + "blocked") == 1
            await first.cancel()
            assert await second.result(timeout=30) == "second"
            assert raw.hget(_job(app, first.id), "state") == b"cancelled"
            heir.send(signal.SIGTERM)
            await asyncio.to_thread(heir.wait)
    assert of_limits(app, raw) == []


async def test_raising_a_limit_starts_what_waited_for_it(app: TaskQ, raw: redis.Redis) -> None:
    gate = asyncio.Event()
    gauge = Gauge()

    @app.task(limits=[Limit("a", concurrency=1), Limit("t:{n}", concurrency=50)])
    async def work(n: int) -> None:
        async with gauge.run("a"):
            await gate.wait()

    async with three_workers(app):
        jobs = await app.enqueue_many([work.s(n % 2) for n in range(10)])
        await parked(app, raw, 9)

        await app.set_limit(Limit("a", concurrency=4), on="task.work")
        await eventually(lambda: gauge.now["a"] == 4)
        await app.set_limit(Limit("t:{n}", concurrency=1))
        assert await app.remove_limit("a") is True
        await parked(app, raw, 6)
        assert gauge.now["a"] == 4

        await app.remove_limit("t:{n}")
        await eventually(lambda: gauge.now["a"] == 10)
        gate.set()
        await app.results(jobs, timeout=10)

    assert of_limits(app, raw) == []


async def test_a_limit_set_by_hand_outlives_workers_and_producers(
    app: TaskQ, raw: redis.Redis
) -> None:
    @app.task(limits=[Limit("a", concurrency=1), Limit("t:{n}", concurrency=1)])
    async def work(n: int) -> None: ...

    key = QueueKeys(app.settings.namespace, "default").limits
    async with app:
        await app.set_limit(Limit("a", concurrency=7), on="task.work")
        await app.set_limit(Limit("t:{n}", concurrency=8))
        async with working(app):
            await (await work.enqueue(1)).result(timeout=5)

            assert raw.hgetall(key) == {
                b"a": b"concurrency=7 on=task.work by=hand",
                b"t:{n}": b"concurrency=8 on=job by=hand",
            }
        await app.remove_limit("a")
        async with working(app):
            assert raw.hget(key, "a") == b"concurrency=1 on=task.work"


async def test_a_worker_takes_back_what_its_app_declares_no_more(
    app: TaskQ, make_app: MakeApp, raw: redis.Redis
) -> None:
    @app.task(limits=[Limit("a", concurrency=1), Limit("b", concurrency=1)])
    async def work() -> None: ...

    newer = make_app()
    newer.task(name="work", limits=[Limit("b", concurrency=2)])(work.fn)
    async with app, working(app):
        pass
    async with newer, working(newer):
        key = QueueKeys(app.settings.namespace, "default").limits
        assert raw.hgetall(key) == {b"b": b"concurrency=2 on=task.work"}


async def test_a_paused_task_waits_and_others_go_on(app: TaskQ, raw: redis.Redis) -> None:
    @app.task
    async def a() -> str:
        return "a"

    @app.task
    async def b() -> str:
        return "b"

    async with three_workers(app):
        await app.pause_task("a")
        waits = await a.enqueue()
        assert await (await b.enqueue()).result(timeout=5) == "b"
        await parked(app, raw, 1)

        assert await app.resume_task("a") is True
        assert await waits.result(timeout=5) == "a"
        assert await app.resume_task("a") is False
    assert of_limits(app, raw) == []
    assert raw.hget(QueueKeys(app.settings.namespace, "default").meta, "limited") is None


async def test_a_paused_group_waits_and_others_go_on(app: TaskQ, raw: redis.Redis) -> None:
    @app.task(group="{tenant}")
    async def work(tenant: str) -> str:
        return tenant

    async with three_workers(app):
        await asyncio.to_thread(app.pause_group_sync, "acme")
        waits = await work.enqueue("acme")
        assert await (await work.enqueue("other")).result(timeout=5) == "other"
        await parked(app, raw, 1)

        assert await asyncio.to_thread(app.resume_group_sync, "acme") is True
        assert await waits.result(timeout=5) == "acme"
    assert of_limits(app, raw) == []


async def test_a_struck_task_is_refused_at_once_and_its_jobs_are_kept(
    app: TaskQ, raw: redis.Redis
) -> None:
    @app.task
    async def bad() -> str:
        return "bad"

    @app.task
    async def good() -> str:
        return "good"

    async with app:
        before = await bad.enqueue()
        await app.strike("bad")
        async with working(app):
            sent = await asyncio.gather(
                good.enqueue(), bad.enqueue(), good.enqueue(), return_exceptions=True
            )
            assert [type(one).__name__ for one in sent] == ["Job", "TaskStruck", "Job"]
            with pytest.raises(TaskStruck, match="taskq task unstrike bad"):
                await asyncio.to_thread(bad.enqueue_sync)
            with pytest.raises(TaskStruck):
                await app.enqueue_many([good.s(), bad.s()])
            await parked(app, raw, 1)

            await app.unstrike("bad")
            assert await before.result(timeout=5) == "bad"
            assert await (await bad.enqueue()).result(timeout=5) == "bad"
    assert of_limits(app, raw) == []


async def test_a_paused_queue_of_partitions_is_paused_as_a_whole(app: TaskQ) -> None:
    app.queue("default", partitions=3)

    @app.task
    async def work(n: int) -> int:
        return n

    async with app, working(app):
        await app.pause_queue("default")
        jobs = await app.enqueue_many([work.s(n) for n in range(12)])
        await take(0.3)
        assert {info.state for info in await app.infos(jobs) if info} == {"ready"}

        assert await app.resume_queue("default") is True
        assert await app.results(jobs, timeout=10) == list(range(12))
        await app.pause_task("work")
        more = await app.enqueue_many([work.s(n) for n in range(12)])
        await asyncio.to_thread(app.resume_task_sync, "work")
        await app.results(more, timeout=10)


async def test_a_limit_that_cannot_be_filled_in_is_refused_before_anything_is_sent(
    app: TaskQ, raw: redis.Redis
) -> None:
    @app.task(limits=[Limit("t:{tenant}", concurrency=1)])
    async def work(tenant: str | None) -> None: ...

    async with app:
        with pytest.raises(InvalidOption, match="argument tenant is None"):
            await work.enqueue(None)
    assert list(raw.scan_iter(f"{app.settings.namespace}:*")) == []


async def test_limits_that_only_a_schedule_names_are_written_by_workers(
    app: TaskQ, raw: redis.Redis
) -> None:
    @app.task
    async def work() -> None: ...

    app.prepare(work.options(limits=[Limit("named", concurrency=1)]).s())
    async with app, working(app):
        key = QueueKeys(app.settings.namespace, "default").limits
        assert raw.hgetall(key) == {b"named": b"concurrency=1 on=job"}
    assert app.limits.pending == {}
