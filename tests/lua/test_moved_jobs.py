"""A job's record that cannot be read is no missing job: its slot is moving to another node, or the
user may not read it. The script stops, and has changed nothing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from taskq.commands import Call
from taskq.errors import StoreError
from taskq.keys import QueueKeys
from tests.helpers import delete_queue
from tests.lua.engine import WORKER, Engine
from tests.lua.scenarios import CASES, Case
from tests.topologies import Cluster, cluster

#: Scripts that look at no job.
UNAWARE = ("limit", "pause", "resume", "configure", "heartbeat", "retire", "schedule", "rights")


def wipe(engine: Engine) -> None:
    for name in engine.dump():
        engine.client.unlink(engine.keys.prefix + name)


def jobs_of(engine: Engine, case: Case) -> list[str]:
    """Every job the scenario has before its call, and those the call makes."""
    wipe(engine)
    call = case.build(engine)
    before = set(engine.dump())
    engine.raw(call)
    return sorted(name for name in {*before, *engine.dump()} if name.startswith("job:"))


@pytest.fixture
def user(real: Engine) -> Iterator[str]:
    """The name of a user of the server; the test says what it may read."""
    yield real.keys.namespace
    real.client.execute_command("ACL", "DELUSER", real.keys.namespace)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_job_that_may_not_be_read_stops_the_script_before_any_write(
    real: Engine, case: Case, user: str
) -> None:
    names = jobs_of(real, case)
    prefix = real.keys.prefix
    read, half_done = 0, {}
    for hidden in names:
        wipe(real)
        call = case.build(real)
        others = [f"~{prefix}{name}" for name in names if name != hidden]
        rules = ["reset", "on", "nopass", "&*", "+@all", f"~{prefix}[^j]*", *others]
        real.client.execute_command("ACL", "SETUSER", user, *rules, f"~{real.clock_key}")
        path = real.client.connection_pool.connection_kwargs["path"]
        client = type(real.client)(unix_socket_path=path, username=user, password="x")
        store = real.store_for(client)
        before = real.dump()
        try:
            store.run(call)
        except StoreError:  # Redis 7.0 gives this refusal no code
            read += 1
            if real.changed(before):
                half_done[hidden] = real.changed(before)
        finally:
            store.close()
        assert real.dump().get(hidden) == before.get(hidden)

    assert half_done == {}
    assert bool(read) == (case.script not in UNAWARE)


@pytest.fixture(scope="module", params=["redis", "valkey"])
def nodes(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with cluster(request.param, primaries=2) as group:
        yield group


@pytest.fixture
def halved(nodes: Cluster) -> Iterator[Engine]:
    """A queue on one node of a Cluster; the test moves some of its keys to the other."""
    keys = QueueKeys("taskq", "q")
    source = nodes.owner(nodes.slot_of(keys.ready))
    assert source is not None
    with contextlib.closing(source.client()) as client:
        yield Engine(client=client, keys=keys, kind="redis")
        delete_queue(client, "taskq:")


def fill(engine: Engine, call: Call[Any]) -> None:
    """Make every declared key exist: while a slot moves, a call that names a missing one is refused
    before its script runs.
    """
    header = engine.scripts.get(call.script).header
    for at, key in enumerate(call.keys):
        about = header.keys[min(at, len(header.keys) - 1)][1]
        if engine.client.exists(key):
            continue
        if " zset" in about:
            engine.client.zadd(key, {"filler": 9 * 10**14})
        elif " hash" in about:
            engine.client.hset(key, "filler", "1")
        elif " list" in about:
            engine.client.rpush(key, "1")
        elif key.endswith(":classes"):
            engine.client.sadd(key, "gpu")
            engine.client.zadd(engine.keys.ready_of("gpu"), {"filler": 9 * 10**14})
        elif " set" in about:
            engine.client.sadd(key, WORKER)
        else:
            engine.client.set(key, "1")


def listed(engine: Engine, job: str) -> list[str]:
    """The indexes that list a job."""
    job_id = job.removeprefix("job:")
    return [
        n for n, entry in engine.dump().items() if entry.type == "zset" and job_id in entry.content
    ]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_in_a_slot_that_is_half_moved_a_script_does_all_or_nothing(
    halved: Engine, nodes: Cluster, case: Case
) -> None:
    case.build(halved)
    slot = nodes.slot_of(halved.keys.ready)
    source = nodes.owner(slot)
    assert source is not None
    target = next(nodes.ids[node.port] for node in nodes.primaries if node is not source)
    refused = 0
    for moved in [name for name in halved.dump() if re.match("job:(?!old|new)", name)]:
        wipe(halved)
        call = case.build(halved)
        fill(halved, call)
        where = listed(halved, moved)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target)
        halved.client.delete(halved.keys.prefix + moved)
        before = halved.dump()
        try:
            halved.run(call)
        except StoreError:
            refused += 1
            assert halved.changed(before) == {}
        finally:
            source.ask("CLUSTER", "SETSLOT", slot, "STABLE")
        assert moved not in halved.dump(), "half a record was made"
        assert listed(halved, moved) == where, "taken for a missing job"

    # A change of policy asks for the sets it would turn, which are not there.
    aware = case.script not in UNAWARE or case.name == "configure a policy"
    assert bool(refused) == aware


def test_what_a_lost_worker_holds_is_not_nothing_because_it_may_not_be_read(
    real: Engine, user: str
) -> None:
    real.seed_running("a")
    real.lose(WORKER)
    rules = ["reset", "on", "nopass", "&*", "+@all", f"~{real.clock_key}"]
    real.client.execute_command(
        "ACL", "SETUSER", user, *rules, f"~{real.keys.prefix}[^r]*", f"~{real.keys.ready}*"
    )
    path = real.client.connection_pool.connection_kwargs["path"]
    store = real.store_for(type(real.client)(unix_socket_path=path, username=user, password="x"))
    before = real.dump()

    with contextlib.closing(store), pytest.raises(StoreError):
        store.run(real.reap_call())

    assert real.changed(before) == {}
