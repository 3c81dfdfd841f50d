"""Cases in which a script and the model (tests/model) differed, and the script was wrong."""

from __future__ import annotations

import pytest

from taskq import commands
from taskq.commands import Ack, NewJob
from taskq.errors import QueueFull
from tests.lua.engine import Engine, ids


def promote(engine: Engine) -> tuple[int, int]:
    return engine.run(commands.promote(engine.keys, 100))


def limit(engine: Engine, **definitions: str) -> None:
    engine.run(commands.limit(engine.keys, definitions))


def finish(engine: Engine, group: str = "a") -> float | None:
    """What a group has been charged so far, by virtual time."""
    return engine.client.zscore(engine.keys.prefix + "shares", group)


def fair_job(engine: Engine, job_id: str) -> None:
    engine.run(commands.configure(engine.keys, {"policy": "fair"}))
    engine.enqueue(NewJob(job_id, "t", b"", extras=("group", "a")))


def test_promote_says_that_nothing_is_due_once_the_last_timer_is_gone(engine: Engine) -> None:
    engine.seed_ready("a")
    engine.run(commands.configure(engine.keys, {"policy": "aging"}))

    assert promote(engine) == (0, -1)


def test_a_place_that_was_kept_for_a_woken_job_is_none_of_those_an_ack_frees(
    engine: Engine,
) -> None:
    limit(engine, cap="concurrency=2 on=job")
    engine.seed_alive()
    engine.enqueue(*(NewJob(name, "t", b"", extras=("limits", "cap")) for name in "abcd"))
    first, second = engine.claim(4).jobs  # c and d are parked
    engine.ack(Ack(first.id, first.token, b"", 0))  # c is woken for that place

    claims = engine.ack(Ack(second.id, second.token, b"", 0), limit=1)

    assert ids(claims.jobs) == ["c"]
    assert engine.client.zcard(engine.keys.ready) == 1, "d was not woken for the other place"
    assert ids(engine.claim(1).jobs) == ["d"]


def test_a_job_that_is_given_back_settles_its_charge_once(engine: Engine) -> None:
    engine.seed_alive()
    fair_job(engine, "x")
    assert finish(engine) == 100
    for _ in range(2):
        (claimed,) = engine.claim(1).jobs
        engine.now += 10
        engine.release((claimed.id, claimed.token, ""))

    assert finish(engine) == 100, "its group pays when it has run"


@pytest.mark.parametrize("end", ["cancel", "purge", "replace"])
def test_a_job_that_ends_unrun_costs_its_group_nothing(engine: Engine, end: str) -> None:
    extras = ("group", "a", "key", "k", "@unique", "queued replace")
    engine.run(commands.configure(engine.keys, {"policy": "fair"}))
    engine.enqueue(NewJob("x", "t", b"", extras=extras), NewJob("y", "t", b"", extras=extras[:2]))
    assert finish(engine) == 200
    if end == "cancel":
        engine.run(commands.cancel(engine.keys, "x", keep_ms=1000))
    elif end == "purge":
        engine.run(commands.purge(engine.keys, "ready", 1))
    else:
        engine.enqueue(NewJob("z", "t", b"", extras=extras))

    assert finish(engine) == (200 if end == "replace" else 100)


def test_a_job_that_is_refused_for_its_deadline_is_not_charged(engine: Engine) -> None:
    fair_job(engine, "x")
    engine.client.hset(engine.keys.prefix + "averages", "*", "1000")
    engine.client.hset(engine.keys.meta, mapping={"slots": 1, "reaped_ms": engine.now})
    late = NewJob("late", "t", b"", deadline="+1", extras=("group", "a", "@admit", "reject"))

    engine.enqueue(late, NewJob("y", "t", b"", extras=("group", "a")))

    assert finish(engine) == 200


def test_a_timer_that_went_with_its_last_blocked_job_is_not_waited_for(engine: Engine) -> None:
    limit(engine, slow="every_us=90000000 burst_us=0 on=queue")
    engine.seed_alive()
    engine.enqueue(NewJob("a", "t", b""), NewJob("b", "t", b""))
    assert engine.claim(2).next_due_ms == 90_001

    engine.run(commands.cancel(engine.keys, "b", keep_ms=1000))

    assert engine.claim(1).next_due_ms == -1


def test_jobs_of_a_class_that_wait_for_a_new_rank_count_as_waiting(engine: Engine) -> None:
    jobs = [NewJob(name, "t", b"", job_class="gpu") for name in "abc"]
    engine.enqueue(*jobs[:2], max_jobs=2)
    engine.run(commands.configure(engine.keys, {"policy": "aging"}))

    with pytest.raises(QueueFull):
        engine.enqueue(jobs[2], max_jobs=2)


def test_a_class_whose_only_job_was_refused_has_been_given_none(engine: Engine) -> None:
    late = NewJob("late", "t", b"", job_class="gpu", extras=("@admit", "reject"))
    late = late._replace(deadline=str(engine.now - 1))

    engine.enqueue(late, NewJob("y", "t", b""))

    assert "classes" not in engine.dump()
