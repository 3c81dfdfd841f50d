"""lua/explain.lua: all that bears on why one job is not running, bounded; it writes nothing."""

from __future__ import annotations

import pytest

from taskq import commands
from taskq.commands import Ahead, Holder, LimitSeen, Seen
from tests.lua.engine import START, Engine


def look(engine: Engine, job_id: str) -> Seen:
    before = engine.dump()
    found = engine.run(commands.explain(engine.keys, job_id))
    assert engine.changed(before) == {}
    assert found is not None
    return found


def test_there_is_no_such_job(engine: Engine) -> None:
    assert engine.run(commands.explain(engine.keys, "none")) is None
    engine.client.set(engine.keys.job("text"), "no hash")
    assert engine.run(commands.explain(engine.keys, "text")) is None


def test_a_ready_job_sees_who_goes_first_in_every_class(engine: Engine) -> None:
    for n in range(5):
        engine.seed_ready(f"c{n}", n)
        engine.seed_ready(f"g{n}", n, "gpu")
    engine.client.sadd(engine.keys.classes, "gpu", "idle")
    engine.client.hset(engine.keys.averages, mapping={"t": "5.5", "*": "7"})
    engine.client.hset(engine.keys.meta, mapping={"policy": "aging", "paused": "9"})
    engine.run(commands.heartbeat(engine.keys, "w1", ttl_ms=6000, slots=4))

    found = look(engine, "g3")

    assert found.now_ms == START
    assert found.fields == {
        "state": b"ready",
        "task": b"t",
        "class": b"gpu",
        "enqueued_ms": str(START).encode(),
    }
    assert found.facts == {"score": 3, "before": 3, "average_ms": 5.5, "all_average_ms": 7}
    assert sorted(found.ahead) == [Ahead("", 3, 5), Ahead("gpu", 3, 5)]
    assert found.holders == [Holder("w1", 0, "alive", 4)]
    assert found.meta == {"policy": "aging", "paused": "9"}
    assert found.limits == []


def test_equal_ranks_of_its_own_class_count_as_they_run(engine: Engine) -> None:
    for name in ("a", "b", "c"):
        engine.seed_ready(name, 5)

    assert look(engine, "b").ahead == [Ahead("", 1, 3)]


@pytest.mark.parametrize("state", ["scheduled", "retry"])
def test_a_job_with_a_time_has_its_place(engine: Engine, state: str) -> None:
    engine.seed_due(state, "a", START + 5)
    engine.seed_due(state, "b", START + 9)

    assert look(engine, "b").facts == {"score": START + 9, "before": 1}


def test_a_job_that_turns_is_found_in_its_other_set(engine: Engine) -> None:
    for job_class, key in (("", "turned"), ("gpu", "turned:gpu")):
        extra = {"class": job_class} if job_class else {}
        engine.seed_job(f"j{job_class}", "ready", **extra)
        engine.client.zadd(engine.keys.prefix + key, {"x": 1, f"j{job_class}": 2})
        assert look(engine, f"j{job_class}").facts == {"turned": 1, "score": 2, "before": 1}


def test_limits_of_its_own_and_of_its_queue_task_and_group(engine: Engine) -> None:
    prefix = engine.keys.prefix
    definitions = {
        "q": "concurrency=1 on=queue",
        "t": "concurrency=2 on=task.t",
        "g": "concurrency=3 on=group.acme",
        "other": "concurrency=4 on=task.u",
        "x:{x}": "every_us=5 burst_us=0 on=job",
    }
    engine.client.hset(prefix + "limits", mapping=definitions)
    limited = "1 queue=q task.t=t group.acme=g task.u=other"
    engine.client.hset(engine.keys.meta, "limited", limited)
    engine.client.sadd(prefix + "holding:q", "r", "gone")
    engine.seed_running("r")
    engine.client.zadd(prefix + "parked:x:1", {"z": 0, "a": 1})
    engine.client.set(prefix + "rate:x:1", "1234567")
    engine.client.zadd(prefix + "timers", {"limit:x:1": START + 7, "limit:q": "+inf"})
    words = {"limits": "x:{x}|x:1 key:k", "group": "acme", "blocked_by": "x:1"}
    engine.seed_job("a", "blocked", **words)

    found = look(engine, "a")

    by_name = {one.name: one for one in found.limits}
    assert set(by_name) == {"q", "t", "g", "x:{x}", "key:k"}
    assert by_name["x:{x}"] == LimitSeen(
        "x:{x}", "x:1", definitions["x:{x}"], 0, 2, 1234567, START + 7, []
    )
    assert by_name["q"].due_ms == float("inf")
    assert sorted(by_name["q"].holders) == [("gone", "", ""), ("r", "w1", "t")]
    assert by_name["key:k"].definition == ""
    assert found.facts == {"score": 1, "before": 1}


def test_twenty_limits_and_ten_holders_are_looked_at(engine: Engine) -> None:
    prefix = engine.keys.prefix
    engine.client.hset(engine.keys.meta, "limited", "1")
    engine.client.sadd(prefix + "holding:l0", *(f"h{n}" for n in range(50)))
    engine.seed_ready("a", 1, limits=" ".join(f"l{n}" for n in range(40)))

    found = look(engine, "a")

    assert len(found.limits) == 20
    assert (found.limits[0].holding, len(found.limits[0].holders)) == (50, 10)


@pytest.mark.parametrize("state", ["dead", "completed", "cancelled", "expired"])
def test_an_ended_job_is_under_no_limit(engine: Engine, state: str) -> None:
    engine.seed_ended("a", state, limits="l")

    found = look(engine, "a")

    assert found.limits == []
    assert found.fields["state"] == state.encode()
