"""What enqueue refuses, warns of, makes room for, and fires: strikes, predicted starts, full queues
and ticks of schedules.
"""

from __future__ import annotations

from typing import Any

import pytest

from taskq import commands
from taskq.commands import NewJob
from tests.lua.engine import START, Engine

BAND = 10**13


def new(job_id: str, *extras: str, **words: Any) -> NewJob:
    return NewJob(job_id, "t", b"p", extras=extras, **words)


def send(
    engine: Engine, *jobs: NewJob, max_jobs: int = 100, all_or_none: bool = False
) -> list[Any]:
    call = commands.enqueue(engine.keys, jobs, max_jobs=max_jobs, all_or_none=all_or_none)
    return engine.raw(call)  # type: ignore[no-any-return]


def meta(engine: Engine, **fields: object) -> None:
    engine.client.hset(engine.keys.meta, mapping=fields)  # type: ignore[arg-type]


# Ticks of schedules.


def schedule(engine: Engine, due: float = START) -> None:
    engine.client.zadd(engine.keys.timers, {"cron:c": due, "cron:other": START + 500})


def tick(due: int = START, after: object = START + 60_000) -> tuple[str, str]:
    return ("@tick", f"c {due} {after}")


def due(engine: Engine) -> float | None:
    return engine.client.zscore(engine.keys.timers, "cron:c")  # type: ignore[return-value]


def test_a_tick_creates_its_job_and_moves_the_timer_in_one_step(engine: Engine) -> None:
    schedule(engine)

    assert send(engine, new("a", *tick()))[2:] == [1]

    assert engine.state("a") == "ready"
    assert due(engine) == START + 60_000
    assert engine.client.hget(engine.keys.meta, "timer_ms") == str(START + 500).encode()


def test_the_second_who_fires_it_is_told_and_creates_nothing(engine: Engine) -> None:
    schedule(engine)
    send(engine, new("a", *tick()))
    before = engine.dump()

    assert send(engine, new("b", *tick()))[2:] == [0, b"b", b"TICKED"]
    assert send(engine, new("a", *tick()))[2:] == [0, b"a", b"DUP"]

    assert engine.changed(before) == {}


@pytest.mark.parametrize("word", ["nobody", "c 5", "", "c soon 7"])
def test_a_tick_of_nothing_creates_nothing(engine: Engine, word: str) -> None:
    schedule(engine)
    before = engine.dump()

    assert send(engine, new("a", "@tick", word))[2:] == [0, b"a", b"TICKED"]

    assert engine.changed(before) == {}


def test_the_last_tick_is_due_never_again(engine: Engine) -> None:
    schedule(engine)

    send(engine, new("a", *tick(after="inf")))

    assert due(engine) == float("inf")


def test_a_tick_whose_key_keeps_an_older_job_moves_on_without_a_job(engine: Engine) -> None:
    schedule(engine)
    unique = ("key", "k", "@unique", "queued keep")
    send(engine, new("old", *unique))

    assert send(engine, new("a", *tick(), *unique))[2:] == [0, b"a", b"KEPT old"]

    assert due(engine) == START + 60_000
    assert engine.client.hget(engine.keys.meta, "timer_ms") == str(START + 500).encode()


def test_a_tick_that_a_full_queue_refuses_is_due_still(engine: Engine) -> None:
    schedule(engine)
    engine.seed_ready("x")
    before = engine.dump()

    assert send(engine, new("a", *tick()), max_jobs=1)[0] == b"FULL"

    assert engine.changed(before) == {}


# Predicted starts.


def measured(engine: Engine, slots: int = 2, mean: object = 1000) -> None:
    meta(engine, slots=slots)
    engine.client.hset(engine.keys.averages, mapping={"*": str(mean), "t": "9"})


def ahead(engine: Engine, count: int, priority: int = 5, job_class: str = "") -> None:
    for n in range(count):
        engine.seed_ready(f"x{priority}{n}", (9 - priority) * BAND + n, job_class)


