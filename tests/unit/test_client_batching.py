"""How sends of one event-loop turn become script calls, seen from a store that only writes down
what it is asked.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taskq.address import Address
from taskq.client import Client, Limits
from taskq.codec import Codec
from taskq.commands import CREATED, Call, NewJob, Sent
from taskq.errors import (
    DeadlineUnreachable,
    JobConflict,
    QueueFull,
    StoreUnavailable,
    TaskStruck,
)
from taskq.scripts import ScriptSet
from taskq.store import Hearer
from tests.helpers import eventually


class FakeStore:
    """Answers enqueues as Redis would; `replies` are given first, errors among them are raised."""

    scripts = ScriptSet()
    address = Address(host="fake")
    where = "fake"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.plain: list[str] = []
        self.all_or_none: list[int] = []
        self.tries: set[int] = set()
        self.replies: list[Any] = []
        self.hold: asyncio.Event | None = None
        self.together = 0
        self.closed = False

    def post(self, *_: object) -> bool:
        """There is no open connection here: the client must use `run`."""
        return False

    async def run(self, call: Call[Any], *, tries: int = 1) -> Any:
        if call.script == "rights":
            return call.parse([b"OK"])
        self.tries.add(tries)
        if not call.script:
            self.plain.append(str(call.args[0]))
            return call.parse(1)
        args = list(call.args)
        self.all_or_none.append(int(args[1]))
        ids, position = [], 3
        while position < len(args):
            ids.append(str(args[position]))
            position += 8 + 2 * int(args[position + 7])
        self.batches.append(ids)
        self.together += 1
        if self.hold is not None:
            await self.hold.wait()
        reply: Any = self.replies.pop(0) if self.replies else [b"OK", b"1", len(ids)]
        if isinstance(reply, Exception):
            raise reply
        return call.parse(reply)

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def client(store: FakeStore) -> Client:
    loose: Any = store
    return Client(loose, Codec(), "test", Limits(1000, 1000, 1000))


def jobs(count: int, prefix: str = "j") -> list[NewJob]:
    return [NewJob(f"{prefix}{n}", "t", b"") for n in range(count)]


async def test_sends_of_one_turn_travel_together_and_in_order(
    client: Client, store: FakeStore
) -> None:
    known = await asyncio.gather(*(client.send("q", job) for job in jobs(5)))

    assert store.batches == [["j0", "j1", "j2", "j3", "j4"]]
    assert store.all_or_none == [0]
    assert known == [CREATED] * 5


async def test_a_lone_send_leaves_in_its_own_turn(client: Client, store: FakeStore) -> None:
    store.hold = asyncio.Event()
    await_first = asyncio.ensure_future(client.send("q", jobs(1)[0]))
    for _ in range(4):
        await asyncio.sleep(0)
    second = asyncio.ensure_future(client.send("q", jobs(1, "k")[0]))
    for _ in range(4):
        await asyncio.sleep(0)

    # The second did not wait for the first one's reply.
    assert store.batches == [["j0"], ["k0"]]
    store.hold.set()
    assert [await await_first, await second] == [CREATED] * 2


async def test_more_than_200_of_a_turn_go_in_several_calls(
    client: Client, store: FakeStore
) -> None:
    await asyncio.gather(*(client.send("q", job) for job in jobs(450)))

    assert [len(batch) for batch in store.batches] == [200, 200, 50]
    assert [job_id for batch in store.batches for job_id in batch] == [f"j{n}" for n in range(450)]


async def test_each_queue_has_its_own_call_and_is_listed_once(
    client: Client, store: FakeStore
) -> None:
    for _ in range(2):
        await asyncio.gather(
            *(client.send(queue, job) for queue, job in zip("aba", jobs(3), strict=True))
        )

    assert sorted(len(batch) for batch in store.batches) == [1, 1, 2, 2]
    assert store.plain.count("SADD") == 2


async def test_duplicates_and_conflicts_reach_only_their_own_callers(
    client: Client, store: FakeStore
) -> None:
    store.replies = [[b"OK", b"1", 1, b"j1", b"DUP", b"j2", b"CONFLICT"]]

    fresh, known, conflict = await asyncio.gather(
        *(client.send("q", job) for job in jobs(3)), return_exceptions=True
    )

    assert (fresh, known) == (CREATED, Sent(known=True))
    assert isinstance(conflict, JobConflict)
    assert conflict.job_id == "j2"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [([b"FULL", 10, 10], QueueFull), (StoreUnavailable("away"), StoreUnavailable)],
)
async def test_a_refusal_reaches_all_callers_of_its_call_and_the_next_call_goes_on(
    client: Client, store: FakeStore, reply: Any, kind: type[Exception]
) -> None:
    store.replies = [reply]

    refused = await asyncio.gather(
        *(client.send("q", job) for job in jobs(3)), return_exceptions=True
    )

    assert [type(error) for error in refused] == [kind] * 3
    assert await client.send("q", jobs(1)[0]) is CREATED


async def test_a_caller_that_gives_up_does_not_take_its_job_or_others_back(
    client: Client, store: FakeStore
) -> None:
    store.hold = asyncio.Event()
    first, second = (asyncio.ensure_future(client.send("q", job)) for job in jobs(2))
    for _ in range(4):
        await asyncio.sleep(0)

    first.cancel()
    store.hold.set()

    assert await second is CREATED
    assert store.batches == [["j0", "j1"]]


async def test_many_at_once_are_all_or_none_by_200_and_a_few_calls_are_in_flight(
    client: Client, store: FakeStore
) -> None:
    store.hold = asyncio.Event()
    sending = asyncio.ensure_future(client.send_many("q", jobs(1500)))
    for _ in range(6):
        await asyncio.sleep(0)
    in_flight = store.together
    store.hold.set()

    assert await sending == {}
    assert in_flight == 4
    assert [len(batch) for batch in store.batches] == [200] * 7 + [100]
    assert set(store.all_or_none) == {1}


async def test_a_refusal_stops_what_of_many_has_not_been_sent(
    client: Client, store: FakeStore
) -> None:
    store.replies = [[b"CONFLICT", b"j7"]]

    with pytest.raises(JobConflict):
        await client.send_many("q", jobs(2000))

    assert len(store.batches) == 4


async def test_every_send_may_be_repeated(client: Client, store: FakeStore) -> None:
    await client.send("q", jobs(1)[0])
    await client.send_many("q", jobs(3))

    assert min(store.tries) > 1


async def test_closing_waits_for_what_is_on_its_way(client: Client, store: FakeStore) -> None:
    store.hold = asyncio.Event()
    sending = asyncio.ensure_future(client.send("q", jobs(1)[0]))
    for _ in range(4):
        await asyncio.sleep(0)
    closing = asyncio.ensure_future(client.close())
    for _ in range(4):
        await asyncio.sleep(0)
    assert not store.closed

    store.hold.set()
    await closing

    assert store.closed
    assert await sending is CREATED


@pytest.fixture
async def posts(
    client: Client, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[Call[Any], Hearer[Any]]]:
    """The connection is open from here on: what the client posts, to be answered by the test."""
    posts: list[tuple[Call[Any], Hearer[Any]]] = []

    def post(call: Call[Any], hearer: Hearer[Any]) -> bool:
        posts.append((call, hearer))
        return True

    await client.send("q", NewJob("first", "t", b""))
    monkeypatch.setattr(store, "post", post)
    return posts


async def test_closing_waits_for_what_was_posted(
    client: Client, store: FakeStore, posts: list[tuple[Call[Any], Hearer[Any]]]
) -> None:
    sending = asyncio.ensure_future(client.send("q", jobs(1)[0]))
    await eventually(lambda: posts)
    closing = asyncio.ensure_future(client.close())
    for _ in range(4):
        await asyncio.sleep(0)
    assert not store.closed

    call, hearer = posts[0]
    hearer.answered(call.parse([b"OK", 1, 1]))
    await closing

    assert store.closed
    assert await sending is CREATED


async def test_what_was_posted_and_failed_is_sent_again_with_the_same_ids(
    client: Client, store: FakeStore, posts: list[tuple[Call[Any], Hearer[Any]]]
) -> None:
    sending = asyncio.gather(*(client.send("q", job) for job in jobs(3)))
    await eventually(lambda: posts)

    posts[0][1].failed(StoreUnavailable("the connection broke"))

    assert await sending == [CREATED] * 3
    assert store.batches[1:] == [["j0", "j1", "j2"]]


async def test_each_caller_hears_what_became_of_its_own_job(
    client: Client, store: FakeStore
) -> None:
    words = [b"j1", b"KEPT old", b"j2", b"START 1500", b"j3", b"LATE 9000"]
    store.replies = [[b"OK", b"1000", 2, *words]]

    plain, kept, started, late = await asyncio.gather(
        *(client.send("q", job) for job in jobs(4)), return_exceptions=True
    )

    assert (plain, kept) == (CREATED, Sent(kept="old"))
    assert started == Sent(start_ms=1500, now_ms=1000)
    assert isinstance(late, DeadlineUnreachable)
    assert late.job_id == "j3"


async def test_a_struck_task_is_refused_and_its_neighbours_are_sent(
    client: Client, store: FakeStore
) -> None:
    struck = NewJob("x", "bad", b"")
    store.replies = [[b"STRUCK", b"bad"]]

    first, refused, last = await asyncio.gather(
        *(client.send("q", job) for job in (jobs(2)[0], struck, jobs(2)[1])),
        return_exceptions=True,
    )

    assert isinstance(refused, TaskStruck)
    assert refused.task == "bad"
    assert (first, last) == (CREATED, CREATED)
    assert store.batches == [["j0", "x", "j1"], ["j0", "j1"]]


async def test_jobs_that_must_be_apart_go_in_calls_of_their_own(
    client: Client, store: FakeStore
) -> None:
    keyed = [job._replace(apart=key) for job, key in zip(jobs(5), "ababc", strict=True)]

    await asyncio.gather(*(client.send("q", job) for job in keyed))
    await client.send_many("q", keyed)

    assert store.batches == [["j0", "j1"], ["j2", "j3", "j4"]] * 2


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between two tries are short."""
    monkeypatch.setattr("taskq.patience.FIRST", 0.001)


