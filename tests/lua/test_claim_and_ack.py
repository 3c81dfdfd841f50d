"""What claim and ack have in common: an ack claims by the same rules, and tells the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskq.commands import Ack, Claims
from tests.helpers import a_list
from tests.lua.engine import KEEP, START, Engine, ids

Way = Callable[..., Claims]


@pytest.fixture(params=["claim", "ack"])
def take(engine: Engine, request: pytest.FixtureRequest) -> Way:
    """A claim; or an ack of two finished jobs that claims."""
    engine.seed_alive()
    if request.param == "claim":
        return engine.claim
    engine.seed_running("y")
    engine.seed_running("z")
    return lambda **words: engine.ack(Ack("y", "7", b"", KEEP), Ack("z", "7", b"", KEEP), **words)


def vtime(engine: Engine) -> float | None:
    word = engine.client.hget(engine.keys.meta, "vtime")
    return None if word is None else float(word)  # type: ignore[arg-type]


def test_a_job_that_a_rate_blocks_tells_when_to_look_again(engine: Engine, take: Way) -> None:
    engine.limit(R="every_us=100000 burst_us=0 on=job")
    engine.seed_ready("a", 1, limits="R")
    engine.seed_ready("b", 2, limits="R")

    claims = take(limit=5)

    assert ids(claims.jobs) == ["a"]
    assert engine.parked("R") == ["b"]
    assert claims.next_due_ms == 101


def test_what_is_taken_moves_the_virtual_time_of_a_fair_queue(engine: Engine, take: Way) -> None:
    engine.client.hset(engine.keys.meta, mapping={"policy": "fair", "vtime": "100"})
    engine.seed_ready("a", 4e13 + 250)
    engine.seed_ready("b", 4e13 + 300)

    assert ids(take(limit=2).jobs) == ["a", "b"]
    assert vtime(engine) == 300


def test_the_virtual_time_never_goes_back(engine: Engine, take: Way) -> None:
    engine.client.hset(engine.keys.meta, mapping={"policy": "fair", "vtime": "400"})
    engine.seed_ready("a", 4e13 + 250)

    assert ids(take(limit=2).jobs) == ["a"]
    assert vtime(engine) == 400


def test_a_queue_that_is_not_fair_has_no_virtual_time(engine: Engine, take: Way) -> None:
    engine.seed_ready("a", 4e13 + 250)

    assert ids(take(limit=2).jobs) == ["a"]
    assert vtime(engine) is None


def test_a_fair_queue_without_jobs_stands_still(engine: Engine, take: Way) -> None:
    engine.client.hset(engine.keys.meta, mapping={"policy": "fair", "vtime": "100"})

    assert take(limit=2).jobs == []
    assert vtime(engine) == 100


@pytest.mark.parametrize(("all_slots", "taken"), [(3, []), (2, ["huge"])])
def test_a_job_that_costs_more_than_the_worker_has_takes_all_its_slots(
    engine: Engine, take: Way, all_slots: int, taken: list[str]
) -> None:
    engine.seed_ready("huge", 1, cost=100)

    assert ids(take(limit=2, all_slots=all_slots).jobs) == taken


def test_ranks_of_as_many_as_are_asked_for_are_told(engine: Engine, take: Way) -> None:
    for n in range(6):
        engine.seed_ready(f"j{n}", n)

    claims = take(limit=2, look=3)

    assert ids(claims.jobs) == ["j0", "j1"]
    assert claims.ranks == (2, 3, 4)


def test_jobs_of_a_class_that_are_left_wake_those_who_serve_it(engine: Engine, take: Way) -> None:
    engine.seed_ready("a", 1, "gpu")
    engine.seed_ready("b", 2, "gpu")

    assert ids(take(limit=2, slots={"": 2, "gpu": 1}).jobs) == ["a"]

    lists = {name: entry for name, entry in engine.dump().items() if name.startswith("wake")}
    assert lists == {"wake:gpu": a_list(["1"])}


def test_a_job_that_takes_a_place_has_it_and_says_so(engine: Engine, take: Way) -> None:
    engine.limit(L="concurrency=1 on=task.t")
    engine.seed_ready("a", 1)
    engine.seed_ready("b", 2)
    engine.now = START + 1

    assert ids(take(limit=5).jobs) == ["a"]
    assert engine.held("L") == {"a"}
    assert engine.parked("L") == ["b"]
