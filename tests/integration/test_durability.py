"""`durability="replicated"`: an enqueue that returned is on so many replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from taskq import TaskQ
from taskq.errors import ConfigError, StoreUnavailable
from taskq.keys import QueueKeys
from tests.helpers import eventually
from tests.integration.workers import quick
from tests.nodes import Node
from tests.topologies import Replicated, replicated

MakeApp = Callable[..., TaskQ]


@pytest.fixture(scope="module", params=["redis", "valkey"])
def group(request: pytest.FixtureRequest) -> Iterator[Replicated]:
    """A primary with one replica."""
    with replicated(request.param, replicas=1) as found:
        yield found


@pytest.fixture(autouse=True)
def woken(group: Replicated) -> Iterator[None]:
    """Whatever a test did to the replica, the next one finds it running and level."""
    yield
    group.replicas[0].go_on()
    group.wait_for_replicas(1)


@pytest_asyncio.fixture
async def make(group: Replicated, namespace: str) -> AsyncIterator[MakeApp]:
    """Make apps that want one replica to confirm; closed at the end."""
    apps: list[TaskQ] = []

    def make(**settings: object) -> TaskQ:
        words = {"durability": "replicated", "replica_timeout": 0.5, **settings}
        apps.append(TaskQ(group.url, **quick(namespace, **words)))
        return apps[-1]

    yield make
    for app in apps:
        await app.close()


def has(node: Node, namespace: str, job_id: str) -> bool:
    return bool(node.ask("EXISTS", QueueKeys(namespace, "default").job(job_id)))


async def test_a_job_is_on_the_replica_when_enqueue_returns(
    make: MakeApp, group: Replicated, namespace: str
) -> None:
    app = make()
    jobs = [await app.enqueue("t", 1)]
    jobs += await app.enqueue_many([app.named("t").s(n) for n in range(300)])
    jobs += await asyncio.gather(*(app.enqueue("t", n) for n in range(50)))
    jobs.append(await asyncio.to_thread(app.enqueue_sync, "t", 2))

    assert all(has(group.replicas[0], namespace, job.id) for job in jobs)


async def test_without_the_replica_an_enqueue_fails_and_says_that_the_job_may_exist(
    make: MakeApp, group: Replicated, namespace: str
) -> None:
    app = make(replica_timeout=0.1)
    await app.enqueue("t")
    group.replicas[0].stop()

    task = app.named("t").options(id="j1")
    with pytest.raises(StoreUnavailable, match=r"0 of 1 replicas.*may exist.*same id is safe"):
        await task.enqueue(1)
    with pytest.raises(StoreUnavailable, match="may exist"):
        await asyncio.to_thread(app.named("t").options(id="j2").enqueue_sync, 1)
    assert has(group.primary, namespace, "j1")

    group.replicas[0].go_on()
    job = await task.enqueue(1)
    again = await asyncio.to_thread(app.named("t").options(id="j2").enqueue_sync, 1)
    assert (job.duplicate, again.duplicate) == (True, True)
    assert has(group.replicas[0], namespace, "j1")
    assert has(group.replicas[0], namespace, "j2")


async def test_another_connection_that_finds_the_job_there_waits_for_the_replica_too(
    make: MakeApp, group: Replicated
) -> None:
    """WAIT covers what its own connection wrote: a repeated call must not pass for confirmed."""
    group.replicas[0].stop()
    for app in (make(replica_timeout=0.1), make(replica_timeout=0.1)):
        with pytest.raises(StoreUnavailable, match="may exist"):
            await app.named("t").options(id="j1").enqueue(1)
        app.close_sync()
        with pytest.raises(StoreUnavailable, match="may exist"):
            await asyncio.to_thread(app.named("t").options(id="j1").enqueue_sync, 1)


async def test_the_repetition_of_the_call_rides_over_a_short_stop_of_the_replica(
    make: MakeApp, group: Replicated, namespace: str
) -> None:
    app = make(replica_timeout=0.1)
    await app.enqueue("t")
    group.replicas[0].stop()
    sending = asyncio.ensure_future(app.named("t").options(id="j1").enqueue(1))
    await eventually(lambda: has(group.primary, namespace, "j1"))
    group.replicas[0].go_on()

    await sending
    assert has(group.replicas[0], namespace, "j1")


async def test_waiting_for_replicas_holds_up_no_other_call(
    make: MakeApp, group: Replicated
) -> None:
    app = make(replica_timeout=2.0)
    job = await app.enqueue("t")
    group.replicas[0].stop()
    sending = asyncio.ensure_future(app.enqueue("t"))
    await eventually(lambda: blocked(group.primary))

    async with asyncio.timeout(1):
        assert (await job.info()).state == "ready"
    assert not sending.done()

    group.replicas[0].go_on()
    await sending


def blocked(node: Node) -> bool:
    return int(node.info("clients")["blocked_clients"]) > 0


async def test_local_durability_asks_no_replica(make: MakeApp, group: Replicated) -> None:
    app = make(durability="local")
    before = waits(group.primary)
    group.replicas[0].stop()

    await app.enqueue("t")
    await asyncio.to_thread(app.enqueue_sync, "t")

    assert waits(group.primary) == before


def waits(node: Node) -> int:
    """How often WAIT was called there."""
    return int(node.info("commandstats").get("cmdstat_wait", {}).get("calls", 0))


def test_a_wait_that_looks_like_a_dead_server_is_refused_at_start() -> None:
    with pytest.raises(ConfigError, match="replica_timeout=3 is more than half"):
        TaskQ("redis://h", durability="replicated", replica_timeout=3).settings  # noqa: B018