@pytest.mark.usefixtures("hurry")
async def test_who_finds_the_queue_full_waits_for_room_when_the_queue_wants_that(
    client: Client, store: FakeStore
) -> None:
    store.replies = [[b"FULL", 8, 10, b"wait"], [b"OK", b"1", 2], [b"FULL", 10, 10, b"wait"]]

    sent = await asyncio.gather(*(client.send("q", job) for job in jobs(3)))

    assert sent == [CREATED] * 3
    assert store.batches == [["j0", "j1", "j2"], ["j0", "j1"], ["j2"], ["j2"]]


@pytest.mark.usefixtures("hurry")
async def test_a_caller_that_gives_up_waiting_is_not_enqueued_later(
    client: Client, store: FakeStore
) -> None:
    store.replies = [[b"FULL", 10, 10, b"wait"]] * 3
    first, second = (asyncio.ensure_future(client.send("q", job)) for job in jobs(2))
    while not store.batches:
        await asyncio.sleep(0)
    first.cancel()

    assert await second is CREATED
    assert store.batches[-1] == ["j1"]


@pytest.mark.usefixtures("hurry")
async def test_many_wait_together_for_room_for_all(client: Client, store: FakeStore) -> None:
    store.replies = [[b"FULL", 9, 10, b"wait"], [b"FULL", 8, 10, b"wait"]]

    assert await client.send_many("q", jobs(3)) == {}
    assert store.batches == [["j0", "j1", "j2"]] * 3


