"""Repair of damage that nobody planned: drawn at random, or done while a worker serves."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis

from taskq import TaskQ
from taskq.audit import audit_all, repair
from taskq.commands import Mend
from taskq.keys import TYPES, QueueKeys
from taskq.store import Store
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.workers import working

pytestmark = pytest.mark.keeps_keys("quarantine is kept on purpose")
ENDED = ("completed", "dead", "expired", "cancelled")
NOW = 1_700_000_000_000


async def mended(store: Store, keys: QueueKeys, app: TaskQ) -> list[Mend]:
    return [mend async for mends in repair(store, keys, app.settings) for mend in mends]


def home(keys: QueueKeys, job: dict[str, str]) -> str | None:
    """Where a job must be, by its own record; None for one that has ended or cannot be read."""
    state = job.get("state", "")
    if state == "ready":
        return keys.ready_of(job.get("class", ""))
    if state == "running":
        return keys.running(job.get("worker", ""))
    return keys.prefix + state if state in ("scheduled", "retry") else None


def seed_queue(raw: redis.Redis, keys: QueueKeys, draw: random.Random) -> None:
    """Forty jobs in all states, as the scripts leave them."""
    raw.sadd(keys.holders, "w1", "w2")
    raw.sadd(keys.classes, "gpu")
    raw.set(keys.alive("w1"), NOW, ex=600)
    for n in range(40):
        state = draw.choice(["ready", "ready", "running", "scheduled", "retry", *ENDED])
        job = {"state": state, "task": "t", "payload": "p", "enqueued_ms": str(NOW - n)}
        if state == "ready" and draw.random() < 0.3:
            job["class"] = "gpu"
        if state == "running":
            job |= {"worker": draw.choice(["w1", "w2"]), "token": "7", "rank": "5"}
        if state in ENDED:
            job["ended_ms"] = str(NOW)
        raw.hset(keys.job(f"j{n}"), mapping=job)
        index = home(keys, job) or (keys.dead if state == "dead" else keys.done)
        raw.zadd(index, {f"j{n}": NOW})
        if state in ENDED:
            raw.expire(keys.job(f"j{n}"), 600)
            raw.expire(index, 600)


def damages(raw: redis.Redis, keys: QueueKeys, draw: random.Random) -> list[Callable[[], Any]]:
    """What somebody with redis-cli, or a server that forgets, may do to a queue."""

    def job() -> str:
        return f"j{draw.randrange(42)}"

    def index() -> str:
        names = ["ready", "ready:gpu", "ready:new", "scheduled", "retry", "dead", "done"]
        names += ["running:w1", "running:w2", "running:w3"]
        return keys.prefix + draw.choice(names)

    def any_key() -> str:
        return keys.prefix + draw.choice([name for name in TYPES if not name.endswith(":")])

    def overwrite(key: str) -> None:
        raw.delete(key)
        kind = draw.choice(["string", "list", "set", "zset", "hash"])
        {
            "string": lambda: raw.set(key, "oops"),
            "list": lambda: raw.rpush(key, "oops"),
            "set": lambda: raw.sadd(key, "oops"),
            "zset": lambda: raw.zadd(key, {"oops": 1}),
            "hash": lambda: raw.hset(key, "oops", "x"),
        }[kind]()

    def quietly(write: Callable[[], Any]) -> Callable[[], None]:
        def attempt() -> None:
            with contextlib.suppress(redis.ResponseError):  # an earlier damage changed the type
                write()

        return attempt

    score = [1.0, float("inf"), float("-inf"), 1e300, NOW]
    garbage = ["", "nan", "-1", "x" * 3000, "\x00\n", "9" * 40]
    field = ["state", "class", "worker", "priority", "attempt", "enqueued_ms", "deadline_ms"]
    odd = [b"\xff\xfe", b"", b"a b", b"\x00", "é".encode(), b"x" * 65]
    return [
        quietly(write)
        for write in (
            lambda: raw.zrem(index(), job()),
            lambda: raw.zrem(index(), job(), job(), job(), job()),
            lambda: raw.zadd(index(), {job(): draw.choice(score)}),
            lambda: raw.zadd(index(), {draw.choice(odd): draw.choice(score)}),
            lambda: raw.delete(keys.job(job())),
            lambda: raw.delete(index()),
            lambda: raw.hset(keys.job(job()), draw.choice(field), draw.choice(garbage)),
            lambda: raw.hset(keys.job(job()), "state", draw.choice([*ENDED, "ready", "running"])),
            lambda: raw.hdel(keys.job(job()), draw.choice(field)),
            lambda: raw.expire(keys.job(job()), 600),
            lambda: raw.persist(keys.job(job())),
            lambda: raw.expire(any_key(), 600),
            lambda: raw.persist(any_key()),
            lambda: overwrite(keys.job(job())),
            lambda: overwrite(any_key()),
            lambda: overwrite(index()),
            lambda: raw.srem(keys.holders, "w1", "w2"),
            lambda: raw.hset(keys.suspects, draw.choice(["w1", "w9"]), "x"),
            lambda: raw.sadd(keys.cancels("w9"), job()),
            lambda: raw.hset(keys.meta, draw.choice(["policy", "max_jobs"]), "many"),
            lambda: raw.hset(
                keys.job_prefix.encode() + draw.choice(odd), mapping={"state": "ready"}
            ),
            lambda: raw.set(keys.prefix + draw.choice(["mine", "job", "running", "x:y"]), 1),
        )
    ]


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("server", ["valkey"], indirect=True)
async def test_any_damage_is_mended_and_no_job_that_can_be_read_is_lost(
    make_app: MakeApp, async_store: Store, raw: redis.Redis, namespace: str, seed: int
) -> None:
    draw = random.Random(seed)
    keys = QueueKeys(namespace, "default")
    app = make_app()
    seed_queue(raw, keys, draw)
    for damage in draw.choices(damages(raw, keys, draw), k=25):
        damage()
    before = jobs_in(raw, keys)

    await mended(async_store, keys, app)

    assert (await audit_all(async_store, keys)).findings == []
    assert await mended(async_store, keys, app) == []
    after = jobs_in(raw, keys)
    states = {"ready", "running", "scheduled", "retry", *ENDED}
    assert {name for name, job in before.items() if job.get("state") in states} == after.keys()
    for name, job in after.items():
        listed = [index for index in indexes(raw, keys) if raw.zscore(index, name) is not None]
        where = home(keys, job)
        if where is not None:
            others = {keys.dead, keys.done}
            assert [index for index in listed if index not in others] == [where], (name, job)


def jobs_in(raw: redis.Redis, keys: QueueKeys) -> dict[str, dict[str, str]]:
    """Every record with a valid id."""
    found = {}
    for key in raw.scan_iter(keys.job_prefix + "*", count=1000):
        name = key[len(keys.job_prefix) :].decode("latin-1")
        if name.isascii() and name.isalnum() and len(name) <= 64 and raw.type(key) == b"hash":
            fields = raw.hgetall(key).items()
            found[name] = {f.decode("latin-1"): v.decode("latin-1") for f, v in fields}
    return found


def indexes(raw: redis.Redis, keys: QueueKeys) -> list[str]:
    names = [key.decode() for key in raw.scan_iter(keys.prefix + "*", count=1000) if key.isascii()]
    return [name for name in names if raw.type(name) == b"zset" and ":quarantine:" not in name]


async def test_repair_while_a_worker_drains_the_queue_loses_nothing_and_runs_nothing_twice(
    make_app: MakeApp, async_store: Store, raw: redis.Redis, namespace: str
) -> None:
    app = make_app(concurrency=20)
    keys = QueueKeys(namespace, "default")
    draw = random.Random(7)
    ran: Counter[int] = Counter()
    spoilt = 0

    @app.task
    async def count(n: int) -> None:
        await take(0.03)
        ran[n] += 1

    async with app:
        jobs = await app.enqueue_many(count.s(n) for n in range(1500))
        ids = [job.id for job in jobs]
        async with working(app):
            while sum(ran.values()) < 1500:
                some = draw.sample(ids, 40)
                spoilt += raw.zrem(keys.ready, *some)
                raw.zadd(draw.choice([keys.retry, keys.scheduled]), {some[0]: NOW, "ghost": 1})
                raw.zadd(keys.ready, {some[1]: 1}, xx=True)
                async for _ in repair(async_store, keys, app.settings):
                    pass
            await mended(async_store, keys, app)
            await app.results(jobs, timeout=30)
        assert (await audit_all(async_store, keys)).findings == []
    assert spoilt > 20, "nothing was spoilt while the queue was busy"
    assert set(ran) == set(range(1500))
    assert {n: times for n, times in ran.items() if times > 1} == {}
