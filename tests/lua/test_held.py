"""lua/held.lua: what a worker holds."""

from __future__ import annotations

from taskq import commands
from tests.lua.engine import START, WORKER, Engine, ids


def test_a_worker_finds_the_jobs_of_a_claim_whose_reply_was_lost(engine: Engine) -> None:
    engine.seed_alive()
    engine.seed_ready("a", 1)
    engine.seed_ready("b", 2)
    claimed = engine.claim().jobs
    before = engine.dump()

    held = engine.run(commands.held(engine.keys, WORKER))

    assert (held.total, held.ids) == (2, ["a", "b"])
    assert [(j.id, j.token, j.task, j.payload) for j in held.jobs] == [
        (j.id, j.token, j.task, j.payload) for j in claimed
    ]
    assert engine.changed(before) == {}


def test_it_comes_in_pages_of_two_hundred(engine: Engine) -> None:
    for n in range(205):
        engine.seed_running(f"j{n:03}")

    first = engine.run(commands.held(engine.keys, WORKER))
    rest = engine.run(commands.held(engine.keys, WORKER, 200))

    assert (first.total, rest.total) == (205, 205)
    assert first.ids + rest.ids == ids([*first.jobs, *rest.jobs])
    assert ids([*first.jobs, *rest.jobs]) == [f"j{n:03}" for n in range(205)]


def test_what_is_listed_by_mistake_is_named_but_is_no_job(engine: Engine) -> None:
    engine.seed_running("other", worker="w2")
    engine.client.set(engine.keys.job("string"), "oops")
    engine.client.zadd(engine.keys.running(WORKER), {"other": START, "ghost": 1, "string": 2})

    assert engine.run(commands.held(engine.keys, WORKER)) == (
        3,
        [],
        ["ghost", "string", "other"],
    )


def test_a_note_that_looks_like_a_field_is_no_field(engine: Engine) -> None:
    """Fields and values come in one list."""
    engine.seed_running("a", note="worker")

    assert ids(engine.run(commands.held(engine.keys, WORKER)).jobs) == ["a"]