async def test_more_than_ever_fits_is_refused_without_waiting(
    client: Client, store: FakeStore
) -> None:
    store.replies = [[b"FULL", 0, 2, b"wait"]]

    with pytest.raises(QueueFull):
        await client.send_many("q", jobs(3))

    assert len(store.batches) == 1


async def test_two_that_close_both_hear_the_end_of_what_was_posted(
    client: Client, store: FakeStore, posts: list[tuple[Call[Any], Hearer[Any]]]
) -> None:
    sending = asyncio.ensure_future(client.send("q", jobs(1)[0]))
    for _ in range(4):
        await asyncio.sleep(0)
    closing = [asyncio.ensure_future(client.close()) for _ in range(2)]
    for _ in range(4):
        await asyncio.sleep(0)
    ((call, hearer),) = posts

    hearer.answered(call.parse([b"OK", b"1", 1]))

    async with asyncio.timeout(5):
        await asyncio.gather(*closing)
    assert await sending is CREATED


async def test_a_close_waits_for_what_is_sent_again(
    client: Client, store: FakeStore, posts: list[tuple[Call[Any], Hearer[Any]]]
) -> None:
    sending = asyncio.ensure_future(client.send("q", jobs(1)[0]))
    for _ in range(4):
        await asyncio.sleep(0)
    closing = asyncio.ensure_future(client.close())
    for _ in range(4):
        await asyncio.sleep(0)
    store.hold = asyncio.Event()

    posts[0][1].failed(StoreUnavailable("gone"))
    for _ in range(8):
        await asyncio.sleep(0)
    assert not store.closed

    store.hold.set()
    await closing
    assert await sending is CREATED
