"""Servers that cannot be used: each gets the right error, in one line, without its password."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from taskq import TaskQ
from taskq.errors import (
    ServerUnsupported,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    TaskqError,
)
from taskq.keys import QueueKeys
from taskq.worker.worker import Worker
from tests.helpers import eventually
from tests.integration.outage import impostor, restartable
from tests.integration.workers import quick, working
from tests.servers import Server, redis_binary, valkey_binary


def app_at(url: str, **settings: object) -> tuple[TaskQ, Any]:
    app = TaskQ(
        url, **quick("refused", **{"connect_timeout": 2.0, "socket_timeout": 1.0, **settings})
    )

    @app.task
    async def one() -> int:
        return 1

    return app, one


async def errors_of(app: TaskQ, task: Any) -> list[TaskqError]:
    """What an async producer, a blocking producer and a worker are told."""
    found: list[TaskqError] = []
    worker = Worker(app)
    for attempt in (task.enqueue, lambda: asyncio.to_thread(task.enqueue_sync), worker.run):
        with pytest.raises(TaskqError) as caught:
            await attempt()
        found.append(caught.value)
    await app.close()
    return found


def one_line(error: TaskqError) -> str:
    assert "\n" not in str(error)
    assert "secret" not in str(error)
    return str(error)


async def test_nothing_listening_there() -> None:
    app, task = app_at("redis://user:secret@127.0.0.1:1/0")

    for error in await errors_of(app, task):
        assert type(error) is StoreUnavailable
        assert "127.0.0.1:1" in one_line(error)
        assert "is it running" in str(error)


async def test_a_socket_path_that_does_not_exist() -> None:
    app, task = app_at("unix:///tmp/no-such-folder/redis.sock")

    for error in await errors_of(app, task):
        assert type(error) is StoreUnavailable
        assert "/tmp/no-such-folder/redis.sock" in one_line(error)


@pytest.mark.parametrize(
    ("login", "says"),
    [
        ("default:secret-wrong", "check user name and password"),
        ("nobody:secret-wrong", "check user name and password"),
        ("", "give the password in the URL"),
    ],
)
async def test_a_wrong_or_missing_password(login: str, says: str) -> None:
    binary = valkey_binary()
    assert binary is not None
    with restartable(binary, "--requirepass", "secret-right") as server:
        at = f"{login}@" if login else ""
        app, task = app_at(f"unix://{at}{server.path}")

        for error in await errors_of(app, task):
            assert type(error) is StoreRefused
            assert says in one_line(error)


async def test_the_right_password_lets_everybody_in() -> None:
    binary = valkey_binary()
    assert binary is not None
    with restartable(binary, "--requirepass", "se:cr@t/#%") as server:
        app, task = app_at(f"unix://:se%3Acr%40t%2F%23%25@{server.path}")
        await task.enqueue()
        job = await asyncio.to_thread(task.enqueue_sync)
        await Worker(app, burst=True).run()

        assert await job.result(timeout=5) == 1
        await app.close()


def hello(server: str, version: str) -> bytes:
    words = ["server", server, "version", version, "proto"]
    return b"*6\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(w), w.encode()) for w in words) + b":2\r\n"


async def test_a_redis_that_is_too_old() -> None:
    with impostor(hello("redis", "6.2.14")) as url:
        app, task = app_at(url)

        with pytest.raises(ServerUnsupported, match=r"redis 6\.2\.14 .* too old: .* Redis >= 7\.0"):
            await task.enqueue()
        await app.close()


async def test_a_redis_too_old_for_hello() -> None:
    with impostor(b"-ERR unknown command `HELLO`, with args beginning with: `2`\r\n") as url:
        app, task = app_at(url)

        with pytest.raises(ServerUnsupported, match="too old"):
            await task.enqueue()
        await app.close()


async def test_something_that_is_no_redis() -> None:
    with impostor(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        app, task = app_at(url)

        for error in await errors_of(app, task):
            assert isinstance(error, StoreError)
            one_line(error)


async def test_something_that_never_answers() -> None:
    with impostor(b"") as url:
        app, _ = app_at(url, socket_timeout=0.3)

        with pytest.raises(StoreUnavailable, match=r"no answer within 0\.3 s"):
            await app.client.store.connect()
        await app.close()


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_worker_refuses_a_server_that_may_drop_jobs(policy: str) -> None:
    for binary in filter(None, [valkey_binary(), redis_binary()]):
        with restartable(binary, "--maxmemory-policy", policy) as server:
            app, _ = app_at(server.url)

            with pytest.raises(ServerUnsupported, match=f"{policy}.*noeviction") as caught:
                await Worker(app).run()

            one_line(caught.value)
            await app.close()


async def test_a_full_server_refuses_new_jobs_and_lets_the_old_ones_end() -> None:
    binary = valkey_binary()
    assert binary is not None
    with restartable(binary) as server:
        app, task = app_at(server.url)
        async with app, working(app):
            job = await task.options(delay=0.5).enqueue()
            client = server.client()
            client.config_set("maxmemory", "1mb")

            with pytest.raises(StoreUnavailable, match="out of memory"):
                await task.enqueue()
            with pytest.raises(StoreUnavailable, match="out of memory"):
                await asyncio.to_thread(task.enqueue_sync)

            await eventually(lambda: client.hget(job_key(job.id), "state") == b"completed")
            client.config_set("maxmemory", "0")
            assert await job.result(timeout=5) == 1
            client.close()


async def test_a_worker_starts_on_a_full_server_and_empties_its_queue() -> None:
    binary = valkey_binary()
    assert binary is not None
    with restartable(binary) as server:
        app, task = app_at(server.url)
        client = server.client()
        try:
            job = await task.enqueue()
            client.config_set("maxmemory", "1mb")

            await Worker(app, burst=True).run()

            assert client.hget(job_key(job.id), "state") == b"completed"
        finally:
            client.close()
            await app.close()


def job_key(job_id: str) -> str:
    return QueueKeys("refused", "default").job(job_id)


async def test_a_key_of_another_type_in_the_way_is_told_and_nothing_is_changed(
    server: Server, namespace: str, raw: redis.Redis
) -> None:
    app = TaskQ(server.url, **quick(namespace))

    @app.task
    async def one() -> int:
        return 1

    raw.set(QueueKeys(namespace, "default").ready, "mine", ex=60)
    with pytest.raises(StoreRefused, match="holds another type"):
        await one.enqueue()
    with pytest.raises(StoreRefused, match="holds another type"):
        await asyncio.to_thread(one.enqueue_sync)

    assert not [*raw.scan_iter(f"{namespace}:*:job:*")]
    await app.close()
