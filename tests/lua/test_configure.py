"""lua/configure.lua: the settings of a queue."""

from __future__ import annotations

from taskq import commands
from tests.helpers import a_hash, a_zset
from tests.lua.engine import Engine


def configure(engine: Engine, **settings: str) -> int:
    return engine.run(commands.configure(engine.keys, settings))


def test_settings_are_stored_beside_the_queue(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "paused", 1)

    assert configure(engine, policy="aging", max_jobs="5") == 2
    assert engine.dump() == {"meta": a_hash({"paused": 1, "policy": "aging", "max_jobs": 5})}


def test_what_is_set_already_does_not_count_as_changed(engine: Engine) -> None:
    configure(engine, policy="aging")
    before = engine.dump()

    assert configure(engine, policy="aging") == 0
    assert engine.changed(before) == {}


def test_an_empty_value_goes_back_to_the_default(engine: Engine) -> None:
    configure(engine, policy="aging", horizon_ms="7")

    assert configure(engine, policy="", patience_ms="") == 1
    assert engine.dump() == {"meta": a_hash({"horizon_ms": 7})}


def test_with_another_setting_than_the_policy_ready_jobs_stay(engine: Engine) -> None:
    engine.seed_ready("a", 5)

    configure(engine, horizon_ms="7")

    assert engine.dump()["ready"] == a_zset({"a": 5})
