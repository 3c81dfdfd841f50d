"""A Sentinel group: connections find the primary, and work goes on by itself when it changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from taskq import TaskQ, commands
from taskq.address import Address
from taskq.errors import StoreRefused, StoreUnavailable
from taskq.stores import open_store, open_sync_store
from tests.cli.conftest import Cli
from tests.helpers import eventually, wait_until
from tests.integration.load import Load, recovery
from tests.integration.workers import quick, worker_process, working
from tests.topologies import SERVICE, SentinelGroup, sentinel_group

MakeApp = Callable[..., TaskQ]
PING = commands.plain("PING", parse=lambda reply: reply)


@pytest.fixture(params=["redis", "valkey"])
def group(request: pytest.FixtureRequest) -> Iterator[SentinelGroup]:
    """A group of this test, which may be left in any state."""
    with sentinel_group(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def calm() -> Iterator[SentinelGroup]:
    """A group that all tests of this file share, and that none may harm."""
    with sentinel_group("redis") as found:
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


def port(info: object) -> int:
    """The port of the server whose INFO this is."""
    if isinstance(info, bytes):
        words = dict(line.split(":", 1) for line in info.decode().split() if ":" in line)
        return int(words["tcp_port"])
    assert isinstance(info, dict)
    return int(info["tcp_port"])


SERVER = commands.plain("INFO", "server", parse=port)


async def test_both_stores_find_the_primary(calm: SentinelGroup) -> None:
    store, blocking = open_store(Address.parse(calm.url)), open_sync_store(Address.parse(calm.url))

    assert await store.run(SERVER) == calm.primary.port
    assert await asyncio.to_thread(blocking.run, SERVER) == calm.primary.port

    await store.close()
    blocking.close()


async def test_a_sentinel_that_is_down_is_passed_over(calm: SentinelGroup) -> None:
    hosts = f"127.0.0.1:1,127.0.0.1:{calm.sentinels[2].port}"
    address = Address.parse(f"redis+sentinel://{hosts}/{SERVICE}")
    store, blocking = open_store(address), open_sync_store(address)

    assert await store.run(SERVER) == calm.primary.port
    assert await asyncio.to_thread(blocking.run, SERVER) == calm.primary.port

    await store.close()
    blocking.close()


@pytest.mark.parametrize(
    ("tail", "why"),
    [("{good}/other", "no service 'other'"), ("127.0.0.1:1/mymaster", "not reachable")],
)
async def test_what_no_sentinel_can_tell_is_said_in_one_line(
    calm: SentinelGroup, tail: str, why: str
) -> None:
    good = f"127.0.0.1:{calm.sentinels[0].port}"
    address = Address.parse("redis+sentinel://" + tail.format(good=good))
    store, blocking = open_store(address), open_sync_store(address)

    with pytest.raises(StoreUnavailable, match=why) as caught:
        await store.run(PING)
    assert "\n" not in str(caught.value)
    with pytest.raises(StoreUnavailable, match=why):
        await asyncio.to_thread(blocking.run, PING)

    await store.close()
    blocking.close()


async def test_a_server_that_is_no_primary_is_not_used(calm: SentinelGroup) -> None:
    """A sentinel that is behind the times names a replica: the server itself must agree."""
    address = Address.parse(calm.url)
    replica = calm.replicas[0].port
    store, blocking = open_store(address), open_sync_store(address)
    for one in (store, blocking):
        one._sentinels.primary = lambda *_: address.at("127.0.0.1", replica)  # type: ignore[attr-defined]

    with pytest.raises(StoreUnavailable, match="no primary"):
        await store.run(PING)
    with pytest.raises(StoreUnavailable, match="no primary"):
        await asyncio.to_thread(blocking.run, PING)

    await store.close()
    blocking.close()


async def test_sentinels_and_servers_may_have_passwords_of_their_own() -> None:
    with sentinel_group(
        "redis", replicas=0, sentinels=1, sentinel_password="watch", requirepass="data"
    ) as group:
        hosts = group.url.removeprefix("redis+sentinel://")
        good = Address.parse(f"redis+sentinel://:data@{hosts}?sentinel_password=watch")
        bad = Address.parse(f"redis+sentinel://:data@{hosts}?sentinel_password=wrong")
        for address in (good, bad):
            store, blocking = open_store(address), open_sync_store(address)
            if address is good:
                assert await store.run(SERVER) == group.primary.port
                assert await asyncio.to_thread(blocking.run, SERVER) == group.primary.port
            else:
                with pytest.raises(StoreRefused):
                    await store.run(PING)
                with pytest.raises(StoreRefused):
                    await asyncio.to_thread(blocking.run, PING)
            await store.close()
            blocking.close()


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_work_goes_on_by_itself_when_the_primary_is_gone(
    group: SentinelGroup, make: MakeApp, how: str
) -> None:
    """SIGKILL: the connections break. SIGSTOP: they stay, and nothing is answered."""
    words = {"socket_timeout": 1.0, "connect_timeout": 1.0, "replica_timeout": 0.4}
    producer = make(group.url, durability="replicated", **words)
    app = make(group.url, **words)
    load = Load(producer, app, "default")
    old = group.primary

    async with working(app):
        async with load.pouring():
            await load.more(100)
            began = time.monotonic()
            old.kill() if how == "kill" else old.stop()
            await asyncio.to_thread(group.wait_for_failover, old)
            failed_over = time.monotonic()
            taken, ran = await recovery(load, failed_over)
            await load.more(100)
        await load.all_done()

    print(
        f"{how}: failed over after {failed_over - began:.2f} s, jobs taken {taken:.2f} s and run"
        f" {ran:.2f} s later; {load.repeated} of {len(load.ran)} ran more than once"
    )
    assert taken < 5
    assert ran < 5


async def test_the_old_primary_takes_no_more_writes_once_it_is_back(
    group: SentinelGroup, make: MakeApp
) -> None:
    words = {"socket_timeout": 1.0, "connect_timeout": 1.0}
    app = make(group.url, **words)
    await app.enqueue("t", 1)
    old = group.primary
    old.stop()
    await asyncio.to_thread(group.wait_for_failover, old)
    old.go_on()

    async def sent() -> bool:
        try:
            await app.enqueue("t", 2)
        except StoreUnavailable:
            return False
        return True

    await eventually(sent, 20)
    await eventually(lambda: old.role() == "slave", 20)
    for n in range(20):
        await app.enqueue("t", n)
    info = await app.client.store.run(SERVER)

    assert info == group.primary.port


async def test_a_primary_that_was_told_to_step_down_is_left_at_once(
    group: SentinelGroup, make: MakeApp
) -> None:
    """A planned failover: nothing dies, the old primary refuses writes."""
    producer, app = make(group.url), make(group.url)
    load = Load(producer, app, "default")
    old = group.primary

    async with working(app), load.pouring():
        await load.more(100)
        group.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE)
        await asyncio.to_thread(group.wait_for_failover, old)
        await load.more(100)


def test_worker_processes_and_commands_live_through_a_failover(
    group: SentinelGroup, namespace: str, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    words = {"socket_timeout": 1.0, "connect_timeout": 1.0}
    app = TaskQ(group.url, **quick(namespace, **words))
    with worker_process(group, namespace, **words) as worker:
        app.named("note").enqueue_sync(str(notes), "before")
        worker.lines(notes, 2)
        old = group.primary
        old.kill()
        group.wait_for_failover(old)

        def sent() -> bool:
            try:
                app.named("note").options(id="after").enqueue_sync(str(notes), "after")
            except StoreUnavailable:
                return False
            return True

        wait_until(sent, 20)
        assert worker.lines(notes, 4)[-1] == "end after"
    app.close_sync()


@pytest.mark.parametrize("words", [("status",), ("workers",), ("doctor",)])
def test_commands_look_at_a_sentinel_group(
    calm: SentinelGroup, namespace: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    app = TaskQ(calm.url, **quick(namespace))
    app.named("t").options(queue="mail").enqueue_sync(1)
    app.close_sync()

    ran = Cli(tmp_path, calm.url, namespace).call(*words, "--json")

    assert ran.code in (0, 1), ran.err
    assert "Traceback" not in ran.err
    assert words != ("status",) or "mail" in ran.out


def test_a_command_that_finds_no_sentinel_says_so_and_ends_with_69(
    namespace: str, tmp_path: Path
) -> None:
    ran = Cli(tmp_path, "redis+sentinel://:hunter2@127.0.0.1:1/main", namespace).call("status")

    assert ran.code == 69
    assert "no sentinel of redis+sentinel://:***@127.0.0.1:1/main" in ran.error