def test_a_start_is_predicted_from_those_ahead_their_mean_time_and_all_slots(
    engine: Engine,
) -> None:
    measured(engine)
    ahead(engine, 7)
    ahead(engine, 5, priority=0)

    assert send(engine, new("a", "@admit", "warn"))[2:] == [1, b"a", b"START %d" % (START + 3500)]
    urgent = send(engine, new("b", "@admit", "warn", priority=9))
    assert urgent[2:] == [1, b"b", b"START %d" % START]


def test_a_start_counts_those_of_its_class(engine: Engine) -> None:
    measured(engine)
    ahead(engine, 4)
    ahead(engine, 2, 6, "gpu")

    answer = send(engine, new("a", "@admit", "warn", job_class="gpu"))

    assert answer[4] == b"START %d" % (START + 1000)


@pytest.mark.parametrize("lacking", ["slots", "mean", "nonsense"])
def test_without_measures_it_is_thought_to_start_at_once(engine: Engine, lacking: str) -> None:
    measured(engine, mean="x" if lacking == "nonsense" else 1000)
    if lacking == "slots":
        engine.client.hdel(engine.keys.meta, "slots")
    if lacking == "mean":
        engine.client.delete(engine.keys.averages)
    ahead(engine, 9)

    assert send(engine, new("a", "@admit", "warn"))[4] == b"START %d" % START


def test_a_scheduled_job_starts_at_its_time(engine: Engine) -> None:
    assert send(engine, new("a", "@admit", "warn", at="+700"))[4] == b"START %d" % (START + 700)


def test_one_that_would_start_too_late_is_not_created_when_told_so(engine: Engine) -> None:
    measured(engine)
    ahead(engine, 7)
    words = {"deadline": "+3500", "priority": 0}
    before = engine.dump()

    late = send(engine, new("a", "@admit", "reject", **words))

    assert late[2:] == [0, b"a", b"LATE %d" % (START + 3500)]
    assert engine.changed(before) == {}
    assert send(engine, new("b", "@admit", "warn", **words))[2] == 1
    in_time = send(engine, new("c", "@admit", "reject", deadline="+99999", priority=0))
    assert in_time[2] == 1


def test_with_all_or_none_one_that_is_late_refuses_the_call(engine: Engine) -> None:
    measured(engine)
    ahead(engine, 7)
    before = engine.dump()

    answer = send(
        engine,
        new("a"),
        new("b", "@admit", "reject", deadline="+10", priority=0),
        all_or_none=True,
    )

    deadline = str(START + 10).encode()
    assert answer[:2] + answer[3:] == [b"LATE", b"b", deadline]
    assert engine.changed(before) == {}


def test_one_that_is_late_does_not_take_its_key_or_replace_its_owner(engine: Engine) -> None:
    unique = ("key", "k", "@unique", "queued replace")
    send(engine, new("old", *unique))
    measured(engine)
    ahead(engine, 7)
    before = engine.dump()

    answer = send(engine, new("a", *unique, "@admit", "reject", deadline="+10", priority=0))

    assert answer[4].startswith(b"LATE ")
    assert engine.changed(before) == {}


# Struck tasks.


def test_a_struck_task_is_refused_and_nothing_of_the_call_is_written(engine: Engine) -> None:
    meta(engine, struck=" bad t ")
    before = engine.dump()

    assert send(engine, NewJob("x", "good", b"p"), new("a")) == [b"STRUCK", b"t"]

    assert engine.changed(before) == {}
    assert send(engine, NewJob("x", "ba", b"p"))[2:] == [1]


def test_a_job_that_was_there_before_the_strike_is_known_still(engine: Engine) -> None:
    send(engine, new("a"))
    meta(engine, struck=" t ")

    assert send(engine, new("a"))[2:] == [0, b"a", b"DUP"]


# Full queues.


def full(engine: Engine, on_full: str = "drop_oldest") -> None:
    meta(engine, max_jobs=4, on_full=on_full)
    engine.seed_ready("urgent", 1)
    engine.seed_ready("normal", 4 * BAND + 1)
    engine.seed_ready("old", 9 * BAND + 1, waiters="c1")
    engine.seed_ready("newer", 9 * BAND + 2)


