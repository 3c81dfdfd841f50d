"""What tests of every layer share: waiting for a condition, and looking at every key of a queue."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import redis

from taskq.store_sync import SyncStore

T = TypeVar("T")
#: Seconds between two looks at a condition.
POLL = 0.005


def wait_until(predicate: Callable[[], T], timeout: float = 10.0, what: str = "") -> T:
    """Call `predicate` until it is true and return what it gave; AssertionError after `timeout` s.

    The only place where a blocking test waits, so that no test sleeps for luck.
    """
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"not within {timeout:g} s: {what or _source(predicate)}")
        time.sleep(POLL)


async def eventually(
    predicate: Callable[[], Awaitable[T]] | Callable[[], T], timeout: float = 10.0, what: str = ""
) -> T:
    """As `wait_until`, for a plain or async predicate on the event loop."""
    end = time.monotonic() + timeout
    while True:
        value: Any = predicate()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value  # type: ignore[no-any-return]
        if time.monotonic() >= end:
            raise AssertionError(f"not within {timeout:g} s: {what or _source(predicate)}")
        await asyncio.sleep(POLL)


def last(seconds: float) -> None:
    """Let a fault last so long. Never for waiting until something has happened."""
    time.sleep(seconds)


def _source(predicate: Callable[..., object]) -> str:
    try:
        return " ".join(inspect.getsource(predicate).split())[:200]
    except (OSError, TypeError):
        return repr(predicate)


class Entry(NamedTuple):
    """One key as it is: `type` as Redis names it, text `content`, and whether it has a TTL."""

    type: str
    content: Any
    ttl: bool = False


def a_hash(content: Mapping[str, object], *, ttl: bool = False) -> Entry:
    return Entry("hash", {name: str(value) for name, value in content.items()}, ttl)


def a_zset(content: Mapping[str, float], *, ttl: bool = False) -> Entry:
    return Entry("zset", {name: float(score) for name, score in content.items()}, ttl)


def a_set(content: Iterable[str], *, ttl: bool = False) -> Entry:
    return Entry("set", frozenset(content), ttl)


def a_list(content: Iterable[str], *, ttl: bool = False) -> Entry:
    return Entry("list", list(content), ttl)


def a_string(content: object, *, ttl: bool = False) -> Entry:
    return Entry("string", str(content), ttl)


def _content(client: Any, kind: str, key: bytes) -> object:
    if kind == "hash":
        return {_text(name): _text(value) for name, value in client.hgetall(key).items()}
    if kind == "zset":
        return {_text(name): score for name, score in client.zrange(key, 0, -1, withscores=True)}
    if kind == "set":
        return frozenset(map(_text, client.smembers(key)))
    if kind == "list":
        return list(map(_text, client.lrange(key, 0, -1)))
    return _text(client.get(key))


def _text(value: bytes) -> str:
    """Every byte as one character, so that two different values never look alike."""
    return value.decode("latin-1")


def client_of(store: SyncStore | redis.Redis) -> redis.Redis:
    return store.client if isinstance(store, SyncStore) else store


def dump_queue(store: SyncStore | redis.Redis, prefix: str) -> dict[str, Entry]:
    """Every key that starts with `prefix` (`QueueKeys.prefix`), by name without it."""
    client: Any = client_of(store)
    dump = {}
    pattern = "".join(f"\\{c}" if c in "*?[]\\^" else c for c in prefix) + "*"
    for key in sorted(client.scan_iter(match=pattern, count=1000)):
        kind = client.type(key).decode()
        if kind != "none":  # it may have expired since the scan
            name = key.decode("utf-8", "surrogateescape").removeprefix(prefix)
            dump[name] = Entry(kind, _content(client, kind, key), client.pttl(key) >= 0)
    return dump


def delete_queue(store: SyncStore | redis.Redis, prefix: str) -> None:
    """Remove every key that starts with `prefix`."""
    client: Any = client_of(store)
    keys = [
        (prefix + name).encode("utf-8", "surrogateescape") for name in dump_queue(client, prefix)
    ]
    if keys:
        client.unlink(*keys)
