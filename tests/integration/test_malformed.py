"""Every kind of nonsense in the keys of a queue that a worker serves: the worker stays up, other
jobs flow, the doctor names it, repair mends it or sets it aside, and then everything flows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
import redis

from taskq import TaskQ
from taskq.audit import audit_all, repair
from taskq.keys import TYPES, QueueKeys
from taskq.store import Store
from taskq.worker.worker import Worker
from tests.helpers import eventually
from tests.integration.chores import take
from tests.integration.conftest import MakeApp
from tests.integration.workers import working

pytestmark = [
    pytest.mark.parametrize("server", ["valkey"], indirect=True),
    pytest.mark.keeps_keys("quarantine is kept on purpose"),
]
ODD = b"\xff\xfe\x00"
PAYLOAD = b"\x90"


class Shop(NamedTuple):
    """A worker of two queues: one that gets broken, and one that must go on."""

    app: TaskQ
    worker: Worker
    task: Any
    hold: Any
    keys: QueueKeys
    raw: redis.Redis
    store: Store

    async def runs(self, queue: str, timeout: float = 5.0) -> None:
        job = await self.task.options(queue=queue).enqueue()
        assert await job.result(timeout=timeout) == 1

    async def codes(self) -> set[str]:
        return set((await audit_all(self.store, self.keys)).counts)

    async def mend(self) -> None:
        async for _ in repair(self.store, self.keys, self.app.settings):
            pass
        assert await self.codes() == set()


@pytest_asyncio.fixture
async def shop(
    make_app: MakeApp, async_store: Store, raw: redis.Redis, namespace: str
) -> AsyncIterator[Shop]:
    app = make_app(heartbeat=0.2, heartbeat_ttl=2.0, grace=0.5)

    @app.task
    async def one() -> int:
        return 1

    @app.task
    async def hold(seconds: float) -> None:
        await take(seconds)

    async with app, working(app, queues=["bad", "good"]) as worker:
        found = Shop(app, worker, one, hold, QueueKeys(namespace, "bad"), raw, async_store)
        await found.runs("bad")
        yield found


def key_of(name: str, shop: Shop) -> str:
    """A key of the queue that has, or could have, something in it now."""
    rest = {"job:": "x", "ready:": "gpu", "stats:": "28333333"}.get(name, shop.worker.id)
    return shop.keys.prefix + name + (rest if name.endswith(":") else "")


def overwrite(raw: redis.Redis, key: str, kind: str) -> None:
    raw.delete(key)
    if kind == "string":
        raw.sadd(key, "oops")
    else:
        raw.set(key, "oops")


@pytest.mark.parametrize("name", sorted(TYPES))
async def test_a_key_of_another_type(shop: Shop, name: str) -> None:
    held = await shop.hold.options(queue="bad").enqueue(0.3)
    await eventually(lambda: shop.worker.runner.running)
    overwrite(shop.raw, key_of(name, shop), TYPES[name])

    for _ in range(3):
        await shop.runs("good")
    if name != "alive:":  # the next heartbeat has mended it
        assert "wrong-type" in await shop.codes()
    await shop.mend()
    await shop.runs("bad", timeout=20)

    await held.result(timeout=20)
    assert await shop.codes() == set()


def odd_ready(shop: Shop) -> None:
    shop.raw.hset(
        shop.keys.job_prefix.encode() + ODD,
        mapping={"state": "ready", "task": "one", "payload": PAYLOAD},
    )
    shop.raw.zadd(shop.keys.ready, {ODD: 1})


async def test_a_ready_job_whose_id_is_no_text_is_dead_and_the_queue_goes_on(shop: Shop) -> None:
    odd_ready(shop)

    await shop.runs("bad")
    await eventually(lambda: shop.raw.zscore(shop.keys.dead, ODD) is not None)

    key = shop.keys.job_prefix.encode() + ODD
    assert shop.raw.hmget(key, "state", "reason") == [b"dead", b"bad_payload"]
    assert await shop.codes() == {"bad-name"}
    await shop.mend()
    assert not shop.raw.exists(key)
    await shop.runs("bad")


@pytest.mark.parametrize("index", ["ready", "scheduled", "retry", "running", "dead", "done"])
async def test_an_id_that_is_no_text_in_any_index(shop: Shop, index: str) -> None:
    """With a record in the state of that index, and without one."""
    key = shop.keys.running(shop.worker.id) if index == "running" else shop.keys.prefix + index
    fields = {"state": index, "task": "one", "payload": PAYLOAD, "worker": shop.worker.id}
    shop.raw.hset(shop.keys.job_prefix.encode() + ODD, mapping=fields)
    shop.raw.zadd(key, {ODD: 1, ODD + b"2": 1})

    for queue in ("bad", "good", "bad"):
        await shop.runs(queue)
    assert "bad-name" in await shop.codes()
    await shop.mend()
    await shop.runs("bad")


@pytest.mark.parametrize("score", [float("inf"), float("-inf"), 1e300, -1e300])
@pytest.mark.parametrize("state", ["ready", "scheduled", "retry"])
async def test_a_score_that_is_no_rank_and_no_time(shop: Shop, state: str, score: float) -> None:
    shop.raw.hset(shop.keys.job("x"), mapping={"state": state, "task": "one", "payload": PAYLOAD})
    shop.raw.zadd(shop.keys.prefix + state, {"x": score})

    await shop.runs("bad")
    await shop.mend()
    await shop.runs("bad")

    await eventually(lambda: shop.raw.hget(shop.keys.job("x"), "state") == b"completed")


HUGE = b"9" * 5000
NUMBERS = (
    "priority", "deadline_ms", "attempt", "crashes", "token", "timeout_ms", "retries", "backoff",
    "result_ttl_ms", "rank", "enqueued_ms", "started_ms",
)  # fmt: skip
#: Fields of a ready job.
GARBAGE: dict[str, dict[str, bytes | str]] = {
    "nothing": {},
    "numbers that are words": dict.fromkeys(NUMBERS, "many"),
    "numbers that are not finite": dict.fromkeys(
        ("priority", "deadline_ms", "attempt", "crashes", "timeout_ms", "rank"), "nan"
    ),
    "numbers too large": dict.fromkeys(
        ("priority", "deadline_ms", "attempt", "crashes", "timeout_ms", "retries"), HUGE
    ),
    "numbers below": dict.fromkeys(("priority", "attempt", "timeout_ms", "result_ttl_ms"), "-7"),
    "bytes": dict.fromkeys(
        ("on_miss", "class", "worker", "headers", "retry_on", "backoff", "waiters", "note"), ODD
    ),
    "a token that is none": {"token": "nan"},
    "a task that is no name": {"task": ODD},
    "a task that is huge": {"task": b"t" * 100_000},
    "no task": {"task": ""},
    "a payload that is none": {"payload": ODD},
    "a payload that is huge": {"payload": b"\xc6" + b"\xff" * 2_000_000},
    "fields nobody knows": {"f" * 100_000: "x", "id": "other", b"\xff".decode("latin-1"): "y"},
    "many fields": {f"f{n}": "x" for n in range(5000)},
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_a_ready_job_whose_fields_are_garbage(shop: Shop, kind: str) -> None:
    fields = {"state": "ready", "task": "one", "payload": PAYLOAD, **GARBAGE[kind]}
    shop.raw.hset(shop.keys.job("x"), mapping=fields)
    shop.raw.zadd(shop.keys.ready, {"x": 1})

    for queue in ("bad", "good", "bad"):
        await shop.runs(queue)
    await shop.mend()
    await shop.runs("bad")

    ended = (b"completed", b"dead", b"retry", None)
    await eventually(lambda: shop.raw.hget(shop.keys.job("x"), "state") in ended)


@pytest.mark.parametrize("kind", [kind for kind in GARBAGE if kind != "many fields"])
async def test_a_job_held_by_the_worker_whose_fields_are_garbage(shop: Shop, kind: str) -> None:
    """A lapse makes the worker ask what it holds, and adopt it."""
    fields = {"task": "one", "payload": PAYLOAD, **GARBAGE[kind]}
    fields |= {"state": "running", "worker": shop.worker.id}
    shop.raw.hset(shop.keys.job("x"), mapping=fields)
    shop.raw.zadd(shop.keys.running(shop.worker.id), {"x": 1})
    for line in shop.worker.lines:
        line.unsure = True
    shop.worker.pump.ring()

    for queue in ("bad", "good", "bad"):
        await shop.runs(queue)
    await shop.mend()
    await shop.runs("bad")
    shop.raw.zrem(shop.keys.running(shop.worker.id), "x")
    shop.raw.delete(shop.keys.job("x"))


SETS: dict[str, Callable[[Shop], object]] = {
    "holders": lambda s: s.raw.sadd(s.keys.holders, ODD, "x" * 100_000, ""),
    "classes": lambda s: s.raw.sadd(s.keys.classes, ODD, "x" * 100_000, ""),
    "cancels": lambda s: s.raw.sadd(s.keys.cancels(s.worker.id), ODD, "", "gone"),
    "suspects": lambda s: s.raw.hset(s.keys.suspects, mapping={ODD: "x", s.worker.id: "nan"}),
    "wake": lambda s: s.raw.rpush(s.keys.wake, ODD, *["x"] * 500),
    "meta": lambda s: s.raw.hset(
        s.keys.meta,
        mapping={"policy": ODD, "horizon_ms": "nan", "patience_ms": "inf", "reaped_ms": HUGE},
    ),
    "stats": lambda s: s.raw.hset(s.keys.stats, mapping={"claimed": "x", "completed": HUGE}),
}


@pytest.mark.parametrize("name", SETS)
async def test_members_that_are_garbage(shop: Shop, name: str) -> None:
    SETS[name](shop)

    for queue in ("bad", "good", "bad"):
        await shop.runs(queue)
    await shop.mend()
    await shop.runs("bad")
