"""lua/cancel.lua: scheduled | ready | retry | running -> cancelled."""

from __future__ import annotations

import pytest

from taskq import commands
from taskq.errors import JobNotFound, LeaseLost, WrongState
from tests.helpers import a_set, a_zset
from tests.lua.engine import KEEP, MINUTE, START, WORKER, Engine, counted, failure, job

LEASE = {"token": 7, "worker": WORKER, "rank": 5, "started_ms": START}


@pytest.mark.parametrize("state", ["scheduled", "retry"])
def test_a_job_that_waits_for_its_time_is_cancelled_at_once(engine: Engine, state: str) -> None:
    engine.seed_due(state, "a", START + 5)
    before = engine.dump()

    assert engine.cancel_raw("a") == [b"OK", b"cancelled"]
    assert engine.changed(before) == {
        "job:a": job("cancelled", ttl=True, ended_ms=START),
        state: None,
        "done": a_zset({"a": START}, ttl=True),
        **counted(cancelled=1),
    }
    assert KEEP - 10_000 < engine.ttl("job:a") <= KEEP


def test_a_ready_job_is_cancelled_at_once(engine: Engine) -> None:
    engine.seed_ready("a")
    engine.seed_ready("b")
    before = engine.dump()

    assert engine.cancel_raw("a") == [b"OK", b"cancelled"]
    assert engine.changed(before) == {
        "job:a": job("cancelled", ttl=True, ended_ms=START),
        "ready": a_zset({"b": 1}),
        "done": a_zset({"a": START}, ttl=True),
        **counted(cancelled=1),
    }


def test_a_ready_job_of_a_class_leaves_the_set_of_its_class(engine: Engine) -> None:
    engine.seed_ready("a", 1, "gpu")

    assert engine.cancel_raw("a") == [b"OK", b"cancelled"]
    assert "ready:gpu" not in engine.dump()


def test_a_cancelled_job_kept_for_no_time_leaves_no_key(engine: Engine) -> None:
    engine.seed_ready("a")

    engine.cancel_raw("a", keep_ms=0)

    assert engine.dump() == counted(cancelled=1)


def test_others_leave_a_note_for_the_owner_of_a_running_job(engine: Engine) -> None:
    engine.seed_running("a")
    before = engine.dump()

    assert engine.cancel_raw("a") == [b"REQUESTED", WORKER.encode()]
    assert engine.changed(before) == {
        "job:a": job("running", **LEASE, cancel=1),
        f"cancels:{WORKER}": a_set(["a"]),
    }


def test_asking_twice_is_asking_once(engine: Engine) -> None:
    engine.seed_running("a")
    engine.cancel_raw("a")
    before = engine.dump()

    assert engine.cancel_raw("a") == [b"REQUESTED", WORKER.encode()]
    assert engine.changed(before) == {}


def test_the_owner_hears_of_it_and_confirms(engine: Engine) -> None:
    engine.seed_running("a")
    engine.cancel_raw("a")

    beat = engine.run(commands.heartbeat(engine.keys, WORKER, ttl_ms=6000))
    before = engine.dump()
    confirmed = engine.cancel_raw("a", token="7", worker=WORKER)

    assert beat.cancels == ["a"]
    assert confirmed == [b"OK", b"cancelled"]
    assert engine.changed(before) == {
        "job:a": job("cancelled", ttl=True, **LEASE, cancel=1, ended_ms=START),
        f"running:{WORKER}": None,
        "done": a_zset({"a": START}, ttl=True),
        **counted(cancelled=1),
    }


@pytest.mark.parametrize(("token", "worker"), [("6", WORKER), ("7", "w2"), ("7", "")])
def test_a_stale_confirmation_writes_nothing(engine: Engine, token: str, worker: str) -> None:
    engine.seed_running("a")
    before = engine.dump()

    assert engine.cancel_raw("a", token=token, worker=worker) == [b"STALE", b"running"]
    assert engine.changed(before) == {}


def test_a_confirmation_after_the_job_went_back_to_ready_writes_nothing(engine: Engine) -> None:
    engine.seed_ready("a", token=7, worker=WORKER)
    before = engine.dump()

    assert engine.cancel_raw("a", token="7", worker=WORKER) == [b"STALE", b"ready"]
    assert engine.changed(before) == {}


@pytest.mark.parametrize("state", ["completed", "dead", "cancelled", "expired"])
def test_a_job_that_has_ended_stays_as_it_is(engine: Engine, state: str) -> None:
    engine.seed_ended("a", state)
    before = engine.dump()

    assert engine.cancel_raw("a") == [b"ENDED", state.encode()]
    assert engine.changed(before) == {}


@pytest.mark.parametrize("seed", [None, "oops"])
def test_a_job_without_a_record_is_not_found(engine: Engine, seed: str | None) -> None:
    if seed:
        engine.client.set(engine.keys.job("a"), seed)
    before = engine.dump()

    assert engine.cancel_raw("a") == [b"NOT_FOUND", b"a"]
    assert engine.changed(before) == {}


def test_the_note_outlives_the_way_back_through_retry(engine: Engine) -> None:
    engine.seed_running("a")
    engine.cancel_raw("a")

    assert engine.fail(failure("a")) == {"a": "CANCELLED"}


def test_each_answer_is_its_own_error_in_python(engine: Engine) -> None:
    engine.seed_ended("ended", "dead")
    engine.seed_running("running")
    engine.seed_ready("ready")

    def cancel(job_id: str, token: str = "") -> bool:
        call = commands.cancel(engine.keys, job_id, keep_ms=KEEP, token=token, worker=WORKER)
        return engine.run(call)

    assert cancel("ready") is True
    assert cancel("running") is False
    with pytest.raises(JobNotFound, match="'none'"):
        cancel("none")
    with pytest.raises(WrongState, match="it is dead") as caught:
        cancel("ended")
    assert caught.value.state == "dead"
    with pytest.raises(LeaseLost, match="running"):
        cancel("running", token="6")


def test_a_job_kept_for_no_time_is_not_listed_among_those_that_ended(engine: Engine) -> None:
    engine.seed_ended("old", "cancelled")
    engine.seed_ready("a")
    before = engine.dump()

    engine.cancel_raw("a", keep_ms=0)

    assert engine.changed(before).keys() == {"job:a", "ready", "stats", MINUTE}
