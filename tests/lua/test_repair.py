"""repair: running -> ready; what a mend does to each thing that audit finds. What is set aside:
test_repair_aside.py.
"""

from __future__ import annotations

import pytest

from taskq import commands
from taskq.rank import HORIZON_MS
from tests.helpers import a_hash, a_list, a_set, a_string, a_zset
from tests.lua.engine import DEAD_KEEP, KEEP, START, Engine, job
from tests.lua.mending import mend, twice

#: Rank of a job of priority 5 that becomes ready at START.
RANK = 4e13 + START + HORIZON_MS
WAKE = {"wake": a_list(["1"])}


def test_a_ready_job_in_no_index_is_ready_again_with_a_new_rank(engine: Engine) -> None:
    engine.seed_job("a", "ready", priority=9)
    engine.seed_job("b", "ready", deadline_ms=START + 5, **{"class": "gpu"})
    engine.client.sadd(engine.keys.classes, "cpu")
    before = engine.dump()

    done = twice(engine, ("job", "a"), ("job", "b"))

    assert done == ["homeless placed ready", "homeless placed ready:gpu"]
    assert engine.changed(before) == {
        "ready": a_zset({"a": START + HORIZON_MS}),
        "ready:gpu": a_zset({"b": 4e13 + START + 5}),
        "classes": a_set(["cpu", "gpu"]),
        "wake": a_list(["1", "1"]),
    }


@pytest.mark.parametrize(
    ("settings", "rank"),
    [
        ({"policy": "aging", "patience_ms": "0 1 2 3 4 55 6 7 8 9"}, START + 55),
        ({"policy": "strict", "horizon_ms": 7}, 4e13 + START + 7),
    ],
)
def test_the_new_rank_follows_the_policy_of_the_queue(
    engine: Engine, settings: dict[str, str | int], rank: float
) -> None:
    engine.client.hset(engine.keys.meta, mapping=settings)
    engine.seed_job("a", "ready")

    assert twice(engine, ("job", "a")) == ["homeless placed ready"]

    assert engine.dump()["ready"] == a_zset({"a": rank})


def test_a_ready_job_keeps_the_rank_it_once_ran_with_and_belongs_to_no_worker(
    engine: Engine,
) -> None:
    """Released by a worker that lives: its fields of that run are still there."""
    engine.seed_alive("w1")
    engine.seed_job("a", "ready", worker="w1", token=7, rank=5)
    engine.seed_job("b", "ready", rank="nan")
    engine.seed_job("c", "ready", started_ms=START)
    before = engine.dump()

    done = twice(engine, ("job", "a"), ("job", "b"), ("job", "c"))

    assert done == ["homeless placed ready"] * 3
    assert engine.changed(before) == {
        "ready": a_zset({"a": 5, "b": 0, "c": RANK}),
        "wake": a_list(["1"] * 3),
    }


def test_a_job_of_a_class_that_is_none_is_ready_without_a_class(engine: Engine) -> None:
    engine.seed_job("a", "ready", **{"class": "no name"})
    before = engine.dump()

    assert twice(engine, ("job", "a")) == ["bad-field removed", "homeless placed ready"]

    changed = engine.changed(before)
    assert changed.pop("quarantine")
    assert changed == {"job:a": job("ready"), "ready": a_zset({"a": RANK}), **WAKE}


def test_one_more_worker_is_woken_for_each_job_that_is_placed(engine: Engine) -> None:
    engine.client.rpush(engine.keys.wake, "1")
    engine.seed_ready("other")
    engine.seed_job("a", "ready")

    assert mend(engine, ("job", "a")) == ["homeless placed ready"]

    assert engine.dump()["wake"] == a_list(["1", "1"])
    assert engine.dump()["ready"] == a_zset({"other": 1, "a": RANK})


def test_a_waiting_job_in_no_index_is_due_now_for_its_time_is_lost(engine: Engine) -> None:
    engine.seed_job("a", "scheduled")
    engine.seed_job("b", "retry", attempt=1)
    before = engine.dump()

    done = twice(engine, ("job", "a"), ("job", "b"))

    assert done == ["homeless placed scheduled", "homeless placed retry"]
    changed = engine.changed(before)
    assert changed.pop("wake")
    assert changed == {"scheduled": a_zset({"a": START}), "retry": a_zset({"b": START})}


def test_a_running_job_whose_worker_lives_goes_back_to_it(engine: Engine) -> None:
    engine.seed_alive("w1")
    engine.seed_job("a", "running", worker="w1", token=7, started_ms=START - 9, rank=5)
    before = engine.dump()

    assert twice(engine, ("job", "a")) == ["homeless placed running:w1"]

    assert engine.changed(before) == {"running:w1": a_zset({"a": START - 9}), **WAKE}


