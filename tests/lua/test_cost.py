"""What a job costs of its worker's slots: all that fits, none that does not, and none for ever
passed by.
"""

from __future__ import annotations

import pytest

from taskq.commands import Ack
from tests.lua.engine import START, Engine, ids


@pytest.fixture(autouse=True)
def alive(engine: Engine) -> None:
    engine.seed_alive()


def test_costs_of_what_is_claimed_add_up_to_no_more_than_the_free_slots(engine: Engine) -> None:
    for n, cost in enumerate((3, 2, 2, 1, 1)):
        engine.seed_ready(f"j{n}", n, cost=cost)

    claims = engine.claim(limit=6)

    assert ids(claims.jobs) == ["j0", "j1", "j3"]
    assert claims.more
    assert ids(engine.claim(limit=3, all_slots=6).jobs) == ["j2", "j4"]


def test_one_that_does_not_fit_is_passed_by_those_that_do_for_5_s(engine: Engine) -> None:
    engine.seed_ready("big", 1, cost=4)
    engine.seed_ready("a", 2)
    engine.now = START + 4999

    assert ids(engine.claim(limit=2, all_slots=4).jobs) == ["a"]

    engine.seed_ready("b", 2)
    engine.now = START + 5000
    claims = engine.claim(limit=2, all_slots=4)

    assert (claims.jobs, claims.ranks) == ([], (1,))


def test_it_runs_once_its_slots_are_free(engine: Engine) -> None:
    engine.seed_ready("big", 1, cost=4)
    engine.seed_ready("b", 2)
    engine.now = START + 6000

    assert ids(engine.claim(limit=4, all_slots=4).jobs) == ["big"]


@pytest.mark.parametrize("all_slots", [None, 3])
def test_one_that_costs_more_than_the_worker_has_runs_alone(
    engine: Engine, all_slots: int | None
) -> None:
    engine.seed_ready("huge", 1, cost=100)
    engine.seed_ready("a", 2)

    assert ids(engine.claim(limit=3, all_slots=all_slots).jobs) == ["huge"]


def test_one_that_costs_more_than_the_worker_has_waits_for_an_idle_one(engine: Engine) -> None:
    engine.seed_ready("huge", 1, cost=100)

    assert engine.claim(limit=2, all_slots=3).jobs == []
    assert engine.state("huge") == "ready"


def test_an_ack_claims_by_cost_too(engine: Engine) -> None:
    engine.seed_running("x")
    engine.seed_ready("big", 1, cost=4)
    engine.seed_ready("a", 2)

    claims = engine.ack(Ack("x", "7", b"", 0), limit=2, all_slots=4)

    assert ids(claims.jobs) == ["a"]


@pytest.mark.parametrize("cost", ["0", "-5", "nan", "inf", "much", ""])
def test_a_cost_that_is_none_stops_nobody(engine: Engine, cost: str) -> None:
    engine.seed_ready("odd", 1, cost=cost)
    engine.seed_ready("a", 2)

    claimed = ids(engine.claim(limit=2).jobs) + ids(engine.claim(limit=2).jobs)

    assert claimed == ["odd", "a"]


def test_what_does_not_fit_takes_no_place_under_a_limit(engine: Engine) -> None:
    engine.limit(L="concurrency=1 on=job")
    engine.seed_ready("big", 1, cost=4, limits="L")
    engine.seed_ready("a", 2, limits="L")

    assert ids(engine.claim(limit=2, all_slots=4).jobs) == ["a"]
    assert engine.state("big") == "ready"
