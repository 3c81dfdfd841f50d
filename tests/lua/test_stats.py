"""lua/stats.lua: how many jobs are where."""

from __future__ import annotations

from taskq import commands
from taskq.commands import QueueStats
from tests.lua.engine import START, Engine


def stats(engine: Engine) -> QueueStats:
    return engine.run(commands.stats(engine.keys))


def test_an_empty_queue_has_nothing_anywhere(engine: Engine) -> None:
    places = ["ready", "scheduled", "retry", "running", "dead", "done", "blocked"]
    nothing = dict.fromkeys(places, 0)

    assert stats(engine) == QueueStats(START, nothing, {}, {}, {}, {}, -1, None, {}, {}, {}, {})
    assert engine.dump() == {}


def test_it_counts_every_place_and_writes_nothing(engine: Engine) -> None:
    engine.seed_ready("r1", 40000000000123.0)
    engine.seed_ready("r2", 50000000000123.0)
    for n in range(3):
        engine.seed_ready(f"g{n}", n, "gpu")
    engine.client.sadd(engine.keys.classes, "gpu", "idle")
    engine.seed_due("scheduled", "s1", START + 90)
    engine.seed_due("retry", "t1", START + 80)
    engine.seed_running("a", worker="w1")
    engine.seed_running("b", worker="w2")
    engine.seed_running("c", worker="w2")
    engine.seed_alive("w1")
    engine.client.sadd(engine.keys.holders, "w2", "w3")
    engine.client.hset(engine.keys.suspects, "w2", START)
    engine.seed_ended("d1", "dead")
    engine.seed_ended("e1", "completed")
    engine.seed_ended("e2", "cancelled")
    engine.client.hset(engine.keys.meta, "policy", "aging")
    engine.client.hset(engine.keys.stats, mapping={"enqueued": 12, "completed": 1})
    before = engine.dump()

    seen = stats(engine)

    assert seen == QueueStats(
        START,
        {"ready": 5, "scheduled": 1, "retry": 1, "running": 3, "dead": 1, "done": 2, "blocked": 0},
        {"gpu": 3, "idle": 0},
        {"w1": (1, "alive"), "w2": (2, "suspect"), "w3": (0, "silent")},
        {"policy": "aging"},
        {"enqueued": 12, "completed": 1},
        80,
        ("r1", 40000000000123.0, START),
        {"w1": 0, "w2": 0, "w3": 0},
        {},
        {},
        {},
    )
    assert engine.changed(before) == {}


def test_a_head_without_a_record_is_shown_all_the_same(engine: Engine) -> None:
    engine.client.zadd(engine.keys.ready, {"ghost": 5})

    assert stats(engine).head == ("ghost", 5.0, 0)


def test_two_hundred_workers_and_classes_are_looked_at(engine: Engine) -> None:
    for key in (engine.keys.holders, engine.keys.classes):
        engine.client.sadd(key, *(f"n{n}" for n in range(250)))

    found = stats(engine)

    assert (len(found.workers), len(found.classes)) == (200, 200)
    engine.client.unlink(engine.keys.holders)


def test_without_a_next_job_its_words_are_empty_on_the_wire(engine: Engine) -> None:
    assert engine.raw(commands.stats(engine.keys))[8] == [b"", b"", b""]
    engine.client.zadd(engine.keys.ready, {"ghost": 7})
    assert engine.raw(commands.stats(engine.keys))[8] == [b"ghost", b"7", b""]
    engine.client.unlink(engine.keys.ready)


def test_it_tells_what_waits_for_limits_and_which_schedules_tick_next(engine: Engine) -> None:
    prefix = engine.keys.prefix
    timers = {"limit:a": "+inf", "limit:b:1": START, "cron:night": START + 5, "cron:off": "+inf"}
    engine.client.zadd(prefix + "timers", {**timers, "turn": 1, "limit:free": 2})
    engine.client.zadd(prefix + "parked:a", {"x": 1, "y": 2})
    engine.client.zadd(prefix + "parked:b:1", {"z": 1})
    engine.client.zadd(prefix + "blocked", {"x": 1, "y": 2, "z": 1})
    engine.client.hset(prefix + "limits", mapping={"a": "concurrency=1 on=queue"})
    engine.client.hset(engine.keys.meta, "limited", "1 queue=a")
    engine.client.zadd(prefix + "turned", {"t": 1})

    found = stats(engine)

    assert (found.jobs["blocked"], found.jobs["ready"]) == (3, 1)
    assert found.parked == {"a": 2, "b:1": 1}
    assert found.limits == {"a": "concurrency=1 on=queue"}
    assert found.ticks == {"night": START + 5, "off": float("inf")}
