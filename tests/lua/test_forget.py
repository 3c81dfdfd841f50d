"""lua/forget.lua: an ended job -> nothing."""

from __future__ import annotations

import pytest

from taskq import commands
from tests.lua.engine import Engine, counted


def forget(engine: Engine, *job_ids: str) -> dict[str, str]:
    return engine.run(commands.forget(engine.keys, job_ids))


@pytest.mark.parametrize("state", ["dead", "completed", "expired", "cancelled"])
def test_the_record_of_an_ended_job_goes(engine: Engine, state: str) -> None:
    engine.seed_ended("a", state)

    assert forget(engine, "a") == {"a": "GONE"}
    assert engine.dump() == counted(forgotten=1)


@pytest.mark.parametrize("state", ["ready", "running", "scheduled", "retry", "blocked"])
def test_a_job_with_work_to_do_stays(engine: Engine, state: str) -> None:
    engine.seed_job("a", state)
    before = engine.dump()

    assert forget(engine, "a") == {"a": state}
    assert engine.changed(before) == {}


def test_a_job_without_a_record_is_not_found(engine: Engine) -> None:
    engine.client.set(engine.keys.job("b"), "oops")
    before = engine.dump()

    assert forget(engine, "a", "b") == {"a": "NOT_FOUND", "b": "NOT_FOUND"}
    assert engine.changed(before) == {}


def test_the_same_id_twice_counts_once(engine: Engine) -> None:
    engine.seed_ended("a", "dead")

    forget(engine, "a", "a")

    assert engine.dump() == counted(forgotten=1)
