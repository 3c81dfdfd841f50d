"""Rates, exact to the µs; and the timers by which promote sees to what limits block."""

from __future__ import annotations

import math

import pytest

from taskq import commands
from taskq.commands import Ack
from tests.helpers import a_zset
from tests.lua.engine import KEEP, MICRO, START, Engine, ids

#: Ten a second, three at once: the state is the theoretical arrival time of the next (GCRA).
RATE = "every_us=100000 burst_us=200000 on=job"
NOW_US = START * 1000 + MICRO


@pytest.fixture(autouse=True)
def alive(engine: Engine) -> None:
    engine.seed_alive()
    for n in range(9):
        engine.seed_ready(f"j{n}", n, limits="R")


def at_us(engine: Engine, us: int) -> None:
    """Turn the clock to a µs."""
    engine.now = us // 1000
    engine.client.set(engine.clock_key, us)


def arrival(engine: Engine) -> int | None:
    word = engine.client.get(engine.keys.prefix + "rate:R")
    return int(word) if word else None  # type: ignore[arg-type]


def timer_of(engine: Engine, member: str = "limit:R") -> float | None:
    return engine.client.zscore(engine.keys.timers, member)  # type: ignore[return-value]


def promote(engine: Engine) -> tuple[int, int]:
    return engine.run(commands.promote(engine.keys))


def test_a_burst_goes_at_once_and_the_rest_is_parked_until_the_next_is_in_time(
    engine: Engine,
) -> None:
    engine.limit(R=RATE)

    claims = engine.claim()

    assert ids(claims.jobs) == ["j0", "j1", "j2"]
    assert arrival(engine) == NOW_US + 300_000
    assert engine.held("R") == set(), "a rate has no places"
    assert engine.parked("R") == [f"j{n}" for n in range(3, 9)]
    # The next is in time at arrival less burst: 100 ms from now, and no ms before it.
    assert timer_of(engine) == math.ceil((NOW_US + 100_000) / 1000) == START + 101
    assert engine.client.hget(engine.keys.meta, "timer_ms") == str(START + 101).encode()
    assert claims.next_due_ms == 101
    assert 0 < engine.ttl("rate:R") <= 300


def test_the_state_of_a_rate_is_gone_when_it_says_nothing_any_more(engine: Engine) -> None:
    engine.limit(R="every_us=1000 on=job")
    engine.claim(limit=1)

    assert engine.ttl("rate:R") <= 1


@pytest.mark.parametrize(("early_us", "granted"), [(1, []), (0, ["late"])])
def test_the_next_is_in_time_to_the_us(engine: Engine, early_us: int, granted: list[str]) -> None:
    engine.limit(R=RATE)
    engine.claim()
    engine.seed_ready("late", 1, limits="R")
    at_us(engine, NOW_US + 100_000 - early_us)

    assert ids(engine.claim().jobs) == granted


def test_after_a_rest_no_more_than_a_burst_goes(engine: Engine) -> None:
    engine.limit(R=RATE)
    engine.claim(limit=1)
    at_us(engine, NOW_US + 10_000_000)
    engine.client.delete(engine.keys.prefix + "rate:R")  # its time was over

    assert ids(engine.claim().jobs) == ["j1", "j2", "j3"]


def test_promote_wakes_as_many_as_are_in_time_and_looks_again_when_the_next_is(
    engine: Engine,
) -> None:
    engine.limit(R=RATE)
    engine.claim()
    at_us(engine, NOW_US + 250_000)

    moved, due = promote(engine)

    assert moved == 0
    assert engine.dump()["ready"] == a_zset({"j3": 3, "j4": 4})
    assert timer_of(engine) == math.ceil((NOW_US + 300_000) / 1000)
    assert due == math.ceil((NOW_US + 300_000) / 1000) - engine.now
    assert ids(engine.claim().jobs) == ["j3", "j4"]


def test_a_rate_never_lets_more_through_than_it_says_whoever_looks(engine: Engine) -> None:
    engine.limit(R=RATE)
    begun = []
    for step in range(0, 800_001, 25_000):
        at_us(engine, NOW_US + step)
        promote(engine)
        begun += [step for _ in engine.claim().jobs]

    # Timers are in ms, so the look of 100,000 µs comes 300 µs too early; the next takes its job.
    assert begun == [0, 0, 0, 125_000, 225_000, 325_000, 425_000, 525_000, 625_000]


def test_promote_before_the_time_wakes_nobody(engine: Engine) -> None:
    engine.limit(R=RATE)
    engine.claim()
    engine.now = START + 100
    before = engine.dump()

    assert promote(engine) == (0, 1)
    assert engine.changed(before) == {}


def test_places_and_a_rate_together_are_both_kept(engine: Engine) -> None:
    engine.limit(R="concurrency=2 " + RATE)
    first, _ = engine.claim().jobs
    engine.ack(Ack(first.id, first.token, b"", KEEP))
    assert ids(engine.claim().jobs) == ["j2"]  # the third of the burst

    at_us(engine, NOW_US + 500_000)
    promote(engine)

    assert engine.claim().jobs == []
    assert engine.held("R") == {"j1", "j2"}


