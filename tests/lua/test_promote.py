"""lua/promote.lua: scheduled | retry -> ready."""

from __future__ import annotations

import pytest

from taskq import commands
from tests.helpers import a_list, a_string, a_zset
from tests.lua.engine import START, Engine, counted, job

BAND = 10**13


def promote(engine: Engine, limit: int = 100) -> tuple[int, int]:
    return engine.run(commands.promote(engine.keys, limit))


@pytest.mark.parametrize("state", ["scheduled", "retry"])
def test_a_due_job_becomes_ready_as_of_its_due_time(engine: Engine, state: str) -> None:
    engine.seed_due(state, "a", START - 500)
    before = engine.dump()

    assert promote(engine) == (1, -1)
    assert engine.changed(before) == {
        "job:a": job("ready"),
        state: None,
        "ready": a_zset({"a": 4 * BAND + START - 500 + 60_000}),
        "wake": a_list(["1"]),
        **counted(promoted=1),
    }


def test_a_job_is_never_promoted_early(engine: Engine) -> None:
    engine.seed_due("scheduled", "a", START + 1)
    engine.seed_due("retry", "b", START + 2)
    before = engine.dump()

    assert promote(engine) == (0, 1)
    assert engine.changed(before) == {}

    engine.now = START + 1
    assert promote(engine) == (1, 1)


def test_nothing_waiting_is_told_apart(engine: Engine) -> None:
    assert promote(engine) == (0, -1)
    assert engine.dump() == {}


def test_priority_and_deadline_make_the_rank(engine: Engine) -> None:
    engine.seed_due("scheduled", "a", START, priority=9)
    engine.seed_due("retry", "b", START, priority=0, deadline_ms=START + 9)

    promote(engine)

    assert engine.dump()["ready"] == a_zset({"a": START + 60_000, "b": 9 * BAND + START + 9})


def test_an_aging_queue_ages_from_the_due_time(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "policy", "aging")
    engine.seed_due("scheduled", "a", START - 50, priority=9)

    promote(engine)

    assert engine.dump()["ready"] == a_zset({"a": START - 50 + 1000})


def test_the_earliest_go_first_a_bounded_number_from_each(engine: Engine) -> None:
    for n in range(5):
        engine.seed_due("scheduled", f"s{n}", START - n)
        engine.seed_due("retry", f"r{n}", START - n)

    assert promote(engine, limit=2) == (4, 0)
    assert set(engine.dump()["ready"].content) == {"s4", "s3", "r4", "r3"}
    assert engine.dump()["wake"] == a_list(["1"] * 4)


def test_a_job_of_a_class_goes_to_the_set_of_that_class(engine: Engine) -> None:
    engine.seed_due("scheduled", "a", START, **{"class": "gpu"})

    promote(engine)

    assert "ready" not in engine.dump()
    assert set(engine.dump()["ready:gpu"].content) == {"a"}


def test_strays_leave_the_index_and_nothing_else(engine: Engine) -> None:
    engine.client.zadd(engine.keys.scheduled, {"ghost": START, "string": START, "running": START})
    engine.client.set(engine.keys.job("string"), "oops")
    engine.seed_running("running")
    engine.seed_due("retry", "a", START)
    engine.client.zadd(engine.keys.scheduled, {"a": START})
    before = engine.dump()

    assert promote(engine) == (1, -1)
    changed = engine.changed(before)
    assert set(changed) == {"job:a", "scheduled", "retry", "ready", "wake", *counted(promoted=1)}
    assert changed["scheduled"] is None
    assert set(changed["ready"].content) == {"a"}  # type: ignore[union-attr]
    assert engine.dump()["job:string"] == a_string("oops")


def test_a_job_in_retry_keeps_its_history(engine: Engine) -> None:
    engine.seed_due("retry", "a", START, attempt=2, error="ValueError: no", token=7)

    promote(engine)

    assert engine.dump()["job:a"] == job("ready", attempt=2, error="ValueError: no", token=7)


def test_promoted_twice_counts_once(engine: Engine) -> None:
    engine.seed_due("scheduled", "a", START)
    promote(engine)
    before = engine.dump()

    assert promote(engine) == (0, -1)
    assert engine.changed(before) == {}


def test_the_horizon_and_the_patience_of_the_queue_count(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "horizon_ms", 5)
    engine.seed_due("scheduled", "a", START)
    promote(engine)
    patience = "10 9 8 7 6 5 4 3 2 1"
    engine.client.hset(engine.keys.meta, mapping={"policy": "aging", "patience_ms": patience})
    engine.seed_due("retry", "b", START, priority=9)
    promote(engine)

    assert engine.dump()["ready"] == a_zset({"a": 4 * BAND + START + 5, "b": START + 1})


def test_a_job_named_like_the_due_time_of_another_is_not_due_with_it(engine: Engine) -> None:
    engine.seed_due("scheduled", "a", START)
    engine.seed_due("scheduled", str(START), START + 5000)

    assert promote(engine) == (1, 5000)
    assert engine.dump()["scheduled"] == a_zset({str(START): START + 5000})


def test_a_deadline_that_is_no_number_stops_nobody(engine: Engine) -> None:
    engine.seed_due("scheduled", "a", START, deadline_ms="nan")
    engine.seed_due("scheduled", "b", START)

    assert promote(engine) == (2, -1)
    assert engine.dump()["ready"].content["a"] == START


@pytest.mark.parametrize(("deadline", "rank"), [("soon", 60_000), (str(START + 9), 9)])
def test_an_aging_queue_takes_the_nearer_deadline_if_it_is_a_time(
    engine: Engine, deadline: str, rank: int
) -> None:
    engine.client.hset(engine.keys.meta, "policy", "aging")
    engine.seed_due("scheduled", "a", START, deadline_ms=deadline)

    assert promote(engine) == (1, -1)
    assert engine.dump()["ready"] == a_zset({"a": START + rank})
