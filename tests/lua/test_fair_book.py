"""The policy `fair`: ranks by start-time fair queueing, number by number as in the book of
taskq/rank.py; charges corrected by what runs took; a bounded memory of groups.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from taskq import commands
from taskq.commands import Ack, NewJob
from taskq.rank import BAND, FairBook, Turn, charge_for, cost_of, fair_rank
from tests.lua.engine import KEEP, START, WORKER, Engine, failure

DAY = 86_400_000


@pytest.fixture(autouse=True)
def fair(engine: Engine) -> None:
    """By a first average of 100 ms: then one ms costs 1."""
    engine.client.hset(engine.keys.meta, mapping={"policy": "fair", "unit_ms": 100})
    engine.seed_alive()


def new(job_id: str, group: str = "", task: str = "t", **words: Any) -> NewJob:
    return NewJob(job_id, task, b"p", extras=("group", group) if group else (), **words)


def rank(engine: Engine, job_id: str) -> float | None:
    return engine.client.zscore(engine.keys.ready, job_id)  # type: ignore[return-value]


def finish(engine: Engine, group: str) -> float | None:
    return engine.client.zscore(engine.keys.prefix + "shares", group)  # type: ignore[return-value]


def vtime(engine: Engine) -> float:
    word = engine.client.hget(engine.keys.meta, "vtime")
    return float(word) if word else 0.0  # type: ignore[arg-type]


def averages(engine: Engine, **ms: object) -> None:
    engine.client.hset(engine.keys.averages, mapping=ms)  # type: ignore[arg-type]


def test_each_job_of_a_group_starts_when_the_one_before_is_done(engine: Engine) -> None:
    engine.enqueue(new("a1", "a"), new("a2", "a"), new("b1", "b"), new("n1"), new("a3", "a"))

    starts = {name: rank(engine, name) for name in ("a1", "a2", "a3", "b1", "n1")}

    base = 4 * BAND
    assert starts == {"a1": base, "a2": base + 100, "a3": base + 200, "b1": base, "n1": base}
    assert (finish(engine, "a"), finish(engine, "b"), finish(engine, "")) == (300, 100, 100)
    record = engine.client.hmget(engine.keys.job("a2"), "charged", "tied")
    assert record == [b"100", b"1"]


def test_priority_is_still_above_all(engine: Engine) -> None:
    engine.enqueue(new("a1", "a"), new("a2", "a", priority=9), new("b", "b", priority=0))

    assert [rank(engine, name) for name in ("a1", "a2", "b")] == [4 * BAND, 100, 9 * BAND]


@pytest.mark.parametrize(
    ("known", "charge"),
    [
        ({}, 100),
        ({"*": 40}, 40),
        ({"*": 40, "t": 7.25}, 7.25),
        ({"t": "nan"}, 100),
        ({"t": "-5"}, 100),
        ({"t": "x", "*": 30}, 30),
    ],
)
def test_a_job_is_charged_what_its_task_takes(
    engine: Engine, known: dict[str, object], charge: float
) -> None:
    if known:
        averages(engine, **known)

    engine.enqueue(new("a", "g"), new("b", "g"))

    assert rank(engine, "b") == 4 * BAND + charge
    assert float(engine.client.hget(engine.keys.job("a"), "charged")) == charge  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weight", "step"), [("2", 50), ("0.5", 200), ("0", 100), ("-1", 100), ("x", 100)]
)
def test_a_group_of_weight_2_pays_half(engine: Engine, weight: str, step: float) -> None:
    engine.run(commands.configure(engine.keys, {"weight:g": weight}))

    engine.enqueue(new("a", "g"), new("b", "g"))

    assert rank(engine, "b") == 4 * BAND + step


def test_virtual_time_is_where_the_last_claimed_job_began_and_never_goes_back(
    engine: Engine,
) -> None:
    engine.enqueue(*(new(f"a{n}", "a") for n in range(4)))
    engine.claim(limit=3)
    assert vtime(engine) == 200

    engine.seed_ready("early", 4 * BAND + 50)
    engine.claim(limit=1)
    assert vtime(engine) == 200

    engine.enqueue(new("b", "b"))
    assert rank(engine, "b") == 4 * BAND + 200, "a group that was away gets no credit"


def test_an_ack_moves_virtual_time_too(engine: Engine) -> None:
    engine.enqueue(new("a0", "a"), new("a1", "a"))
    (first,) = engine.claim(limit=1).jobs

    engine.ack(Ack("a0", first.token, b"", KEEP), limit=1)

    assert vtime(engine) == 100


def run(engine: Engine, took: int) -> str:
    """Claim one job and let time pass; its token."""
    (one,) = engine.claim(limit=1).jobs
    engine.now += took
    return one.token


def ack(engine: Engine, token: str) -> None:
    engine.ack(Ack("a", token, b"", KEEP))


def give_up(engine: Engine, token: str) -> None:
    engine.fail(failure("a", token, after_ms=None))


def fail(engine: Engine, token: str) -> None:
    engine.fail(failure("a", token))


def cancel(engine: Engine, token: str) -> None:
    engine.cancel_raw("a", token=token, worker=WORKER)


@pytest.mark.parametrize("end", [ack, give_up, fail, cancel], ids=lambda end: end.__name__)
@pytest.mark.parametrize(("took", "owed"), [(350, 250), (40, -60), (0, -100)])
def test_the_end_of_a_run_settles_what_was_charged_too_little_or_too_much(
    engine: Engine, end: Any, took: int, owed: int
) -> None:
    engine.run(commands.configure(engine.keys, {"weight:g": "2"}))
    engine.enqueue(new("a", "g"))
    assert finish(engine, "g") == 50

    end(engine, run(engine, took))

    assert finish(engine, "g") == 50 + owed / 2


def release(engine: Engine, token: str) -> None:
    engine.release(("a", token, ""))


def bury(engine: Engine, token: str) -> None:
    engine.bury()


@pytest.mark.parametrize("back", [release, bury], ids=lambda back: back.__name__)
def test_a_run_that_is_given_back_settles_nothing_until_it_ran(engine: Engine, back: Any) -> None:
    engine.enqueue(new("a", "g"))
    back(engine, run(engine, 30))
    assert finish(engine, "g") == 100
    engine.seed_alive()

    ack(engine, run(engine, 250))

    assert finish(engine, "g") == 250


def cancel_ready(engine: Engine) -> None:
    engine.cancel_raw("a")


def purge(engine: Engine) -> None:
    engine.run(commands.purge(engine.keys, "ready"))


def miss(engine: Engine) -> None:
    engine.client.hset(engine.keys.job("a"), "deadline_ms", START)
    assert engine.claim().jobs == []


@pytest.mark.parametrize("end", [cancel_ready, purge, miss], ids=lambda end: end.__name__)
def test_a_job_that_never_ran_costs_its_group_nothing(engine: Engine, end: Any) -> None:
    engine.enqueue(new("a", "g"))

    end(engine)

    assert finish(engine, "g") == 0


def test_a_retry_is_charged_again_when_it_is_ready_again(engine: Engine) -> None:
    engine.enqueue(new("a", "g"))
    fail(engine, run(engine, 30))
    assert finish(engine, "g") == 30
    averages(engine, t=80)
    engine.now += 1000

    engine.run(commands.promote(engine.keys))

    assert rank(engine, "a") == 4 * BAND + 30
    assert finish(engine, "g") == 110
    assert engine.client.hget(engine.keys.job("a"), "charged") == b"80"


def test_a_revived_job_is_charged_as_a_new_one(engine: Engine) -> None:
    engine.seed_ended("a", "dead", group="g", charged=5)

    engine.run(commands.revive(engine.keys, ["a"]))

    assert rank(engine, "a") == 4 * BAND
    assert (finish(engine, "g"), engine.client.hget(engine.keys.job("a"), "charged")) == (
        100,
        b"100",
    )


def test_a_scheduled_job_is_charged_when_its_time_comes(engine: Engine) -> None:
    engine.enqueue(new("a", "g", at="+500"))
    assert finish(engine, "g") is None
    engine.now += 500

    engine.run(commands.promote(engine.keys))

    assert (rank(engine, "a"), finish(engine, "g")) == (4 * BAND, 100)


def test_groups_behind_the_virtual_time_are_forgotten(engine: Engine) -> None:
    for n in range(10):
        engine.client.zadd(engine.keys.prefix + "shares", {f"old{n}": n})
    engine.client.hset(engine.keys.meta, "vtime", 500)

    for n in range(5):
        engine.enqueue(new(f"j{n}", "g"))

    assert engine.dump()["shares"].content == {"g": 1000}
    assert 0 < engine.ttl("shares") <= DAY


def test_of_very_many_groups_those_that_have_used_least_are_forgotten(engine: Engine) -> None:
    groups = {f"g{n:05}": 100 + n for n in range(10_050)}
    engine.client.zadd(engine.keys.prefix + "shares", groups)

    for n in range(30):
        engine.enqueue(new(f"j{n}", f"new{n}"))

    assert engine.client.zcard(engine.keys.prefix + "shares") == 10_050 + 30 - 60
    assert finish(engine, "g10049") == 10_149


@pytest.mark.parametrize("name", ["shares", "weights", "averages"])
def test_what_another_wrote_over_is_taken_for_nothing(engine: Engine, name: str) -> None:
    engine.client.rpush(engine.keys.prefix + name, "oops")

    engine.enqueue(new("a", "g"), new("b", "g"))
    ack(engine, run(engine, 30))

    assert rank(engine, "b") == 4 * BAND + 100
    assert engine.state("a") == "completed"


def test_another_policy_reads_and_writes_no_shares(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "policy", "strict")

    engine.enqueue(new("a", "g"))
    ack(engine, run(engine, 30))

    assert "shares" not in engine.dump()
    assert engine.client.hget(engine.keys.meta, "vtime") is None
    assert engine.client.hmget(engine.keys.job("a"), "charged", "tied") == [None, None]


def test_a_long_story_is_number_by_number_that_of_the_book(engine: Engine) -> None:
    """Enqueue, claim and end at random; every rank and every finish agrees."""
    random_ = random.Random(4)
    weights = {"b": 2.0, "c": 0.25}
    engine.run(commands.configure(engine.keys, {f"weight:{g}": f"{w}" for g, w in weights.items()}))
    unit, measured = 64.0, {"t": 16.0, "*": 40.0}
    averages(engine, **measured)
    engine.client.hset(engine.keys.meta, "unit_ms", unit)
    book = FairBook(weights=weights)
    turns: dict[str, tuple[str, Turn]] = {}
    running: dict[str, tuple[str, int]] = {}
    for step in range(120):
        kind = random_.choice(["enqueue", "enqueue", "claim", "ack"])
        if kind == "enqueue":
            group, task = random_.choice("abc"), random_.choice(["t", "u"])
            turn = book.enter(group, charge_for(measured, task, unit))
            turns[f"j{step:03}"] = (group, turn)
            engine.enqueue(new(f"j{step:03}", group, task))
            assert rank(engine, f"j{step:03}") == fair_rank(5, turn.start)
        elif kind == "claim":
            for one in engine.claim(limit=1).jobs:
                book.claim(turns[one.id][1])
                running[one.id] = (one.token, engine.now)
                assert vtime(engine) == book.vtime
        elif running:
            job_id = random_.choice(sorted(running))
            token, began = running.pop(job_id)
            engine.now += random_.choice([0, 8, 64, 300])
            engine.ack(Ack(job_id, token, b"", KEEP))
            group, turn = turns[job_id]
            book.end(group, turn, cost_of(engine.now - began, unit))
        for group, done in book.finish.items():
            # What is behind the virtual time may be forgotten: it begins there anyway.
            assert max(finish(engine, group) or 0, book.vtime) == max(done, book.vtime), step
    assert book.vtime > 0
