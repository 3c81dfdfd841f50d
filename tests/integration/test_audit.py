"""The audit of whole queues: nothing is found while jobs move, and what is broken is found and
mended.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import pytest
import redis

from taskq import Context, Discard, JobFailed, Retry, TaskQ, commands
from taskq.audit import audit_all, pages, repair
from taskq.commands import Mend
from taskq.keys import QueueKeys
from taskq.store import Store
from taskq.worker.worker import Worker
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.workers import worker_process, working
from tests.servers import Server

JOBS = 8000


async def mended(store: Store, keys: QueueKeys, app: TaskQ) -> list[Mend]:
    return [mend async for mends in repair(store, keys, app.settings) for mend in mends]


async def test_no_audit_finds_anything_while_a_worker_drains_thousands_of_jobs(
    make_app: MakeApp, async_store: Store, namespace: str
) -> None:
    app = make_app(result_ttl=1.0, dead_ttl=1.0, done_max=500, dead_max=50, heartbeat=0.1)
    keys = QueueKeys(namespace, "default")

    @app.task(retries=2, backoff=0.01)
    async def moody(ctx: Context, n: int) -> int:
        if n % 7 == 0 and ctx.attempt == 1:
            raise ValueError("again")
        if n % 11 == 0:
            raise Discard("no use")
        if n % 13 == 0 and ctx.attempt == 1:
            raise Retry(delay=0.02)
        if n % 17 == 0:
            await take(0.01)
        return n

    @app.task
    def threaded(n: int) -> int:
        return n

    audits = 0
    seen = []
    async with app, working(app, queues=["default"]) as worker:
        sending = asyncio.create_task(send(app, moody, threaded))
        left = True
        while left or not sending.done() or worker.runner.running or not worker.pump.idle:
            found = await audit_all(async_store, keys)
            audits += 1
            seen.append(found.jobs + found.entries)
            assert found.findings == []
            counted = (await async_store.run(commands.stats(keys))).jobs
            left = any(counted[state] for state in ("ready", "scheduled", "retry", "running"))
        await sending
    assert audits >= 3
    assert max(seen) > 100, "the audits saw no busy queue"


async def send(app: TaskQ, moody: object, threaded: object) -> None:
    for start in range(0, JOBS, 500):
        jobs = await app.enqueue_many(
            threaded.s(n) if n % 19 == 0 else moody.options(delay=n % 5 / 100).s(n)  # type: ignore[attr-defined]
            for n in range(start, start + 500)
        )
        assert len(jobs) == 500
        for _ in range(10):
            job = await moody.options(delay=3600).enqueue(1)  # type: ignore[attr-defined]
            await job.cancel()


async def test_no_audit_finds_anything_while_workers_die_and_others_take_over(
    make_app: MakeApp, async_store: Store, server: Server, namespace: str, tmp_path: Path
) -> None:
    """Suspects, lost jobs, crashes, the fragile class: no look of the audit falls between."""
    keys = QueueKeys(namespace, "default")
    app = make_app()
    times = {"heartbeat": 0.2, "heartbeat_ttl": 0.7, "grace": 0.3}
    audits = 0
    log = tmp_path / "log"

    @app.task
    async def note(path: str, word: str, seconds: float) -> None:
        pass  # the processes take the one of tests/integration/chores.py

    async def look() -> None:
        nonlocal audits
        while True:
            assert (await audit_all(async_store, keys)).findings == []
            audits += 1
            await asyncio.sleep(0)

    async with app:
        jobs = [await note.enqueue(str(log), str(n), 120.0) for n in range(30)]
        looking = asyncio.create_task(look())
        lines = 0
        for _ in range(3):
            with worker_process(server, namespace, **times) as process:
                await asyncio.to_thread(process.lines, log, lines + 1, 30)
                process.send(signal.SIGKILL)
                await asyncio.to_thread(process.wait)
            lines = len(log.read_text().splitlines())
        async with working(app):
            for job in jobs:
                with contextlib.suppress(JobFailed):
                    await job.result(timeout=30)
        assert not looking.done() or looking.result()
        looking.cancel()
        await asyncio.wait([looking])
    assert audits > 20


@pytest.fixture
def broken(raw: redis.Redis, namespace: str) -> QueueKeys:
    """A queue of many jobs with each kind of damage in it."""
    keys = QueueKeys(namespace, "default")
    raw.sadd(f"{namespace}:queues", "default")
    for n in range(450):
        raw.hset(keys.job(f"h{n}"), mapping={"state": "ready", "task": "one", "payload": b"\x90"})
    for n in range(450):
        raw.zadd(keys.ready, {f"ghost{n}": n})
    raw.zadd(keys.scheduled, {b"\xff\xfe": 5, "h0": 7})
    raw.set(keys.retry, "oops")
    raw.hset(
        keys.job("r"),
        mapping={"state": "running", "task": "one", "worker": "gone", "payload": b"\x90"},
    )
    raw.hset(keys.job("lost"), "state", "???")
    raw.zadd(keys.ready, {"lost": 7})
    raw.set(keys.job("text"), "oops")
    raw.zadd(keys.ready, {"text": 8})
    raw.zadd(keys.ready_of("gpu"), {"h1": 1})
    raw.set(keys.prefix + "mine", "oops")
    raw.zadd(keys.running("w9"), {"h2": 7})
    raw.hset(keys.meta, "max_jobs", "many")
    raw.sadd(keys.cancels("gone"), "a")
    raw.hset(keys.suspects, "gone", 1)
    return keys


@pytest.mark.keeps_keys("quarantine is kept on purpose")
async def test_what_is_broken_is_found_and_mended_and_then_everything_runs(
    app: TaskQ, async_store: Store, broken: QueueKeys, raw: redis.Redis
) -> None:
    @app.task
    async def one() -> None:
        pass

    found = await audit_all(async_store, broken)
    assert found.jobs == 453
    assert dict(found.counts) == {
        "homeless": 451,
        "ghost": 450,
        "bad-name": 1,
        "misplaced": 3,
        "wrong-type": 2,
        "unreadable": 1,
        "unlisted": 1,
        "unknown-owner": 1,
        "bad-field": 1,
        "leftover": 2,
        "stray": 1,
    }

    mends = await mended(async_store, broken, app)

    assert len(mends) >= 900
    assert (await audit_all(async_store, broken)).findings == []
    assert await mended(async_store, broken, app) == []
    aside = {name.partition(b":")[2] for name in raw.hkeys(broken.quarantine)}  # type: ignore[union-attr]
    assert {b"retry", b"job:lost", b"job:text", b"mine"} <= aside
    async with app:
        await Worker(app, burst=True).run()
    assert raw.hget(broken.stats, "completed") == b"451"
    assert (await audit_all(async_store, broken)).findings == []


@pytest.mark.keeps_keys("the wrong type stays")
async def test_an_audit_reads_only(async_store: Store, broken: QueueKeys, raw: redis.Redis) -> None:
    before = {key: raw.dump(key) for key in raw.scan_iter(broken.prefix + "*")}

    await audit_all(async_store, broken)

    assert {key: raw.dump(key) for key in raw.scan_iter(broken.prefix + "*")} == before
    raw.delete(broken.prefix + "mine")


async def test_queues_whose_names_look_like_patterns_or_prefixes_are_kept_apart(
    async_store: Store, raw: redis.Redis, namespace: str
) -> None:
    one, other = QueueKeys(namespace, "a.b"), QueueKeys(namespace, "a.bc")
    raw.set(one.meta, 1, ex=60)
    raw.set(other.meta, 1, ex=60)

    names = [name async for page in pages(async_store, one) for name in page]

    assert names == [b"meta"]
