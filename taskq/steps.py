"""Work of several calls, written once for the async and the blocking side: steps yield calls and
are sent their replies. What is asked and what follows from it stands with each work; here is only
how steps are taken.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeAlias, TypeVar

from taskq.commands import Call
from taskq.store import Store
from taskq.store_sync import SyncStore

T = TypeVar("T")
Steps: TypeAlias = Generator[Sequence[Call[Any]], list[Any], T]
#: Calls that are sent together, at most.
PAGE = 200
#: Times a call is sent before a lost connection is reported.
TRIES = 4


def one(call: Call[T]) -> Steps[T]:
    """A step of a single call; its reply."""
    replies = yield [call]
    reply: T = replies[0]
    return reply


async def follow(store: Store, steps: Steps[T]) -> T:
    """Take the steps on a store; what they return. Raises StoreError."""
    try:
        calls = next(steps)
        while True:
            replies: list[Any] = []
            for start in range(0, len(calls), PAGE):
                replies += await store.run_many(calls[start : start + PAGE], tries=TRIES)
            calls = steps.send(replies)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def follow_sync(store: SyncStore, steps: Steps[T]) -> T:
    """As `follow`, blocking."""
    try:
        calls = next(steps)
        while True:
            calls = steps.send(store.run_many(calls, tries=TRIES))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
