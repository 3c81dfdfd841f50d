"""lua/heartbeat.lua, what workers measured: averages of run times, and slacks."""

from __future__ import annotations

import pytest

from taskq import commands
from taskq.commands import Measure
from tests.lua.engine import START, WORKER, Engine


def tell(engine: Engine, *measures: Measure, told: int = 1, worker: str = WORKER) -> None:
    engine.run(
        commands.heartbeat(engine.keys, worker, ttl_ms=6000, slots=2, told=told, measures=measures)
    )


def averages(engine: Engine) -> dict[str, float]:
    found = engine.client.hgetall(engine.keys.averages)
    return {name.decode(): float(value) for name, value in found.items()}  # type: ignore[union-attr]


def slacks(engine: Engine) -> dict[str, str]:
    found = engine.client.hgetall(engine.keys.slacks)
    return {name.decode(): value.decode() for name, value in found.items()}  # type: ignore[union-attr]


def test_the_first_average_is_the_mean_of_what_was_measured(engine: Engine) -> None:
    tell(engine, Measure("a", 4, 100.0), Measure("b", 1, 0.25))

    assert averages(engine) == {"a": 25.0, "b": 0.25, "*": 20.05}
    assert slacks(engine) == {}


def test_each_run_moves_the_average_by_a_tenth(engine: Engine) -> None:
    tell(engine, Measure("a", 1, 100.0))
    tell(engine, Measure("a", 1, 200.0), told=2)
    assert averages(engine) == {"a": 110.0, "*": 110.0}

    tell(engine, Measure("a", 2, 20.0), told=3)
    assert averages(engine) == {"a": 91.0, "*": 91.0}


def test_many_runs_make_the_average_their_own(engine: Engine) -> None:
    tell(engine, Measure("a", 1, 9000.0))
    tell(engine, Measure("a", 100_000, 500_000.0), told=2)

    assert averages(engine) == {"a": 5.0, "*": 5.0}


def test_a_beat_that_is_sent_again_counts_once(engine: Engine) -> None:
    one = Measure("a", 1, 200.0, 1, 50.0, 50.0, 1)
    tell(engine, Measure("a", 1, 100.0))
    tell(engine, one, told=2)
    before = engine.dump()

    tell(engine, one, told=2)

    assert engine.changed(before) == {}
    assert engine.dump()["vitals"].content == {
        WORKER: f"rss=0 slots=2 told=2 beat_ms={START}",
    }


def test_beats_without_measures_keep_the_number_of_the_last(engine: Engine) -> None:
    tell(engine, Measure("a", 1, 100.0), told=7)
    tell(engine, told=7)
    tell(engine, Measure("a", 1, 200.0), told=7)
    assert averages(engine)["a"] == 100.0

    tell(engine, Measure("a", 1, 200.0), told=8)
    tell(engine, Measure("a", 1, 210.0), told=8, worker="w2")
    assert averages(engine)["a"] == 120.0, "the numbers are each worker's own"


@pytest.mark.parametrize("odd", ["", "x", "nan", "inf", "-1", "1e300", "12 apples"])
def test_nonsense_in_the_hash_is_begun_anew(engine: Engine, odd: str) -> None:
    engine.client.hset(engine.keys.averages, mapping={"a": odd, "*": odd})
    engine.client.hset(engine.keys.slacks, "a", odd)

    tell(engine, Measure("a", 2, 50.0, 1, 9.0, 9.0, 0))

    assert averages(engine) == {"a": 25.0, "*": 25.0}
    assert slacks(engine) == {"a": "jobs=1 sum_ms=9 least_ms=9 late=0"}


def test_slacks_add_up_and_remember_the_least(engine: Engine) -> None:
    tell(engine, Measure("a", 0, 0, 2, 3000, 1000, 0))
    tell(engine, Measure("a", 2, 10, 1, -500, -500, 2), told=2)
    tell(engine, Measure("a", 1, 10, 1, 900, 900, 0), told=3)

    assert slacks(engine) == {"a": "jobs=4 sum_ms=3400 least_ms=-500 late=2"}