def test_a_running_job_that_nobody_knows_the_start_of_started_now(engine: Engine) -> None:
    engine.seed_alive("w1")
    engine.seed_job("a", "running", worker="w1", token=7)

    assert twice(engine, ("job", "a")) == ["homeless placed running:w1"]

    assert engine.dump()["running:w1"] == a_zset({"a": START})


@pytest.mark.parametrize("known", ["alive", "holder", "cancel"])
def test_a_running_job_is_left_to_its_worker_or_the_reaper_in_doubt(
    engine: Engine, known: str
) -> None:
    """A suspect may come back in time; only the reaper may end a job that was asked to stop."""
    engine.seed_job("a", "running", worker="w1", token=7, started_ms=START, rank=5)
    if known == "alive":
        engine.client.set(engine.keys.alive("w1"), START, px=60_000)
    elif known == "holder":
        engine.client.sadd(engine.keys.holders, "w1")
    else:
        engine.client.hset(engine.keys.job("a"), "cancel", 1)

    assert twice(engine, ("job", "a")) == ["homeless placed running:w1"]

    dump = engine.dump()
    assert dump["running:w1"] == a_zset({"a": START})
    assert dump["holders"] == a_set(["w1"])
    assert dump["job:a"].content["state"] == "running"


@pytest.mark.parametrize("fields", [{"worker": "w1"}, {}, {"worker": "no name"}])
def test_a_running_job_that_nobody_can_hold_is_ready_and_no_crash_is_charged(
    engine: Engine, fields: dict[str, str]
) -> None:
    engine.seed_job("a", "running", token=7, started_ms=START, rank=5, crashes=2, **fields)
    before = engine.dump()

    assert twice(engine, ("job", "a")) == ["homeless placed ready"]

    assert engine.changed(before) == {
        "job:a": job("ready", token=7, started_ms=START, rank=5, crashes=2, **fields),
        "ready": a_zset({"a": 5}),
        **WAKE,
    }
    engine.seed_alive("w2")
    (claimed,) = engine.claim(worker="w2").jobs
    assert int(claimed.token) > 7


def test_a_running_job_of_a_class_that_nobody_can_hold_is_ready_in_its_class(
    engine: Engine,
) -> None:
    engine.seed_job("a", "running", rank=5, **{"class": "gpu"})

    assert twice(engine, ("job", "a")) == ["homeless placed ready:gpu"]

    dump = engine.dump()
    assert dump["job:a"] == job("ready", rank=5, **{"class": "gpu"})
    assert dump["ready:gpu"] == a_zset({"a": 5})


def test_entries_without_a_job_or_of_a_job_with_another_home_go(engine: Engine) -> None:
    engine.seed_ready("a")
    engine.client.zadd(engine.keys.ready, {"ghost": 1})
    engine.client.zadd(engine.keys.retry, {"a": 1, "ghost": 1})
    engine.client.zadd(engine.keys.running("w1"), {"a": 1})
    before = engine.dump()

    done = twice(
        engine, ("ready", "ghost"), ("retry", "a"), ("retry", "ghost"), ("running:w1", "a")
    )

    assert done == [
        "ghost removed",
        "misplaced removed",
        "ghost removed",
        "misplaced removed",
    ]
    assert engine.changed(before) == {
        "ready": a_zset({"a": 1}),
        "retry": None,
        "running:w1": None,
    }


def test_two_homes_leave_the_one_that_the_state_names(engine: Engine) -> None:
    engine.seed_running("a")
    engine.seed_alive()
    engine.client.zadd(engine.keys.ready, {"a": 1})

    assert twice(engine, ("ready", "a"), ("running:w1", "a")) == ["misplaced removed"]

    assert "ready" not in engine.dump()
    assert engine.dump()["running:w1"] == a_zset({"a": START})


def test_a_live_job_lives_on_and_an_ended_one_gets_an_end(engine: Engine) -> None:
    engine.seed_ready("a")
    engine.client.expire(engine.keys.job("a"), 60)
    engine.client.expire(engine.keys.ready, 60)
    for job_id, state in (("b", "completed"), ("c", "dead")):
        engine.seed_ended(job_id, state)
        engine.client.persist(engine.keys.job(job_id))
        engine.client.persist(engine.keys.dead if state == "dead" else engine.keys.done)
    engine.client.set(engine.keys.alive("w1"), 1)
    engine.client.sadd(engine.keys.holders, "w1")
    engine.client.hset(engine.keys.minute(28333333), "dead", 1)

    done = twice(
        engine,
        ("job", "a"),
        ("zset", "ready"),
        ("job", "b"),
        ("job", "c"),
        ("zset", "done"),
        ("zset", "dead"),
        ("string", "alive:w1"),
        ("hash", "stats:28333333"),
    )

    assert done == ["live-ttl kept"] * 2 + ["no-ttl expires"] * 6
    assert (engine.ttl("job:a"), engine.ttl("ready")) == (-1, -1)
    for name, life in (("job:b", KEEP), ("done", KEEP), ("job:c", DEAD_KEEP), ("dead", DEAD_KEEP)):
        assert 0 < engine.ttl(name) <= life
        assert engine.ttl(name) > 0.9 * life
    assert 0 < engine.ttl("alive:w1") <= 60_000
    assert 7_000_000 < engine.ttl("stats:28333333") <= 7_200_000


