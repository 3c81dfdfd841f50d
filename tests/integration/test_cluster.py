"""A Cluster: calls find the node of their queue, and work goes on when slots or nodes change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from taskq import TaskQ, commands
from taskq.address import Address
from taskq.errors import StoreUnavailable
from taskq.inspect import Inspector
from taskq.keys import QueueKeys
from taskq.stores import open_store, open_sync_store
from tests.cli.conftest import Cli
from tests.helpers import eventually, wait_until
from tests.integration.load import Load, recovery
from tests.integration.workers import idle, quick, worker_process, working
from tests.nodes import Node
from tests.topologies import Cluster, cluster

MakeApp = Callable[..., TaskQ]
FAST = {"socket_timeout": 1.0, "connect_timeout": 1.0}


@pytest.fixture(scope="module", params=["redis", "valkey"])
def calm(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three primaries; tests may move slots, but harm no node."""
    with cluster(request.param) as found:
        yield found


@pytest.fixture(params=["redis", "valkey"])
def fragile(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three primaries, the first with two replicas; for one test, which may kill what it likes."""
    words = {"cluster_require_full_coverage": "no"}
    with cluster(request.param, replicas=(0, 0), node_timeout_ms=1000, **words) as found:
        yield found


@pytest_asyncio.fixture
async def make(namespace: str) -> AsyncIterator[MakeApp]:
    """Make apps; closed at the end."""
    apps: list[TaskQ] = []

    def make(url: str, **settings: object) -> TaskQ:
        apps.append(TaskQ(url, **quick(namespace, **settings)))
        return apps[-1]

    yield make
    for app in apps:
        await app.close()


def slot_of(group: Cluster, queue: str) -> int:
    return group.slot_of(QueueKeys("taskq", queue).ready)


def queue_on(group: Cluster, node: Node) -> str:
    """The name of a queue whose slot this node owns."""
    names = (f"q{number}" for number in range(100))
    return next(name for name in names if group.owner(slot_of(group, name)) is node)


def queues_of(group: Cluster) -> list[str]:
    """A queue on each primary."""
    return [queue_on(group, node) for node in group.primaries]


async def test_queues_on_several_nodes_are_served_by_one_worker(
    calm: Cluster, make: MakeApp
) -> None:
    app, names = make(calm.url), queues_of(calm)

    @app.task
    async def double(n: int) -> int:
        return 2 * n

    tasks = [double.options(queue=name) for name in names]
    async with working(app, queues=names):
        jobs = await app.enqueue_many([task.s(n) for n in range(100) for task in tasks])
        assert await app.results(jobs, timeout=10) == [2 * n for n in range(100) for _ in names]

        single = await asyncio.gather(*(task.enqueue(n) for n in range(10) for task in tasks))
        assert len(await app.results(single, timeout=10)) == 30
        job = await asyncio.to_thread(tasks[1].enqueue_sync, 4)
        assert await asyncio.to_thread(job.result_sync, 5) == 8
        assert (await job.info()).state == "completed"


async def test_an_idle_worker_is_woken_by_each_of_its_queues(calm: Cluster, make: MakeApp) -> None:
    """Nobody polls: the answer comes long before the wait of 10 s would end."""
    app, names = make(calm.url), queues_of(calm)

    @app.task
    async def same(n: int) -> int:
        return n

    async with working(app, queues=names) as worker:
        for n in range(3):
            for name in names:
                await idle(worker)
                job = await same.options(queue=name).enqueue(n)
                assert await job.result(timeout=3) == n


async def test_a_wake_token_that_nobody_heeds_goes_back(calm: Cluster, namespace: str) -> None:
    first, second = (QueueKeys(namespace, name).wake for name in queues_of(calm)[:2])
    address = Address.parse(calm.url)
    store, other = open_store(address), open_store(address)

    async def push(key: str) -> None:
        await other.run(commands.plain("RPUSH", key, "1", parse=int))

    waiting = asyncio.ensure_future(store.wait_for_wake([first, second], 5))
    await eventually(lambda: blocked(calm) == 2)
    await push(first)
    assert await waiting == first
    assert blocked(calm) == 1, "the other wait goes on"

    await push(second)
    taken = commands.plain("LLEN", second, parse=int)
    await eventually(lambda: other.run(taken), what="the token is back")
    assert await store.wait_for_wake([first, second], 5) == second

    assert await store.wait_for_wake([first, second], 0.05) is None
    await store.close()
    await other.close()


def blocked(group: Cluster) -> int:
    return sum(int(node.info("clients")["blocked_clients"]) for node in group.primaries)


async def test_a_job_that_requires_a_label_wakes_the_worker_that_provides_it(
    calm: Cluster, make: MakeApp
) -> None:
    """One wait for each queue, for the lists of all its classes; they change, no token is lost."""
    app, names = make(calm.url, provides=("gpu", "region=eu", "arm")), queues_of(calm)[:2]

    @app.task
    async def same(n: int) -> int:
        return n

    async with working(app, queues=names) as worker:
        await idle(worker)
        await eventually(lambda: blocked(calm) == len(names))
        for n, requires in enumerate(((), "gpu", {"gpu", "arm"}, {"gpu", "arm", "region=eu"}) * 2):
            for name in names:
                await idle(worker)
                job = await same.options(queue=name, requires=requires).enqueue(n)
                assert await job.result(timeout=3) == n
        await eventually(lambda: blocked(calm) == len(names))


async def test_a_wait_for_other_lists_of_a_queue_ends_without_losing_its_token(
    calm: Cluster, namespace: str
) -> None:
    keys = QueueKeys(namespace, queues_of(calm)[0])
    address = Address.parse(calm.url)
    store, other = open_store(address), open_store(address)

    async def push(key: str) -> None:
        await other.run(commands.plain("RPUSH", key, "1", parse=int))

    waiting = asyncio.ensure_future(store.wait_for_wake([keys.wake], 5))
    await eventually(lambda: blocked(calm) == 1)
    await store.end_wait()
    assert await waiting is None

    both = asyncio.ensure_future(store.wait_for_wake([keys.wake, keys.wake_of("gpu")], 5))
    await asyncio.sleep(0)
    await push(keys.wake_of("gpu"))
    assert await both == keys.wake_of("gpu")
    assert await store.wait_for_wake([keys.wake], 0.05) is None
    await store.close()
    await other.close()


async def test_the_look_side_sees_all_queues_and_workers(
    calm: Cluster, make: MakeApp, namespace: str
) -> None:
    app, names = make(calm.url), queues_of(calm)

    @app.task
    async def same(n: int) -> int:
        return n

    jobs = [await same.options(queue=name).enqueue(1) for name in names]
    look = Inspector(app.client.store, namespace)
    assert {view.name: view.jobs["ready"] for view in await look.queues()} == dict.fromkeys(
        names, 1
    )
    assert (await look.find(jobs[2].id)).queue == names[2]
    async with working(app, queues=names) as worker:
        await app.results(jobs, timeout=5)
        assert [view.id for view in await look.workers()] == [worker.id]
    assert await look.workers() == []


async def test_a_slot_that_moved_at_rest_is_followed_by_both_stores(
    calm: Cluster, make: MakeApp
) -> None:
    app, name = make(calm.url), queues_of(calm)[0]
    await app.named("t").options(queue=name).enqueue(1)
    await asyncio.to_thread(app.named("t").options(queue=name).enqueue_sync, 2)
    move(calm, name)

    await app.named("t").options(queue=name).enqueue(3)
    await asyncio.to_thread(app.named("t").options(queue=name).enqueue_sync, 4)

    look = Inspector(app.client.store, app.settings.namespace)
    assert (await look.queue(name)).jobs["ready"] == 4


def move(group: Cluster, queue: str) -> None:
    """Move the slot of a queue to the next node, at once."""
    slot = slot_of(group, queue)
    source = group.owner(slot)
    assert source is not None
    target = next(node for node in group.primaries if node is not source)
    migration = group.migration(slot, target).begin()
    migration.move_all()
    migration.finish()


@pytest.mark.parametrize("first", ["jobs", "indexes"])
async def test_nothing_is_lost_while_a_slot_moves_under_load(
    calm: Cluster, make: MakeApp, first: str
) -> None:
    """Half-way it stands still: some job hashes have gone and their indexes not, or the reverse."""
    producer, app = make(calm.url), make(calm.url, concurrency=5)
    name = queues_of(calm)[1]
    load = Load(producer, app, name)

    def chosen(key: bytes) -> bool:
        # Half of the hashes, or everything but the hashes.
        is_job = b":job:" in key
        return is_job and key[-1] % 2 == 0 if first == "jobs" else not is_job

    async with working(app, queues=[name]):
        async with load.pouring(producers=8):
            await load.more(100)
            slot = slot_of(calm, name)
            source = calm.owner(slot)
            target = next(node for node in calm.primaries if node is not source)
            migration = calm.migration(slot, target).begin()
            while await asyncio.to_thread(migration.move, chosen):
                pass
            before = len(load.taken), load.ran.total()
            # Half-way for longer than the worker and the producers need to try again.
            await eventually(lambda: load.refused > 3, 20, "calls are refused")
            assert len(load.taken) - before[0] <= 8, "nothing was taken half-way"
            await asyncio.to_thread(migration.move_all)
            await asyncio.to_thread(migration.finish)
            arrived = time.monotonic()
            taken, ran = await recovery(load, arrived)
            print(f"moved: jobs taken {taken:.2f} s and run {ran:.2f} s after the slot arrived")
            await load.more(100)
        await load.all_done()

    assert set(load.ran) == load.taken
    assert load.repeated == 0


async def test_a_slot_that_moves_in_one_step_is_hardly_noticed(make: MakeApp) -> None:
    """Valkey 9 moves a slot with all its keys at once."""
    with cluster("valkey") as group:
        producer, app, name = make(group.url), make(group.url), queues_of(group)[0]
        load = Load(producer, app, name)
        async with working(app, queues=[name]):
            async with load.pouring():
                await load.more(100)
                slot = slot_of(group, name)
                source = group.owner(slot)
                target = next(node for node in group.primaries if node is not source)
                assert source is not None
                words = ("SLOTSRANGE", slot, slot, "NODE", group.ids[target.port])
                source.ask("CLUSTER", "MIGRATESLOTS", *words)
                await eventually(lambda: group.owner(slot) is target, 10)
                await load.more(100)
            await load.all_done()

    assert set(load.ran) == load.taken
    assert load.refused == 0


async def test_while_one_slot_moves_the_queues_of_others_are_served(
    calm: Cluster, make: MakeApp
) -> None:
    producer, app, names = make(calm.url), make(calm.url), queues_of(calm)
    still, moving = Load(producer, app, names[0]), Load(producer, app, names[1])

    async with working(app, queues=names[:2]):
        async with still.pouring(), moving.pouring():
            await asyncio.gather(still.more(), moving.more())
            slot = slot_of(calm, names[1])
            source = calm.owner(slot)
            target = next(node for node in calm.primaries if node is not source)
            migration = calm.migration(slot, target).begin()
            await still.more(100)
            await asyncio.to_thread(migration.move_all)
            await asyncio.to_thread(migration.finish)
            await moving.more()
        await asyncio.gather(still.all_done(), moving.all_done())

    assert still.refused == 0


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_work_goes_on_by_itself_when_a_primary_is_gone(
    fragile: Cluster, make: MakeApp, how: str
) -> None:
    """Its replica takes over; queues on other nodes go on meanwhile."""
    words = {**FAST, "replica_timeout": 0.4}
    old = fragile.primaries[0]
    names = [queue_on(fragile, old), queue_on(fragile, fragile.primaries[1])]
    app = make(fragile.url, **words)
    load = Load(make(fragile.url, durability="replicated", **words), app, names[0])
    other = Load(make(fragile.url, **words), app, names[1])

    async with working(app, queues=names):
        async with load.pouring(), other.pouring():
            await asyncio.gather(load.more(100), other.more(100))
            began = time.monotonic()
            old.kill() if how == "kill" else old.stop()
            await other.more(50)
            meanwhile = time.monotonic() - began
            slot = slot_of(fragile, names[0])
            await asyncio.to_thread(fragile.wait_for_failover, old, slot)
            failed_over = time.monotonic()
            taken, ran = await recovery(load, failed_over)
            await load.more(100)
        await asyncio.gather(load.all_done(), other.all_done())

    print(
        f"{how}: failed over after {failed_over - began:.2f} s, jobs taken {taken:.2f} s and run"
        f" {ran:.2f} s later; {load.repeated} of {len(load.ran)} ran more than once;"
        f" 50 jobs of another node after {meanwhile:.2f} s"
    )
    assert taken < 5
    assert ran < 5


async def test_a_queue_without_its_node_waits_and_the_others_go_on(
    fragile: Cluster, make: MakeApp
) -> None:
    """A node without a replica is away for a while, and comes back with its data."""
    old = fragile.primaries[2]
    names = [queue_on(fragile, old), queue_on(fragile, fragile.primaries[1])]
    app = make(fragile.url, **FAST)
    load, other = (Load(make(fragile.url, **FAST), app, name) for name in names)

    async with working(app, queues=names):
        async with load.pouring(), other.pouring():
            await asyncio.gather(load.more(), other.more())
            old.stop()
            await other.more(50)
            old.go_on()
            began = time.monotonic()
            await recovery(load, began)
            await load.more()
        await asyncio.gather(load.all_done(), other.all_done())

    assert set(load.ran) == load.taken


async def test_without_any_node_the_error_names_them(make: MakeApp) -> None:
    address = Address.parse("redis+cluster://127.0.0.1:1,127.0.0.1:2")
    store, blocking = open_store(address), open_sync_store(address)
    ping = commands.plain("PING", parse=lambda reply: reply)

    with pytest.raises(StoreUnavailable, match=r"no node of redis\+cluster://127.0.0.1:1,"):
        await store.run(ping)
    with pytest.raises(StoreUnavailable, match=r"no node of redis\+cluster://127.0.0.1:1,"):
        await asyncio.to_thread(blocking.run, ping)

    await store.close()
    blocking.close()


def test_worker_processes_live_through_a_failover(
    fragile: Cluster, namespace: str, tmp_path: Path
) -> None:
    notes, old = tmp_path / "notes", fragile.primaries[0]
    name = queue_on(fragile, old)
    app = TaskQ(fragile.url, **quick(namespace, **FAST))
    with worker_process(fragile, namespace, queues=name, **FAST) as worker:
        app.named("note").options(queue=name).enqueue_sync(str(notes), "before")
        worker.lines(notes, 2)
        old.kill()
        fragile.wait_for_failover(old, slot_of(fragile, name))

        def sent() -> bool:
            try:
                task = app.named("note").options(id="after", queue=name)
                task.enqueue_sync(str(notes), "after")
            except StoreUnavailable:
                return False
            return True

        wait_until(sent, 20)
        assert worker.lines(notes, 4)[-1] == "end after"
    app.close_sync()


async def test_a_node_that_fell_silent_holds_up_the_queues_of_others_only_once(
    fragile: Cluster, make: MakeApp
) -> None:
    """A report is owed to it. Nothing answers and nothing is refused, so a try takes 2 s."""
    silent = fragile.primaries[2]
    names = [queue_on(fragile, fragile.primaries[1]), queue_on(fragile, silent)]
    app = make(fragile.url, socket_timeout=2.0, connect_timeout=2.0)
    other = Load(make(fragile.url, **FAST), app, names[0])
    started, end = asyncio.Event(), asyncio.Event()

    @app.task(queue=names[1])
    async def held() -> None:
        started.set()
        await end.wait()

    async with working(app, queues=names):
        job = await held.enqueue()
        await asyncio.wait_for(started.wait(), 5)
        async with other.pouring():
            await other.more()
            silent.stop()
            end.set()
            began = time.monotonic()
            while time.monotonic() < began + 7:
                await other.more(50)
            gaps = list(other.gaps)
            silent.go_on()
        await job.result(timeout=10)
        await other.all_done()

    assert len(gaps) <= 1, gaps


@pytest.mark.parametrize("words", [("status",), ("workers",), ("doctor",), ("queue", "ls")])
def test_commands_look_at_a_cluster(
    calm: Cluster, namespace: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    app = TaskQ(calm.url, **quick(namespace))
    names = queues_of(calm)
    for name in names:
        app.named("t").options(queue=name).enqueue_sync(1)
    app.close_sync()
    cli = Cli(tmp_path, calm.url, namespace)

    ran = cli.call(*words, "--json")

    assert ran.code in (0, 1), ran.err
    assert "Traceback" not in ran.err
    if words in (("status",), ("queue", "ls")):
        assert all(name in ran.out for name in names)
    if words == ("doctor",):
        assert all(f"127.0.0.1:{node.port}: " in ran.out for node in calm.primaries)