def test_a_rate_is_not_given_back_when_a_run_ends(engine: Engine) -> None:
    engine.limit(R=RATE)
    first = engine.claim().jobs[0]

    engine.release((first.id, first.token, ""))

    assert engine.claim().jobs == []
    assert engine.parked("R")[0] == "j0"


def test_what_a_removed_limit_blocked_comes_back_in_bounded_steps(engine: Engine) -> None:
    engine.limit(R="concurrency=0 on=job")
    for n in range(250):
        engine.seed_parked(f"p{n:03}", "R", 100 + n, limits="R")
    engine.limit(R="")

    steps = []
    while engine.client.zcard(engine.keys.timers):
        _, due = promote(engine)
        steps.append((len(engine.parked("R")), due))

    assert steps == [(150, 0), (50, 0), (0, -1)]
    assert engine.client.hget(engine.keys.meta, "blocked") == b"0"
    assert engine.client.zcard(engine.keys.ready) == 259


def test_a_limit_that_was_raised_wakes_as_many_as_it_has_room_for(engine: Engine) -> None:
    engine.limit(R="concurrency=1 on=job")
    engine.claim()
    engine.limit(R="concurrency=4 on=job")

    assert promote(engine) == (0, -1)

    assert engine.dump()["ready"] == a_zset({"j1": 1, "j2": 2, "j3": 3})
    assert timer_of(engine) == math.inf


def test_a_timer_of_a_limit_that_blocks_nobody_goes(engine: Engine) -> None:
    engine.client.zadd(engine.keys.timers, {"limit:R": START, "limit:L": START + 5})
    engine.client.hset(engine.keys.meta, "timer_ms", START)

    assert promote(engine) == (0, 5)
    assert engine.dump()["timers"] == a_zset({"limit:L": START + 5})


def test_entries_that_are_not_blocked_there_leave_and_stay_what_they_are(engine: Engine) -> None:
    engine.client.zadd(engine.keys.prefix + "parked:R", {"j0": 1, "ghost": 2})
    engine.seed_parked("p", "R", 3, limits="R", due=START)
    engine.client.hset(engine.keys.meta, "timer_ms", START)
    engine.limit(R="concurrency=9 on=job")

    promote(engine)

    assert engine.parked("R") == []
    assert engine.client.zrange(engine.keys.ready, 0, 0, withscores=True) == [(b"j0", 0)]
    assert engine.state("p") == "ready"
    assert engine.state("ghost") is None


def test_the_first_timer_is_told_with_what_else_is_due(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "timer_ms", START + 40)
    assert engine.claim(limit=0).next_due_ms == 40

    engine.seed_due("retry", "r", START + 30)
    assert engine.claim(limit=0).next_due_ms == 30

    engine.client.hset(engine.keys.meta, "timer_ms", START)
    assert engine.ack(limit=0).next_due_ms == 0

    engine.client.hset(engine.keys.meta, "timer_ms", "soon")
    assert engine.claim(limit=0).next_due_ms == 30


def test_a_timer_time_that_is_no_number_is_mended(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "timer_ms", "soon")
    engine.client.zadd(engine.keys.timers, {"cron:c": START + 7})

    assert promote(engine) == (0, 7)
    assert engine.client.hget(engine.keys.meta, "timer_ms") == str(START + 7).encode()


def test_a_place_is_not_kept_for_a_job_that_no_worker_can_run(engine: Engine) -> None:
    """The best was woken, but nobody serves its class: a second later the next is."""
    engine.client.delete(engine.keys.ready)
    engine.limit(L="concurrency=1 on=job")
    engine.seed_ready("x", 1, limits="L")
    engine.seed_ready("best", 2, "gpu", limits="L")
    engine.seed_ready("next", 3, limits="L")
    (running,) = engine.claim(slots={"": 5, "gpu": 5}).jobs
    engine.ack(Ack("x", running.token, b"", 0))
    assert (engine.state("best"), engine.state("next")) == ("ready", "blocked")
    assert engine.client.zscore(engine.keys.timers, "limit:L") == START + 1000
    assert engine.client.llen(engine.keys.wake) >= 1, "somebody must come to look"

    engine.now += 1000
    promote(engine)

    assert ids(engine.claim().jobs) == ["next"]


def test_a_job_of_the_common_class_needs_no_second_look(engine: Engine) -> None:
    engine.client.delete(engine.keys.ready)
    engine.limit(L="concurrency=1 on=job")
    for n in range(3):
        engine.seed_ready(f"k{n}", n, limits="L")
    (running,) = engine.claim().jobs

    engine.ack(Ack("k0", running.token, b"", 0))

    assert engine.client.zscore(engine.keys.timers, "limit:L") == math.inf
