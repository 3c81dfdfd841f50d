"""A Redis user who lacks a right: workers, producers and commands are told before anything is
written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis

from taskq import TaskQ
from taskq.errors import StoreRefused
from taskq.keys import QueueKeys
from taskq.worker.worker import Worker
from tests.helpers import dump_queue
from tests.integration.workers import calls, quick, since
from tests.servers import Server

pytestmark = pytest.mark.keeps_keys("jobs that nobody may run")


@pytest.fixture
def login(server: Server, raw: redis.Redis, namespace: str) -> Iterator[Callable[..., str]]:
    """Make a user with all rights but these; the URL that logs in as it."""

    def make(*without: str) -> str:
        words = ("reset", "on", ">pw", "~*", "&*", "+@all", *without)
        raw.execute_command("ACL", "SETUSER", namespace, *words)
        return f"unix://{namespace}:pw@{server.path}"

    yield make
    raw.execute_command("ACL", "DELUSER", namespace)


def app_at(url: str, namespace: str) -> tuple[TaskQ, Any]:
    app = TaskQ(url, **quick(namespace))

    @app.task
    async def one() -> int:
        return 1

    return app, one


async def refusal(attempt: Callable[[], Awaitable[object]]) -> str:
    with pytest.raises(StoreRefused) as caught:
        await attempt()
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_a_worker_and_producers_that_lack_one_command_are_told_and_write_nothing(
    login: Callable[..., str], raw: redis.Redis, namespace: str
) -> None:
    app, one = app_at(login("-zadd"), namespace)
    worker = Worker(app)
    try:
        for attempt in (worker.run, one.enqueue, lambda: asyncio.to_thread(one.enqueue_sync)):
            text = await refusal(attempt)

            assert f"user '{namespace}' may not run ZADD" in text
            assert f"ACL SETUSER {namespace} +zadd" in text
            assert dump_queue(raw, f"{namespace}:") == {}
    finally:
        await app.close()


async def test_a_user_without_the_queues_keys_is_told_the_pattern(
    login: Callable[..., str], raw: redis.Redis, namespace: str
) -> None:
    app, one = app_at(login("resetkeys", f"~{namespace}:*", f"~{namespace}:{{other}}:*"), namespace)
    raw.execute_command("ACL", "SETUSER", namespace, "resetkeys", f"~{namespace}:queues")
    try:
        text = await refusal(one.enqueue)
    finally:
        await app.close()

    assert f"~{QueueKeys(namespace, 'default').prefix}*" in text
    assert dump_queue(raw, f"{namespace}:") == {}


async def test_who_may_enqueue_but_not_revive_is_told_when_it_revives(
    login: Callable[..., str], raw: redis.Redis, namespace: str
) -> None:
    """Only enqueue is asked about at first: a producer needs no more rights than it uses."""
    app, one = app_at(login("-persist"), namespace)
    try:
        job = await one.enqueue()
        before = dump_queue(raw, f"{namespace}:")

        assert "may not run PERSIST, which script revive needs" in await refusal(job.retry)
        assert "which script revive needs" in await refusal(
            lambda: asyncio.to_thread(job.retry_sync)
        )
        assert dump_queue(raw, f"{namespace}:") == before
    finally:
        await app.close()


async def test_it_is_asked_once_for_each_queue_and_process(
    login: Callable[..., str], raw: redis.Redis, namespace: str
) -> None:
    app, one = app_at(login(), namespace)
    try:
        await one.enqueue()
        before = calls(raw)
        for _ in range(5):
            await one.enqueue()

        assert since(raw, before).get("evalsha") == 5
    finally:
        await app.close()
