"""lua/revive.lua: dead | expired | cancelled -> ready."""

from __future__ import annotations

import pytest

from taskq import commands
from tests.helpers import a_list, a_zset
from tests.lua.engine import START, WORKER, Engine, counted, job

RANK = 4 * 10**13 + START + 60_000


def revive(engine: Engine, *job_ids: str) -> dict[str, str]:
    return engine.run(commands.revive(engine.keys, job_ids))


@pytest.mark.parametrize("state", ["dead", "expired", "cancelled"])
def test_an_ended_job_is_ready_again_with_a_clean_slate_and_no_ttl(
    engine: Engine, state: str
) -> None:
    engine.seed_ended(
        "a",
        state,
        attempt=4,
        crashes=3,
        started_ms=1,
        reason="error",
        error="E",
        traceback="T",
        deadline_ms=START - 1,
        cancel=1,
        worker=WORKER,
        token=7,
        rank=5,
        waiters="x",
        retries=3,
    )
    before = engine.dump()

    assert revive(engine, "a") == {"a": "READY"}
    assert engine.changed(before) == {
        "job:a": job("ready", token=7, retries=3),
        "dead" if state == "dead" else "done": None,
        "ready": a_zset({"a": RANK}),
        "wake": a_list(["1"]),
        **counted(revived=1),
    }
    assert engine.ttl("job:a") == -1


def test_priority_counts_and_the_old_deadline_does_not(engine: Engine) -> None:
    engine.seed_ended("a", "dead", priority=9, deadline_ms=START + 1)

    revive(engine, "a")

    assert engine.dump()["ready"] == a_zset({"a": START + 60_000})


@pytest.mark.parametrize("state", ["completed", "running", "ready", "scheduled", "retry"])
def test_other_jobs_stay_as_they_are(engine: Engine, state: str) -> None:
    engine.seed_job("a", state)
    before = engine.dump()

    assert revive(engine, "a") == {"a": state}
    assert engine.changed(before) == {}


def test_a_job_without_a_record_is_not_found(engine: Engine) -> None:
    engine.client.set(engine.keys.job("b"), "oops")
    before = engine.dump()

    assert revive(engine, "a", "b") == {"a": "NOT_FOUND", "b": "NOT_FOUND"}
    assert engine.changed(before) == {}


def test_revived_twice_counts_once(engine: Engine) -> None:
    engine.seed_ended("a", "dead")
    revive(engine, "a", "a")
    before = engine.dump()

    assert before["stats"] == counted(revived=1)["stats"]
    assert revive(engine, "a") == {"a": "ready"}
    assert engine.changed(before) == {}


def test_a_revived_job_runs_with_a_greater_token(engine: Engine) -> None:
    engine.seed_alive()
    ahead = START * 1000 + 10**6
    engine.seed_ended("a", "dead", token=ahead)
    revive(engine, "a")

    assert int(engine.claim().jobs[0].token) > ahead


def test_a_job_of_a_class_comes_back_to_its_class(engine: Engine) -> None:
    engine.seed_ended("a", "dead", **{"class": "gpu"})

    revive(engine, "a")

    assert engine.dump()["ready:gpu"] == a_zset({"a": RANK})
    assert "ready" not in engine.dump()


def test_a_fragile_job_is_no_longer_fragile(engine: Engine) -> None:
    engine.seed_ended("a", "dead", crashes=3, **{"class": "fragile"})

    revive(engine, "a")

    assert engine.dump()["ready"] == a_zset({"a": RANK})
    assert engine.dump()["job:a"] == job("ready")


def test_the_policy_the_horizon_and_the_patience_of_the_queue_count(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "horizon_ms", 5)
    engine.seed_ended("a", "dead")
    revive(engine, "a")
    patience = "10 9 8 7 6 5 4 3 2 1"
    engine.client.hset(engine.keys.meta, mapping={"policy": "aging", "patience_ms": patience})
    engine.seed_ended("b", "dead", priority=9)
    revive(engine, "b")

    assert engine.dump()["ready"].content == {"a": 4 * 10**13 + START + 5, "b": START + 1}


def test_a_job_of_a_class_keeps_its_class(engine: Engine) -> None:
    engine.seed_ended("a", "dead", **{"class": "gpu"})

    revive(engine, "a")

    assert engine.dump()["job:a"].content["class"] == "gpu"
