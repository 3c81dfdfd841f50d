"""The policy `fair` through the scripts: turns, virtual time, what a group owes after a run."""

from __future__ import annotations

import pytest

from taskq import commands
from taskq.commands import Ack, Measure, NewJob
from tests.lua.engine import START, Engine


@pytest.fixture(autouse=True)
def fair(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "policy", "fair")
    engine.seed_alive()


def send(engine: Engine, *names: str, task: str = "t") -> None:
    """Enqueue jobs; the group of each is the letter its id begins with."""
    engine.enqueue(*(NewJob(name, task, b"", 5, extras=("group", name[0])) for name in names))


def finish(engine: Engine, group: str) -> float | None:
    found = engine.client.zscore(engine.keys.prefix + "shares", group)
    return None if found is None else float(found)  # type: ignore[arg-type]


def run(engine: Engine, ms: int) -> str:
    """Claim one job, let it run for so long, and acknowledge it; its id."""
    (job,) = engine.claim(1).jobs
    engine.now += ms
    engine.ack(Ack(job.id, job.token, b"", 1000))
    return job.id


def test_groups_take_turns_however_many_jobs_one_has(engine: Engine) -> None:
    send(engine, "a1", "a2", "a3", "b1", "b2")

    assert [run(engine, 10) for _ in range(5)] == ["a1", "b1", "a2", "b2", "a3"]


def test_a_group_of_twice_the_weight_gets_twice_the_turns(engine: Engine) -> None:
    engine.client.hset(engine.keys.prefix + "weights", "b", "2")
    send(engine, "a1", "a2", "b1", "b2", "b3", "b4")

    assert [run(engine, 10) for _ in range(6)] == ["a1", "b1", "b2", "a2", "b3", "b4"]


def test_a_group_that_comes_later_gets_no_credit_for_it(engine: Engine) -> None:
    send(engine, "a1", "a2", "a3", "a4")
    run(engine, 10)
    run(engine, 10)
    run(engine, 10)

    send(engine, "b1", "b2", "b3")

    assert [run(engine, 10) for _ in range(4)] == ["b1", "a4", "b2", "b3"]


def test_a_run_is_paid_as_it_was_measured_once_there_is_a_first_average(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "unit_ms", "40")
    engine.client.hset(engine.keys.averages, mapping={"t": "80", "*": "60"})
    send(engine, "a1")
    assert finish(engine, "a") == 200  # 80 ms, where 40 ms cost 100

    run(engine, 20)

    assert finish(engine, "a") == 50


def test_what_is_owed_is_divided_by_the_weight(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "unit_ms", "40")
    engine.client.hset(engine.keys.prefix + "weights", "a", "4")
    send(engine, "a1")
    assert finish(engine, "a") == 25

    run(engine, 80)

    assert finish(engine, "a") == 50


@pytest.mark.parametrize("unit", [None, "nonsense", "0", "-1", "nan"])
def test_all_runs_are_worth_the_same_while_nothing_is_known(
    engine: Engine, unit: str | None
) -> None:
    """Else who comes after a flood into a new queue is charged more for the same work."""
    if unit is not None:
        engine.client.hset(engine.keys.meta, "unit_ms", unit)
    send(engine, "a1", "b1")
    before = finish(engine, "a")

    run(engine, 10_000)

    assert before == finish(engine, "a") == 100


def test_a_flood_that_waits_since_before_the_first_average_is_worth_what_comes_later(
    engine: Engine,
) -> None:
    send(engine, *(f"a{n}" for n in range(9)))
    engine.client.hset(engine.keys.meta, "unit_ms", "5000")
    engine.client.hset(engine.keys.averages, mapping={"t": "5000", "*": "5000"})

    send(engine, *(f"b{n}" for n in range(3)))

    assert "".join(run(engine, 5000)[0] for _ in range(7)) == "abababa"


def test_the_first_average_stays_the_unit(engine: Engine) -> None:

    for told, spent in ((1, 30.0), (2, 90.0)):
        engine.run(
            commands.heartbeat(
                engine.keys,
                "w1",
                ttl_ms=6000,
                slots=2,
                told=told,
                measures=(Measure("a", 1, spent),),
            )
        )

    assert engine.client.hget(engine.keys.meta, "unit_ms") == b"30.000"
    assert engine.now == START
