"""lua/heartbeat.lua and lua/retire.lua: a worker's proof of life, and its clean exit."""

from __future__ import annotations

import pytest

from taskq import commands
from taskq.commands import Beat
from taskq.errors import StoreError
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


def look(engine: Engine, worker: str = WORKER, *, slots: int = 4, every_ms: int = 1500) -> Beat:
    return engine.run(
        commands.heartbeat(engine.keys, worker, ttl_ms=6000, slots=slots, every_ms=every_ms)
    )


def test_a_beat_that_looks_notes_when_and_the_slots_of_all_that_live(engine: Engine) -> None:
    assert look(engine) == Beat(START, True, 0, [])
    assert engine.dump()["meta"] == a_hash({"reaped_ms": START, "slots": 4})

    engine.run(commands.heartbeat(engine.keys, "w2", ttl_ms=6000, slots=3))
    engine.now = START + 1500
    assert look(engine, "w3", slots=10).silent == 0
    assert engine.dump()["meta"] == a_hash({"reaped_ms": START + 1500, "slots": 17})
    assert "suspects" not in engine.dump()


@pytest.mark.parametrize(
    ("earlier", "looks"), [(1499, False), (1500, True), (0, False), (-1, True)]
)
def test_one_worker_looks_at_a_time(engine: Engine, earlier: int, looks: bool) -> None:
    engine.client.hset(engine.keys.meta, "reaped_ms", START - earlier)
    engine.client.sadd(engine.keys.holders, "w2")

    assert look(engine).silent == looks
    assert ("suspects" in engine.dump()) == looks


def test_a_beat_that_is_not_to_look_sees_nobody(engine: Engine) -> None:
    engine.client.sadd(engine.keys.holders, "w2")

    assert look(engine, every_ms=0).silent == 0
    assert not {"suspects", "meta"} & set(engine.dump())


def test_who_is_silent_is_suspected_once_and_no_pass_is_noted(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, mapping={"reaped_ms": START - 1500, "slots": 9})
    engine.client.sadd(engine.keys.holders, WORKER, "w2", "w3", "w4")
    engine.client.hset(engine.keys.suspects, mapping={WORKER: 1, "w2": START - 700})
    engine.run(commands.heartbeat(engine.keys, "w4", ttl_ms=6000, slots=3))

    assert look(engine).silent == 2
    assert engine.dump()["suspects"] == a_hash({"w2": START - 700, "w3": START})
    assert engine.dump()["meta"] == a_hash({"reaped_ms": START - 1500, "slots": 9})

    before = engine.dump()["suspects"]
    engine.now = START + 100
    assert look(engine).silent == 2
    assert engine.dump()["suspects"] == before


def test_silence_that_a_beat_saw_counts_as_suspicion(engine: Engine) -> None:
    """From a heartbeat's look to the pass that takes the jobs back it takes the grace time."""
    engine.seed_running("a", worker="w2")
    engine.client.sadd(engine.keys.holders, "w2")
    engine.client.hset(engine.keys.meta, "reaped_ms", START - 1000)

    assert look(engine, every_ms=750).silent == 1
    assert engine.reap() == (1000, [])
    engine.now = START + 2500
    assert engine.reap() == (-1, [("a", "READY", "w2")])


def test_after_a_gap_what_a_beat_saw_counts_from_the_pass_on(engine: Engine) -> None:
    engine.seed_running("a", worker="w2")
    engine.client.sadd(engine.keys.holders, "w2")
    engine.client.hset(engine.keys.meta, "reaped_ms", START - 3 * 1000 - 2500)

    assert look(engine).silent == 1
    engine.now = START + 2500
    assert engine.reap().jobs == []
    assert engine.dump()["suspects"] == a_hash({"w2": START + 2500})


def test_where_not_all_are_looked_at_the_others_have_as_many_slots_each(engine: Engine) -> None:
    for n in range(150):
        engine.run(commands.heartbeat(engine.keys, f"w{n}", ttl_ms=6000, slots=2))

    assert look(engine, "w0", slots=5).silent == 0
    assert engine.client.hget(engine.keys.meta, "slots") == str(2 * 149 + 5).encode()
    engine.client.unlink(engine.keys.holders, engine.keys.vitals)


def test_workers_without_slots_leave_none(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "slots", 9)

    look(engine, slots=0)

    assert engine.dump()["meta"] == a_hash({"reaped_ms": START})


def test_a_beat_tells_how_many_classes_there_are(engine: Engine) -> None:
    engine.client.sadd(engine.keys.classes, "gpu", "process")
    assert beat(engine).classes == 2


def test_a_broken_set_of_classes_costs_no_lease(engine: Engine) -> None:
    engine.client.set(engine.keys.classes, "oops")
    assert look(engine) == Beat(START, True, 0, [])
    assert f"alive:{WORKER}" in engine.dump()
    engine.client.unlink(engine.keys.classes)


@pytest.mark.parametrize("place", ["suspects", "vitals", "meta", "holders", "running"])
def test_a_key_of_another_type_stops_a_beat_before_it_writes(engine: Engine, place: str) -> None:
    key = engine.keys.running(WORKER) if place == "running" else getattr(engine.keys, place)
    engine.client.set(key, "oops")
    before = engine.dump()

    with pytest.raises(StoreError):
        look(engine)
    assert engine.changed(before) == {}
    engine.client.unlink(key)
