"""lua/heartbeat.lua and lua/retire.lua: a worker's proof of life, and its clean exit."""

from __future__ import annotations

import pytest

from taskq import commands
from taskq.commands import Beat
from tests.helpers import a_hash, a_set, a_string, a_zset
from tests.lua.engine import START, WORKER, Engine


def beat(engine: Engine, worker: str = WORKER) -> Beat:
    return engine.run(commands.heartbeat(engine.keys, worker, ttl_ms=6000, rss=9_000_000, slots=4))


def test_the_first_beat_makes_the_worker_known(engine: Engine) -> None:
    assert beat(engine) == Beat(START, True, 0, [])
    assert engine.dump() == {
        f"alive:{WORKER}": a_string(START, ttl=True),
        "holders": a_set([WORKER]),
        "vitals": a_hash({WORKER: f"rss=9000000 slots=4 beat_ms={START}"}),
    }
    assert 5000 < engine.ttl(f"alive:{WORKER}") <= 6000


def test_a_beat_in_time_has_not_lapsed_and_lengthens_life(engine: Engine) -> None:
    beat(engine)
    engine.client.pexpire(engine.keys.alive(WORKER), 1000)
    engine.now = START + 2000

    assert beat(engine) == Beat(START + 2000, False, 0, [])
    assert engine.ttl(f"alive:{WORKER}") > 5000


def test_a_beat_clears_suspicion_of_this_worker_only(engine: Engine) -> None:
    engine.seed_running("a")
    engine.client.hset(engine.keys.suspects, mapping={WORKER: START, "w2": START})

    assert beat(engine) == Beat(START, True, 1, [])
    assert engine.dump()["suspects"] == a_hash({"w2": START})
    assert engine.dump()[f"running:{WORKER}"] == a_zset({"a": START})


def test_cancellations_are_told_while_the_job_runs_and_then_forgotten(engine: Engine) -> None:
    engine.seed_running("a")
    engine.client.sadd(engine.keys.cancels(WORKER), "a", "gone")

    assert beat(engine).cancels == ["a"]
    assert beat(engine).cancels == ["a"]
    assert engine.dump()[f"cancels:{WORKER}"] == a_set(["a"])

    engine.client.zrem(engine.keys.running(WORKER), "a")
    assert beat(engine).cancels == []
    assert f"cancels:{WORKER}" not in engine.dump()


def test_a_hundred_cancellations_at_most_are_told_in_one_beat(engine: Engine) -> None:
    for n in range(130):
        engine.seed_running(f"j{n}")
        engine.client.sadd(engine.keys.cancels(WORKER), f"j{n}")

    assert len(set(beat(engine).cancels)) == 100


def test_a_worker_that_holds_nothing_retires_for_good(engine: Engine) -> None:
    beat(engine)
    beat(engine, "w2")
    engine.client.sadd(engine.keys.cancels(WORKER), "gone")
    engine.client.hset(engine.keys.suspects, WORKER, START)

    assert engine.run(commands.retire(engine.keys, WORKER)) == 0
    assert engine.dump() == {
        "alive:w2": a_string(START, ttl=True),
        "holders": a_set(["w2"]),
        "vitals": a_hash({"w2": f"rss=9000000 slots=4 beat_ms={START}"}),
    }
    assert engine.run(commands.retire(engine.keys, WORKER)) == 0


def test_a_worker_that_holds_jobs_may_not_retire(engine: Engine) -> None:
    beat(engine)
    engine.seed_running("a")
    before = engine.dump()

    assert engine.run(commands.retire(engine.keys, WORKER)) == 1
    assert engine.raw(commands.retire(engine.keys, WORKER)) == [b"HOLDING", 1]
    assert engine.changed(before) == {}


def test_it_tells_producers_when_the_server_is_above_the_watermark_and_when_not(
    real: Engine,
) -> None:
    client = real.client
    used = int(client.info("memory")["used_memory"])
    try:
        client.config_set("maxmemory", 4 * used)
        look = commands.heartbeat(
            real.keys, WORKER, ttl_ms=6000, rss=1, watermark=10, pressed_ms=25_000
        )
        real.run(look)
        until, seen, most = real.dump()["meta"].content["pressed"].split()
        assert (int(until), int(most)) == (START + 25_000, 4 * used)
        assert 0.9 * used < int(seen) < 4 * used

        real.run(commands.heartbeat(real.keys, WORKER, ttl_ms=6000, rss=1))
        assert "meta" in real.dump(), "a beat that did not look knows nothing"

        client.config_set("maxmemory", 100 * used)
        real.run(look)
        assert "meta" not in real.dump()
    finally:
        client.config_set("maxmemory", 0)


def test_a_server_without_a_limit_is_never_above_it(real: Engine) -> None:
    real.run(
        commands.heartbeat(real.keys, WORKER, ttl_ms=6000, rss=1, watermark=1, pressed_ms=9000)
    )
    assert "meta" not in real.dump()


@pytest.mark.parametrize(("watermark", "times", "pressed"), [(0, 2, False), (1, 50, True)])
def test_a_watermark_of_nothing_is_none_and_one_percent_is_one(
    real: Engine, watermark: int, times: int, pressed: bool
) -> None:
    used = int(real.client.info("memory")["used_memory"])
    try:
        real.client.config_set("maxmemory", times * used)
        look = commands.heartbeat(
            real.keys, WORKER, ttl_ms=6000, rss=1, watermark=watermark, pressed_ms=9000
        )
        real.run(look)
        assert ("meta" in real.dump()) == pressed
        real.client.config_set("maxmemory", 10_000 * used)
        real.run(look)
        assert "meta" not in real.dump()
    finally:
        real.client.config_set("maxmemory", 0)


def test_the_smallest_limit_is_a_limit(real: Engine) -> None:
    look = commands.heartbeat(real.keys, WORKER, ttl_ms=6000, rss=1, watermark=90, pressed_ms=9000)
    real.run(look)
    try:
        real.client.config_set("maxmemory", 1)
        real.run(look)
    finally:
        real.client.config_set("maxmemory", 0)
    assert real.dump()["meta"].content["pressed"].endswith(" 1")


def test_a_user_who_may_not_ask_for_the_memory_beats_all_the_same(real: Engine) -> None:
    name = real.keys.namespace
    words = ("reset", "on", "nopass", "~*", "&*", "+@all", "-info")
    real.client.execute_command("ACL", "SETUSER", name, *words)
    path = real.client.connection_pool.connection_kwargs["path"]
    store = real.store_for(type(real.client)(unix_socket_path=path, username=name, password="x"))
    try:
        beat = store.run(
            commands.heartbeat(real.keys, WORKER, ttl_ms=6000, rss=1, watermark=90, pressed_ms=9000)
        )
    finally:
        store.close()
        real.client.execute_command("ACL", "DELUSER", name)
    assert beat.now_ms == START