INF = float("inf")
ONCE = {"started_ms": START - 9, "ended_ms": START - 5}
#: (an index, the state and fields of a job in it, its score after the mend)
SCORES: list[tuple[str, str, dict[str, object], float]] = [
    ("ready", "ready", {}, RANK),
    ("ready", "ready", {"priority": 9}, START + HORIZON_MS),
    ("ready:gpu", "ready", {"class": "gpu", "deadline_ms": START + 5}, 4e13 + START + 5),
    # What is due at an unknown time is due now, whatever happened to it before.
    ("scheduled", "scheduled", ONCE, START),
    ("retry", "retry", ONCE, START),
    ("running:w1", "running", {"worker": "w1", "started_ms": START - 9}, START - 9),
    ("running:w1", "running", {"worker": "w1"}, START),
    ("dead", "dead", ONCE, START - 5),
    ("done", "completed", ONCE, START - 5),
    ("dead", "dead", {}, START),
]


@pytest.mark.parametrize(("index", "state", "fields", "score"), SCORES, ids=range(len(SCORES)))
def test_a_score_that_is_none_is_set_anew(
    engine: Engine, index: str, state: str, fields: dict[str, object], score: float
) -> None:
    engine.seed_job("a", state, **fields)
    engine.client.zadd(engine.keys.prefix + index, {"a": INF, "b": 1})
    before = engine.dump()

    assert twice(engine, (index, "a")) == ["bad-score set"]

    assert engine.changed(before) == {index: a_zset({"a": score, "b": 1})}


def test_workers_and_classes_that_nobody_knew_are_listed_and_leftovers_go(engine: Engine) -> None:
    engine.seed_running("a", worker="w9")
    engine.seed_ready("b", 1, "gpu")
    engine.client.sadd(engine.keys.cancels("gone"), "x")
    engine.client.hset(engine.keys.suspects, mapping={"gone": 5, "other": 6})
    before = engine.dump()

    done = twice(
        engine,
        ("zset", "running:w9"),
        ("zset", "ready:gpu"),
        ("set", "cancels:gone"),
        ("suspects", "gone"),
    )

    assert done == [
        "unknown-owner listed",
        "unlisted listed",
        "leftover removed",
        "leftover removed",
    ]
    assert engine.changed(before) == {
        "holders": a_set(["w9"]),
        "classes": a_set(["gpu"]),
        "cancels:gone": None,
        "suspects": a_hash({"other": 6}),
    }


def test_a_job_of_an_unknown_worker_comes_back_through_the_reaper(engine: Engine) -> None:
    engine.seed_running("a", worker="w9")
    assert mend(engine, ("zset", "running:w9")) == ["unknown-owner listed"]

    for _ in range(3):
        engine.now += 3000
        reaped = engine.reap()

    assert reaped.jobs or engine.dump()["job:a"].content["state"] == "ready"
    assert "running:w9" not in engine.dump()


def test_a_place_that_is_well_by_now_is_left_alone(engine: Engine) -> None:
    engine.seed_ready("a")
    engine.seed_running("b")
    engine.seed_alive()
    engine.seed_ended("c", "dead")
    before = engine.dump()

    done = mend(
        engine, ("job", "a"), ("ready", "a"), ("running:w1", "b"), ("zset", "dead"), ("job", "gone")
    )

    assert done == []
    assert engine.changed(before) == {}


def test_the_same_place_twice_in_a_call_is_mended_once(engine: Engine) -> None:
    engine.client.set(engine.keys.ready, "oops")

    assert mend(engine, ("zset", "ready"), ("zset", "ready")) == ["wrong-type moved"]


def test_a_name_that_is_taken_in_quarantine_waits_for_the_next_ms(engine: Engine) -> None:
    engine.client.set(engine.keys.ready, "one")
    mend(engine, ("zset", "ready"))
    engine.client.set(engine.keys.ready, "two")

    assert mend(engine, ("zset", "ready")) == ["wrong-type later"]
    engine.now += 1
    assert mend(engine, ("zset", "ready")) == ["wrong-type moved"]

    dump = engine.dump()
    assert dump[f"quarantine:{START}:ready"] == a_string("one")
    assert dump[f"quarantine:{START + 1}:ready"] == a_string("two")


def test_a_hundred_places_in_one_call_and_not_more(engine: Engine) -> None:
    for number in range(120):
        engine.seed_job(f"j{number:03}", "ready")

    done = mend(engine, *(("job", f"j{number:03}") for number in range(120)))

    assert len(done) == commands.REPAIRS == 100
    assert len(engine.dump()["ready"].content) == 100
