"""How workers wait for wake-ups: what they wait for changes, and no token is lost."""

from __future__ import annotations

import asyncio

import redis

from taskq import commands
from taskq.address import Address
from taskq.keys import QueueKeys
from taskq.store import Store
from taskq.stores import open_store
from tests.helpers import eventually
from tests.integration.conftest import MakeApp
from tests.integration.test_processes import adopt
from tests.integration.workers import calls, idle, since, working
from tests.servers import Server


def blocked(raw: redis.Redis) -> int:
    return int(raw.info("clients")["blocked_clients"])  # type: ignore[index]


async def test_a_wait_that_is_ended_leaves_its_connection_to_the_next(
    server: Server, raw: redis.Redis, namespace: str
) -> None:
    keys, store = QueueKeys(namespace, "default"), open_store(Address.parse(server.url))
    await store.run(commands.plain("PING", parse=str))
    for _ in range(3):
        waiting = asyncio.ensure_future(store.wait_for_wake([keys.wake], 5))
        await eventually(lambda: blocked(raw) == 1)
        before = int(raw.info("stats")["total_connections_received"])  # type: ignore[index]

        await store.end_wait()

        assert await waiting is None
    assert int(raw.info("stats")["total_connections_received"]) == before  # type: ignore[index]
    await store.close()


async def test_a_wait_may_be_ended_before_it_is_sent_or_when_there_is_none(
    server: Server, namespace: str
) -> None:
    keys, store = QueueKeys(namespace, "default"), open_store(Address.parse(server.url))
    await store.end_wait()
    await store.connect()

    waiting = asyncio.ensure_future(store.wait_for_wake([keys.wake], 5))
    await asyncio.sleep(0)
    await store.end_wait()

    assert await asyncio.wait_for(waiting, 3) is None
    await store.close()


async def test_no_token_is_lost_when_it_comes_as_the_wait_is_ended(
    server: Server, raw: redis.Redis, namespace: str
) -> None:
    keys, store = QueueKeys(namespace, "default"), open_store(Address.parse(server.url))
    heard = 0
    for _ in range(100):
        waiting = asyncio.ensure_future(store.wait_for_wake([keys.wake], 5))
        await asyncio.sleep(0)
        push = store.run(commands.plain("RPUSH", keys.wake, "1", parse=int))
        await asyncio.gather(push, store.end_wait())
        heard += await waiting is not None
        heard += int(await store.run(commands.plain("LPOP", keys.wake, parse=bool)))
    await store.close()

    assert heard == 100
    assert not raw.exists(keys.wake)


async def test_a_server_that_refuses_to_end_waits_costs_a_connection_only(
    server: Server, raw: redis.Redis, namespace: str
) -> None:
    raw.execute_command(
        "ACL", "SETUSER", "shy", "on", ">pw", "~*", "&*", "+@all", "-client|unblock"
    )
    try:
        address = Address.parse(server.url)
        store = open_store(address)
        await _as_shy(store)
        keys = QueueKeys(namespace, "default")
        waiting = asyncio.ensure_future(store.wait_for_wake([keys.wake], 5))
        await eventually(lambda: blocked(raw) == 1)

        await store.end_wait()

        await asyncio.wait([waiting], timeout=3)
        assert waiting.done()
        assert waiting.exception() is not None
        await eventually(lambda: blocked(raw) == 0)
        await store.close()
    finally:
        raw.execute_command("ACL", "DELUSER", "shy")


async def _as_shy(store: Store) -> None:
    await store.run(commands.plain("AUTH", "shy", "pw", parse=str))


async def test_a_worker_listens_for_process_jobs_only_while_a_process_is_free(
    make_app: MakeApp, raw: redis.Redis, namespace: str
) -> None:
    """When one becomes free the wait is renewed, not the connection."""
    app = make_app(process_slots=1)
    tasks = adopt(app, "pid")
    keys = QueueKeys(namespace, "default")

    async with app, working(app) as worker:
        await idle(worker)
        assert keys.wake_of("process") in worker.pump.ears._heard
        taken = worker.runner.processes.take()
        raw.rpush(keys.wake, "1")  # it listens anew
        await eventually(lambda: keys.wake_of("process") not in worker.pump.ears._heard)
        await eventually(lambda: worker.pump.idle and blocked(raw) == 1)
        before = calls(raw)

        worker.runner.processes.give_back(taken)
        worker.pump.heat()
        await eventually(lambda: keys.wake_of("process") in worker.pump.ears._heard)
        # Counted now: the job's end frees the process again, and may renew the wait once more.
        assert since(raw, before).get("client|unblock", 0) == 1
        assert await (await tasks.pid.enqueue(1)).result(timeout=5)
