"""All or nothing: what a script leaves behind when the server refuses an inner command."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from taskq import commands
from taskq.commands import Ack, NewJob
from taskq.errors import StoreRefused, StoreUnavailable
from tests.lua.engine import KEEP, Engine, failure
from tests.lua.scenarios import CASES, MUTATING, Case

#: By scenario: commands without which the script stops half-way. Scripts look at the types of keys
#: before the first write, not at the user's permissions, which would cost every call a look per
#: command. So who uses a queue for the first time asks before (lua/rights.lua), and never gets
#: here; this is what a user finds whose rights are taken away later. `taskq doctor --repair` mends
#: it. Whoever makes a script safer shortens this.
HALF_DONE = {
    "ack": "HSET PEXPIRE PTTL PUBLISH RPUSH UNLINK ZADD",
    "ack too late": "HSET PEXPIRE PTTL PUBLISH RPUSH ZADD",
    "ack under limits": "DEL HDEL HSET PEXPIRE PUBLISH RPUSH ZADD",
    "bury": "DEL HDEL HSET PEXPIRE PTTL PUBLISH RPUSH SADD SREM UNLINK ZADD",
    "bury under limits": "DEL HDEL HSET PEXPIRE PUBLISH RPUSH SREM ZADD",
    "cancel a blocked job": "HDEL HSET PEXPIRE PTTL PUBLISH ZADD ZRANGE",
    "cancel a running job": "SADD",
    "cancel a waiting job": "HSET PEXPIRE PTTL PUBLISH ZADD",
    "cancel confirmed": "HSET PEXPIRE PTTL PUBLISH ZADD",
    "cancel under limits": "DEL HDEL HSET PEXPIRE RPUSH ZADD",
    "claim": "HSET PEXPIRE PTTL PUBLISH RPUSH ZADD",
    "claim under limits": "HDEL HSET PEXPIRE PTTL RPUSH ZADD",
    "configure": "HDEL",
    "configure a policy": "RENAME RPUSH ZADD ZRANGE",
    "enqueue": "RPUSH SADD ZADD ZRANGE",
    "enqueue with keys and ticks": "DEL HDEL HSET PEXPIRE PUBLISH RPUSH SADD SET ZADD",
    "fail": "HSET PEXPIRE PTTL PUBLISH RPUSH UNLINK ZADD ZRANGE",
    "fail under limits": "DEL HDEL HSET PEXPIRE PUBLISH RPUSH ZADD",
    "forget": "UNLINK",
    "heartbeat": "HDEL HSET SADD SREM",
    "limit": "HSET RPUSH ZADD",
    "promote": "HSET RPUSH ZADD",
    "promote timers": "HDEL HSET RPUSH ZADD",
    "purge": "PUBLISH ZREM",
    "purge blocked jobs": "HDEL HSET PUBLISH ZREM",
    "reap": "DEL HDEL PEXPIRE PTTL PUBLISH RPUSH SADD SREM UNLINK ZADD ZREM",
    "reap under limits": "DEL HDEL PEXPIRE PUBLISH RPUSH SREM ZADD ZREM",
    "release": "HSET PEXPIRE PTTL PUBLISH RPUSH SADD ZADD",
    "release under limits": "DEL HDEL HSET PEXPIRE PUBLISH RPUSH ZADD",
    "repair": "DEL HDEL HSET PERSIST PEXPIRE RPUSH SADD ZADD ZREM",
    "resume": "RPUSH",
    "retire": "HDEL SREM",
    "revive": "HDEL HSET PERSIST RPUSH ZADD",
    "revive in a fair queue": "HDEL HSET PERSIST RPUSH ZADD",
    "schedule": "RPUSH ZADD",
    "schedule removed": "ZREM",
}


def inner_commands(engine: Engine, case: Case) -> list[str]:
    source = engine.scripts.get(case.script).source
    return sorted(set(re.findall(r"redis\.p?call\('(\w+)'", source)))


@pytest.fixture
def user(real: Engine) -> Iterator[str]:
    """The name of a user of the server; the test says what it may do."""
    name = real.keys.namespace
    yield name
    real.client.execute_command("ACL", "DELUSER", name)


def wipe(engine: Engine) -> None:
    for name in engine.dump():
        engine.client.unlink(engine.keys.prefix + name)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_user_who_lacks_one_command_leaves_only_the_known_halves(
    real: Engine, case: Case, user: str
) -> None:
    halves = []
    for command in inner_commands(real, case):
        wipe(real)
        call = case.build(real)
        words = ("reset", "on", "nopass", "~*", "&*", "+@all", f"-{command.lower()}")
        real.client.execute_command("ACL", "SETUSER", user, *words)
        path = real.client.connection_pool.connection_kwargs["path"]
        client = type(real.client)(unix_socket_path=path, username=user, password="x")
        store = real.store_for(client)
        before = real.dump()
        try:
            store.run(commands.Call(call.script, call.keys, call.args, lambda reply: reply))
        except StoreRefused:
            if real.changed(before):
                halves.append(command)
        finally:
            store.close()

    assert halves == HALF_DONE.get(case.name, "").split()


@pytest.fixture
def full(real: Engine) -> Iterator[Engine]:
    """An engine whose server has no memory left once `fill` was called."""
    yield real
    real.client.config_set("maxmemory", 0)


def fill(engine: Engine) -> None:
    engine.client.config_set("maxmemory", 1)


def test_without_memory_jobs_end_and_live_on_and_only_new_ones_are_refused(full: Engine) -> None:
    full.seed_alive()
    for job_id in ("a", "b", "c", "d"):
        full.seed_running(job_id)
    full.seed_running("lost", worker="w2")
    full.lose("w2")
    full.seed_ready("e")
    full.seed_due("scheduled", "f", 1)
    enqueue = commands.enqueue(full.keys, [NewJob("x", "t", b"p")], max_jobs=100, all_or_none=False)
    for call in (enqueue, full.ack_call(), full.fail_call(), full.reap_call(every_ms=10**9)):
        full.store.scripts.get(call.script)
        full.client.script_load(full.scripts.get(call.script).source)
    for name in ("release", "promote", "heartbeat", "claim", "cancel"):
        full.client.script_load(full.scripts.get(name).source)
    fill(full)
    before = full.dump()

    with pytest.raises(StoreUnavailable, match="out of memory"):
        full.run(enqueue)
    assert full.changed(before) == {}

    assert full.ack(Ack("a", "7", b"r", KEEP)).refused == {}
    assert full.fail(failure("b")) == {"b": "RETRY"}
    assert full.release(("c", "7", "")) == {"c": "READY"}
    assert full.run(commands.promote(full.keys))[0] == 1
    assert full.reap().jobs == [("lost", "READY", "w2")]
    assert full.run(commands.heartbeat(full.keys, "w1", ttl_ms=6000)).holding == 1
    assert len(full.claim().jobs) == 4
    assert full.cancel_raw("d")[0] == b"REQUESTED"


#: They make work, or ask for it: nothing that must go on when the memory is used up.
REFUSED_WITHOUT_MEMORY = {"enqueue", "revive", "configure"}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_without_memory_only_what_makes_new_work_is_refused(full: Engine, case: Case) -> None:
    call = case.build(full)
    full.client.script_load(full.scripts.get(call.script).source)
    fill(full)
    before = full.dump()

    if case.script in REFUSED_WITHOUT_MEMORY:
        with pytest.raises(StoreUnavailable, match="out of memory"):
            full.raw(call)
        assert full.changed(before) == {}
    else:
        full.raw(call)
        assert case.reads_only or full.changed(before)


def test_every_known_half_names_a_scenario_that_exists() -> None:
    assert set(HALF_DONE) <= {case.name for case in MUTATING}