@pytest.mark.parametrize(("on_full", "told"), [("wait", b"wait"), ("", b"reject")])
def test_a_full_queue_says_what_is_to_be_done(engine: Engine, on_full: str, told: bytes) -> None:
    full(engine, on_full)
    if not on_full:
        engine.client.hdel(engine.keys.meta, "on_full")
    before = engine.dump()

    assert send(engine, new("a")) == [b"FULL", 4, 4, told]

    assert engine.changed(before) == {}


def test_the_oldest_of_the_lowest_band_makes_room(engine: Engine) -> None:
    full(engine)

    assert send(engine, new("a"))[2:] == [1]

    assert engine.client.hmget(engine.keys.job("old"), "state", "reason") == [
        b"expired",
        b"dropped",
    ]
    assert 0 < engine.ttl("job:old") <= 3_600_000
    assert engine.client.zscore(engine.keys.done, "old") == START
    assert [engine.state(name) for name in ("newer", "normal", "urgent")] == ["ready"] * 3
    assert engine.client.hget(engine.keys.stats, "expired") == b"1"


def test_when_a_band_is_used_up_the_next_one_follows(engine: Engine) -> None:
    full(engine)

    assert send(engine, new("a"), new("b"), new("c"))[2:] == [3]

    assert [engine.state(name) for name in ("old", "newer", "normal")] == ["expired"] * 3
    assert engine.state("urgent") == "ready"


def test_the_lowest_band_is_sought_over_all_classes_of_the_call(engine: Engine) -> None:
    meta(engine, max_jobs=3, on_full="drop_oldest")
    engine.seed_ready("common", 4 * BAND + 1)
    engine.seed_ready("low", 9 * BAND + 1, "gpu")
    engine.seed_ready("high", 1, "gpu")

    assert send(engine, new("a"), new("b", job_class="gpu"))[2:] == [2]

    assert engine.state("low") == "expired"
    assert engine.state("common") == "expired"
    assert engine.state("high") == "ready"


def test_jobs_of_other_classes_make_no_room(engine: Engine) -> None:
    meta(engine, max_jobs=1, on_full="drop_oldest")
    engine.seed_ready("other", 9 * BAND, "gpu")
    engine.seed_due("scheduled", "later", START + 9)
    before = engine.dump()

    assert send(engine, new("a"))[0] == b"FULL"

    assert engine.changed(before) == {}


def test_when_there_are_not_enough_nothing_is_dropped(engine: Engine) -> None:
    full(engine)
    before = engine.dump()

    assert send(engine, *(new(f"n{n}") for n in range(5)))[0] == b"FULL"

    assert engine.changed(before) == {}


def test_an_entry_without_a_job_makes_no_room(engine: Engine) -> None:
    meta(engine, max_jobs=2, on_full="drop_oldest")
    engine.client.zadd(engine.keys.ready, {"ghost": 9 * BAND})
    engine.seed_ready("a1", 9 * BAND + 1)

    assert send(engine, new("a"))[2:] == [1]

    assert engine.state("a1") == "expired"


def test_blocked_and_turned_jobs_count_as_waiting(engine: Engine) -> None:
    engine.seed_parked("p", "L")
    engine.client.zadd(engine.keys.prefix + "turned", {"x": 1})
    meta(engine, turning=1)

    engine.client.zadd(engine.keys.prefix + "turned:gpu", {"y": 1})

    assert send(engine, new("a"), max_jobs=2)[:3] == [b"FULL", 2, 2]
    assert send(engine, new("a", job_class="gpu"), max_jobs=3)[:3] == [b"FULL", 3, 3]


def test_pressure_is_told_before_anything_is_dropped_or_replaced(engine: Engine) -> None:
    full(engine)
    meta(engine, pressed=f"{START + 1} 90 100")
    before = engine.dump()

    assert send(engine, new("a")) == [b"PRESSED", b"90", b"100"]

    assert engine.changed(before) == {}
