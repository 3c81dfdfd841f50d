"""lua/pause.lua and lua/resume.lua: the flag that stops claims."""

from __future__ import annotations

from taskq import commands
from tests.helpers import a_hash, a_list
from tests.lua.engine import START, Engine


def test_pausing_notes_since_when(engine: Engine) -> None:
    assert engine.run(commands.pause(engine.keys)) == START
    assert engine.dump() == {"meta": a_hash({"paused": START})}


def test_pausing_again_keeps_the_first_time(engine: Engine) -> None:
    engine.run(commands.pause(engine.keys))
    before = engine.dump()
    engine.now += 5

    assert engine.run(commands.pause(engine.keys)) == START
    assert engine.changed(before) == {}


def test_resuming_takes_the_flag_away_and_wakes_the_sleepers(engine: Engine) -> None:
    engine.seed_ready("a")
    engine.client.hset(engine.keys.meta, mapping={"paused": START, "policy": "aging"})
    before = engine.dump()

    assert engine.run(commands.resume(engine.keys)) is True
    assert engine.changed(before) == {
        "meta": a_hash({"policy": "aging"}),
        "wake": a_list(["1"] * 4),
    }


def test_resuming_a_queue_that_runs_says_so(engine: Engine) -> None:
    assert engine.run(commands.resume(engine.keys)) is False
    assert engine.dump() == {}
