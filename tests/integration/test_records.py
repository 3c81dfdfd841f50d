"""What is in Redis but should not be, and what should not stay: malformed records, and the
keyspace after the work.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from taskq import JobFailed, TaskQ
from taskq.keys import QueueKeys
from tests.helpers import dump_queue, eventually
from tests.integration.conftest import MakeApp
from tests.integration.workers import idle, working


@pytest.fixture
def keys(namespace: str) -> QueueKeys:
    return QueueKeys(namespace, "default")


@pytest.fixture
def one(app: TaskQ) -> Any:
    @app.task
    async def one(n: int = 1) -> int:
        return n

    return one


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "bad_payload"),
        (b"\x80\x04\x95", "bad_payload"),
        (b"\xc1", "bad_payload"),
        (b"\x93\x01\x02\x03", "bad_payload"),
        (b"\xc7\x01\x63\x00", "bad_payload"),
        (b"\xdd\xff\xff\xff\xff", "bad_payload"),
        (None, "bad_arguments"),
    ],
)
async def test_a_payload_nobody_can_read_or_use_makes_the_job_dead_at_once(
    app: TaskQ, one: Any, raw: redis.Redis, keys: QueueKeys, payload: bytes | None, reason: str
) -> None:
    async with app:
        job = await one.enqueue()
        if payload is None:
            payload = app.codec.encode_call((1, 2, 3), {}, limit=1000)
        raw.hset(keys.job(job.id), "payload", payload)

        async with working(app):
            with pytest.raises(JobFailed) as caught:
                await job.result(timeout=5)

            assert caught.value.reason == reason
            assert await (await one.enqueue(2)).result(timeout=5) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"task": "../../etc"},
        {"task": "os.system"},
        {"task": ""},
        {"task": b"\xff\xfe"},
        {"timeout_ms": "soon"},
        {"retries": "many", "backoff": "??", "retry_on": "\n"},
        {"attempt": "NaN", "priority": "x", "deadline_ms": "never"},
        {"headers": b"\xc1"},
        {"result_ttl_ms": "x"},
        {"token": "abc"},
        {b"\xff": b"\xff"},
    ],
)
async def test_a_malformed_record_never_stops_a_worker(
    app: TaskQ, one: Any, raw: redis.Redis, keys: QueueKeys, fields: dict[Any, Any]
) -> None:
    async with app:
        job = await one.enqueue()
        raw.hset(keys.job(job.id), mapping=fields)

        async with working(app) as worker:
            after = [await one.enqueue(n) for n in range(5)]

            assert await app.results(after, timeout=5) == [*range(5)]
            await idle(worker)
            assert worker.runner.running == {}
    if raw.ttl(keys.job(job.id)) == -1:  # given back for a worker that knows the task
        raw.delete(keys.job(job.id), *raw.scan_iter(f"{keys.ready}:*"))


async def test_ids_without_a_record_or_with_another_type_are_passed_over(
    app: TaskQ, one: Any, raw: redis.Redis, keys: QueueKeys
) -> None:
    async with app:
        raw.zadd(keys.ready, {"ghost": 1, "list": 2, "running": 3})
        raw.zadd(keys.scheduled, {"ghost2": 1})
        raw.rpush(keys.job("list"), "x")
        raw.expire(keys.job("list"), 60)
        job = await one.enqueue()

        async with working(app) as worker:
            assert await job.result(timeout=5) == 1
            await idle(worker)

    assert raw.zcard(keys.ready) == 0
    assert raw.zcard(keys.scheduled) == 0


async def test_a_record_whose_result_is_damaged_gives_a_clear_error(
    app: TaskQ, one: Any, raw: redis.Redis, keys: QueueKeys
) -> None:
    async with app, working(app):
        job = await one.enqueue()
        await job.result(timeout=5)
        raw.hset(keys.job(job.id), "result", b"\xc1")

        with pytest.raises(ValueError, match=r"result|payload|bytes"):
            await job.result(timeout=5)


async def test_after_the_work_and_its_retention_the_keyspace_is_as_before(
    make_app: MakeApp, raw: redis.Redis, namespace: str
) -> None:
    app = make_app(result_ttl=0.4, dead_ttl=1.0)

    @app.task(retries=1, backoff=0)
    async def work(n: int) -> int:
        if n % 5 == 0:
            raise ValueError(n)
        return n

    async with app:
        async with working(app) as worker:
            jobs = await app.enqueue_many(work.s(n) for n in range(100))
            late = await work.options(delay=60).enqueue(1)
            await late.cancel()
            await app.named("foreign").options(delay=60, id="foreign").enqueue()
            await app.job("foreign").cancel()
            gone = await work.options(deadline=0.001).enqueue(3)
            ends = await asyncio.gather(
                *(job.result(timeout=5) for job in [*jobs, gone]), return_exceptions=True
            )
            errors = {type(end).__name__ for end in ends if isinstance(end, Exception)}
            assert errors <= {"JobFailed", "JobExpired", "ResultExpired"}
            await idle(worker)

        def left() -> set[str]:
            return {name.partition("}:")[2] or name for name in dump_queue(raw, f"{namespace}:")}

        await eventually(
            lambda: not [name for name in left() if name.startswith(("job", "do", "de"))]
        )

        names = {name for name in left() if not name.startswith("stats:")}
    assert names <= {"meta", "stats", "classes", "wake", "queues", "averages", "slacks"}
    assert raw.llen(QueueKeys(namespace, "default").wake) <= 4


async def test_ended_jobs_are_kept_up_to_a_number(
    make_app: MakeApp, raw: redis.Redis, keys: QueueKeys
) -> None:
    app = make_app(done_max=20, dead_max=10)

    @app.task(retries=0)
    async def work(fail: bool) -> None:
        if fail:
            raise ValueError("no")

    async with app, working(app) as worker:
        await app.enqueue_many(work.s(n % 2 == 0) for n in range(200))
        await eventually(lambda: worker.runner.done + worker.runner.failed == 200)
        await idle(worker)

        assert raw.zcard(keys.done) == 20
        assert raw.zcard(keys.dead) == 10
        assert len([*raw.scan_iter(f"{keys.job_prefix}*", count=1000)]) == 30
