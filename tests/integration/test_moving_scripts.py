"""Scripts on a slot that is half-way between two nodes: they stop before any write, or never begin.

Lua does not roll back. A script that took a job whose hash has moved for a job that is gone would
drop its id from the indexes, and the job would be lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from taskq import commands
from taskq.address import Address
from taskq.commands import Call
from taskq.errors import StoreUnavailable
from taskq.keys import QueueKeys
from taskq.scripts import ScriptSet
from taskq.slots import guarded
from taskq.store_sync import SyncStore
from tests.helpers import Entry, dump_queue
from tests.lua.engine import _CLOCK, Engine
from tests.lua.scenarios import CASES, MUTATING, Case
from tests.topologies import Cluster, Migration, cluster

KEYS = QueueKeys("moving", "q")
#: These read no job, so a moved job is nothing to them.
NO_JOBS = {
    "configure",
    "heartbeat",
    "limit",
    "pause",
    "resume",
    "retire",
    "rights",
    "schedule",
    "stats",
}


@pytest.fixture(scope="module", params=["redis", "valkey"])
def group(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with cluster(request.param, primaries=2) as found:
        yield found


class Bench:
    """A queue on one node, and the other node its slot is on the way to."""

    def __init__(self, group: Cluster) -> None:
        slot = group.slot_of(KEYS.ready)
        source = group.owner(slot)
        assert source is not None
        self.source = source
        self.target = next(node for node in group.primaries if node is not source)
        self.migration = Migration(group, slot, self.source, self.target)
        self.client = source.client()
        self.engine: Engine

    def reset(self) -> None:
        """Nothing anywhere, and the slot at rest."""
        for node in (self.source, self.target):
            node.ask("FLUSHALL")
            node.ask("CLUSTER", "SETSLOT", self.migration.slot, "STABLE")
        self.engine = Engine(client=self.client, keys=KEYS, kind="redis")

    def seed(self, case: Case) -> Call[Any]:
        """A case's queue and call."""
        call = case.build(self.engine)
        self.fill_for(call)
        return call

    def fill_for(self, call: Call[Any]) -> None:
        """Make every key that the call names exist, so that its script begins in a moving slot."""
        kinds = self.engine.scripts.get(call.script).header.keys
        for position, key in enumerate(call.keys):
            about = kinds[min(position, len(kinds) - 1)][1].split()
            kind = next(word for word in about if word in ("zset", "hash", "list", "set", "string"))
            if not self.client.exists(key):
                fill(self.client, kind, key)

    def dump(self) -> dict[str, Entry]:
        return dump_queue(self.client, KEYS.prefix)


def fill(client: redis.Redis, kind: str, key: str) -> None:
    if kind == "zset":
        client.zadd(key, {"zz": 9e15})
    elif kind == "hash":
        client.hset(key, "zz", "1")
    elif kind == "list":
        client.rpush(key, "1")
    elif kind == "set":
        client.sadd(key, "zz")
    else:
        client.set(key, "1")


@pytest.fixture
def bench(group: Cluster) -> Iterator[Bench]:
    found = Bench(group)
    found.reset()
    yield found
    found.reset()
    found.client.close()


def is_job(key: bytes) -> bool:
    return b":job:" in key


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_script_that_meets_a_moved_job_stops_before_any_write(bench: Bench, case: Case) -> None:
    call = bench.seed(case)
    bench.migration.begin()
    assert bench.migration.move(is_job) > 0 or case.script in NO_JOBS
    before = bench.dump()

    if case.script in NO_JOBS:
        with contextlib.suppress(StoreUnavailable):
            bench.engine.raw(call)
    else:
        with pytest.raises(StoreUnavailable, match=r"try|wait"):
            bench.engine.raw(call)
        assert bench.engine.changed(before) == {}


def test_jobs_of_a_lost_worker_stay_its_own_while_their_index_is_away(bench: Bench) -> None:
    reap = next(case for case in CASES if case.script == "reap")
    call = bench.seed(reap)
    bench.migration.begin()
    assert bench.migration.move(lambda key: b":running:" in key) > 0
    before = bench.dump()

    with pytest.raises(StoreUnavailable):
        bench.engine.raw(call)
    assert bench.engine.changed(before) == {}


@pytest.mark.parametrize("case", MUTATING, ids=str)
def test_a_guarded_script_never_begins_while_its_slot_moves(bench: Bench, case: Case) -> None:
    """Even with everything still there: a key that a script empties could not be written again."""
    call = guarded(bench.seed(case))
    scripts = ScriptSet(replace={"now_us": _CLOCK % bench.engine.clock_key}, guarded=True)
    store = SyncStore(Address(), scripts=scripts, client=bench.client)
    bench.migration.begin()
    before = bench.dump()

    with pytest.raises(StoreUnavailable, match=r"TRYAGAIN|ASK"):
        store.run(call)
    assert bench.engine.changed(before) == {}

    bench.reset()
    call = guarded(case.build(bench.engine))
    before = bench.dump()
    store.run(Call(call.script, call.keys, call.args, lambda reply: reply))
    assert bench.engine.changed(before), "at rest the same guarded script does its work"


def test_without_the_guard_a_script_can_stop_half_way(bench: Bench) -> None:
    """Why there is a guard: `revive` empties the index of the dead, and may not look there now."""
    engine = bench.engine
    engine.seed_ended("a", "dead")
    engine.seed_ended("b", "cancelled")
    call = commands.revive(KEYS, ["a", "b"])
    bench.fill_for(call)
    bench.migration.begin()

    with pytest.raises(StoreUnavailable):
        engine.raw(call)

    bench.source.ask("CLUSTER", "SETSLOT", bench.migration.slot, "STABLE")
    states = [bench.client.hget(KEYS.job(job_id), "state") for job_id in "ab"]
    assert states == [b"ready", b"cancelled"]


def test_asking_the_target_would_take_what_has_not_arrived_for_missing(bench: Bench) -> None:
    """Why ASK is never followed."""
    engine = bench.engine
    engine.seed_running("a")
    bench.migration.begin()
    bench.migration.move(lambda key: b":running:" in key)

    held = engine.scripts.get("held")
    with bench.target.client(single_connection_client=True) as client:
        client.script_load(held.source)
        client.execute_command("ASKING")
        reply = client.evalsha(held.sha, 1, KEYS.running("w1"), KEYS.job_prefix, "w1", 0, 10)

    assert reply[:3] == [b"OK", 1, [b"a"]]
    assert reply[3:] == [], "it says that job a is not held, but its hash is only not there yet"
