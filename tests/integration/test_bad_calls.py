"""Calls that are refused where they are made: in one line, with nothing enqueued."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis

from taskq import TaskQ
from taskq.errors import (
    ConfigError,
    InvalidArguments,
    InvalidName,
    InvalidOption,
    PayloadTooLarge,
    SerializationError,
)
from taskq.task import PlainTask
from tests.helpers import dump_queue
from tests.integration.conftest import MakeApp
from tests.integration.test_calls import add_to
from tests.integration.workers import working


@pytest.mark.parametrize("args", [((), {}), ((1, 2, 3), {}), ((1,), {"c": 2}), ((1,), {"a": 1})])
async def test_wrong_arguments_fail_in_the_producer_and_name_the_task(
    app: TaskQ, args: Any, raw: redis.Redis, namespace: str
) -> None:
    add: Any = add_to(app)

    with pytest.raises(InvalidArguments, match=r"^add") as caught:
        await add.enqueue(*args[0], **args[1])
    for call in (add.s, add.enqueue_sync, add.options(priority=1).s):
        with pytest.raises(InvalidArguments):
            call(*args[0], **args[1])

    assert "\n" not in str(caught.value)
    assert dump_queue(raw, f"{namespace}:") == {}


async def test_an_argument_that_cannot_travel_is_named_by_its_path_and_nothing_is_enqueued(
    app: TaskQ, raw: redis.Redis, namespace: str
) -> None:
    @app.task
    async def keep(box: object) -> None: ...

    async with app:
        with pytest.raises(
            SerializationError, match=r"argument #1\['inner'\]\[1\]: a threading.Lock"
        ) as caught:
            await keep.enqueue({"inner": [1, threading.Lock()]})
        with pytest.raises(SerializationError):
            await app.enqueue_many([keep.s(1), keep.s(lambda: 1)])

    assert "\n" not in str(caught.value)
    assert dump_queue(raw, f"{namespace}:") == {}


async def test_a_payload_of_the_limit_goes_and_one_byte_more_does_not(
    make_app: MakeApp, raw: redis.Redis, namespace: str
) -> None:
    app = make_app(max_payload=1000)

    @app.task
    async def keep(data: bytes) -> int:
        return len(data)

    most = 1000 - (len(app.codec.encode_call((b"x" * 900,), {}, limit=1000)) - 900)
    async with app:
        with pytest.raises(PayloadTooLarge, match="1,001 bytes, over the limit of 1,000"):
            await keep.enqueue(b"x" * (most + 1))
        assert dump_queue(raw, f"{namespace}:") == {}

        async with working(app):
            assert await (await keep.enqueue(b"x" * most)).result(timeout=5) == most


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"priority": 10}, "priority=10"),
        ({"priority": 1.5}, "priority=1.5"),
        ({"priority": True}, "priority=True"),
        ({"priority": float("nan")}, "priority=nan"),
        ({"priority": "high"}, "priority='high'"),
        ({"delay": -5}, "delay=-5"),
        ({"delay": float("inf")}, "delay=inf"),
        ({"delay": "5 minutes"}, "delay='5 minutes'"),
        ({"timeout": 0}, "timeout=0"),
        ({"retries": -1}, "retries=-1"),
        ({"retries": "3"}, "retries='3'"),
        ({"on_miss": "drop"}, "on_miss='drop'"),
        ({"deadline": 0}, "deadline=0"),
        ({"result_ttl": -1}, "result_ttl=-1"),
        ({"headers": {"a": 1}}, "headers"),
        ({"backoff": "fast"}, "backoff"),
        ({"backoff": lambda n, e: 1}, "backoff"),
        ({"retry_on": "ValueError"}, "retry_on"),
        ({"speed": 1}, "unknown option 'speed'"),
    ],
)
def test_an_option_out_of_range_is_refused_in_one_line(words: Any, says: str) -> None:
    add: Any = add_to(TaskQ())

    with pytest.raises(InvalidOption) as caught:
        add.options(**words)

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", "a b", "a:b", "a}", "{a", "*", "../x", "x" * 65, "a\0", "\N{SNOWMAN}"]
)
def test_a_bad_name_is_refused_wherever_it_is_given(name: str) -> None:
    app = TaskQ()
    add = add_to(app)

    for give in (
        lambda: add.options(queue=name),
        lambda: add.options(id=name),
        lambda: app.job(name),
        lambda: app.named(name),
        lambda: app.queue(name),
        lambda: app.task(queue=name),
    ):
        with pytest.raises(InvalidName, match="not a valid name"):
            give()


def test_a_second_task_of_the_same_name_and_a_generator_are_refused() -> None:
    app = TaskQ()
    add_to(app)

    with pytest.raises(ConfigError, match="'add' is taken by"):
        add_to(app)
    with pytest.raises(ConfigError, match="generator"):

        @app.task
        def numbers() -> Any:
            yield 1

    with pytest.raises(ConfigError, match="does not fit"):

        @app.task(executor="async")
        def plain() -> None: ...


def test_a_plain_task_is_typed_as_one() -> None:
    app = TaskQ()

    @app.task(retries=2)
    def plain(a: int) -> int:
        return a

    assert isinstance(plain, PlainTask)
    assert plain.defaults.retries == 2
