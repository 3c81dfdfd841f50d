"""lua/purge.lua: empty one index of a queue."""

from __future__ import annotations

import pytest

from taskq import commands
from tests.helpers import a_string, a_zset
from tests.lua.engine import START, WORKER, Engine, counted


def purge(engine: Engine, index: str, limit: int = 200) -> tuple[int, int]:
    return engine.run(commands.purge(engine.keys, index, limit))


@pytest.mark.parametrize("index", ["ready", "ready:gpu", "scheduled", "retry", "dead", "done"])
def test_an_index_and_its_jobs_go_and_the_others_stay(engine: Engine, index: str) -> None:
    engine.seed_ready("ready")
    engine.seed_ready("ready:gpu", 1, "gpu")
    engine.seed_due("scheduled", "scheduled", START)
    engine.seed_due("retry", "retry", START)
    engine.seed_ended("dead", "dead")
    engine.seed_ended("done", "completed")
    engine.seed_running("running")
    before = engine.dump()

    assert purge(engine, index) == (1, 0)
    assert engine.changed(before) == {index: None, f"job:{index}": None, **counted(purged=1)}


def test_it_is_bounded_and_says_what_is_left(engine: Engine) -> None:
    for n in range(5):
        engine.seed_ready(f"j{n}", n)

    assert purge(engine, "ready", 2) == (2, 3)
    assert purge(engine, "ready", 2) == (2, 1)
    assert purge(engine, "ready", 2) == (1, 0)
    assert engine.dump() == counted(purged=5)


def test_an_empty_index_writes_nothing(engine: Engine) -> None:
    assert purge(engine, "ready") == (0, 0)
    assert engine.dump() == {}


def test_a_running_job_listed_by_mistake_keeps_running(engine: Engine) -> None:
    engine.seed_running("a")
    engine.client.zadd(engine.keys.ready, {"a": 1, "ghost": 2, "string": 3})
    engine.client.set(engine.keys.job("string"), "oops")
    before = engine.dump()

    assert purge(engine, "ready") == (3, 0)
    assert engine.changed(before) == {"ready": None, **counted(purged=3)}
    assert engine.dump()[f"running:{WORKER}"] == a_zset({"a": START})
    assert engine.dump()["job:string"] == a_string("oops")