def test_the_first_runs_that_were_late_need_no_start_in_the_same_beat(engine: Engine) -> None:
    tell(engine, Measure("a", 1, 10, 0, 0, 5, 1))

    assert slacks(engine) == {"a": "jobs=0 sum_ms=0 least_ms=5 late=1"}


def test_a_thousand_tasks_at_most_are_remembered_and_all_of_one_beat(engine: Engine) -> None:
    old = {f"old{n}": "1" for n in range(998)}
    engine.client.hset(engine.keys.averages, mapping={**old, "*": "1"})
    engine.client.hset(engine.keys.slacks, mapping=dict.fromkeys(old, "x"))

    for told in range(1, 6):
        tell(engine, *(Measure(f"new{told}{n}", 1, 5.0, 1, 1, 1) for n in range(3)), told=told)
        assert len(averages(engine)) <= 1000
        assert len(slacks(engine)) <= 1000

    assert len(averages(engine)) == 1000
    assert "*" in averages(engine)
    assert any(name.startswith("new5") for name in averages(engine)), "new ones find a place"


def test_a_task_that_is_known_is_kept_up_although_there_is_no_room(engine: Engine) -> None:
    engine.client.hset(
        engine.keys.averages, mapping={**{f"old{n}": "1" for n in range(999)}, "*": "1"}
    )

    tell(engine, Measure("old7", 10**6, 5e6))

    assert averages(engine)["old7"] == 5.0
    assert averages(engine)["*"] == 5.0
    assert len(averages(engine)) == 1000


def test_what_is_told_in_a_beat_is_never_what_makes_room_in_it(engine: Engine) -> None:
    names = {f"old{n}": "1" for n in range(999)}
    engine.client.hset(engine.keys.averages, mapping={**names, "*": "1"})

    for told in range(1, 150):  # each would draw one of its own in 5 of 100
        known = engine.client.hrandfield(engine.keys.averages, 50)
        mine = [name.decode() for name in known if name != b"*"][:49]  # type: ignore[union-attr]
        tell(engine, *(Measure(name, 1, 5.0) for name in [*mine, f"new{told}"]), told=told)

    assert engine.client.hlen(engine.keys.averages) == 1000


def test_reap_adds_up_the_slots_of_those_alive(engine: Engine) -> None:
    for worker, slots in (("w1", 3), ("w2", 4), ("w3", 50)):
        engine.run(commands.heartbeat(engine.keys, worker, ttl_ms=6000, slots=slots))
    engine.client.delete(engine.keys.alive("w3"))
    engine.reap()
    assert engine.client.hget(engine.keys.meta, "slots") == b"7"

    engine.run(commands.retire(engine.keys, "w1"))
    engine.now += 1000
    engine.reap()
    assert engine.client.hget(engine.keys.meta, "slots") == b"4"

    engine.run(commands.retire(engine.keys, "w2"))
    engine.now += 1000
    engine.reap()
    assert engine.client.hget(engine.keys.meta, "slots") is None


def test_reap_counts_a_worker_that_says_no_slots_as_none(engine: Engine) -> None:
    engine.seed_alive("old")
    engine.client.hset(engine.keys.vitals, "old", "rss=5 beat_ms=1")
    engine.run(commands.heartbeat(engine.keys, "w1", ttl_ms=6000, slots=3))

    engine.reap()

    assert engine.client.hget(engine.keys.meta, "slots") == b"3"


def test_reap_takes_those_it_did_not_look_at_for_like_the_others(engine: Engine) -> None:
    for n in range(150):
        engine.run(commands.heartbeat(engine.keys, f"w{n}", ttl_ms=6000, slots=2))

    engine.reap()

    assert engine.client.hget(engine.keys.meta, "slots") == b"300"
