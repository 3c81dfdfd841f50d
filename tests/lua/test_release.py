"""lua/release.lua: running -> ready | cancelled."""

from __future__ import annotations

import pytest

from tests.helpers import a_list, a_set, a_zset
from tests.lua.engine import KEEP, START, WORKER, Engine, counted, job

LEASE = {"token": 7, "worker": WORKER, "rank": 5, "started_ms": START}


def test_a_job_given_back_is_ready_at_its_old_rank_without_penalty(engine: Engine) -> None:
    engine.seed_running("a", rank="40000000000123", attempt=1, crashes=1)
    before = engine.dump()

    words = engine.release(("a", "7", ""))

    assert words == {"a": "READY"}
    assert engine.changed(before) == {
        "job:a": job("ready", **{**LEASE, "rank": "40000000000123"}, attempt=1, crashes=1),
        f"running:{WORKER}": None,
        "ready": a_zset({"a": 40000000000123}),
        "wake": a_list(["1"]),
        **counted(released=1),
    }


def test_with_a_class_it_waits_for_workers_that_serve_the_class(engine: Engine) -> None:
    engine.seed_running("a")
    before = engine.dump()

    engine.release(("a", "7", "task-t"))

    assert engine.changed(before) == {
        "job:a": job("ready", **LEASE, **{"class": "task-t"}),
        f"running:{WORKER}": None,
        "ready:task-t": a_zset({"a": 5}),
        "classes": a_set(["task-t"]),
        "wake": a_list(["1"] * 4),
        "wake:task-t": a_list(["1"]),
        **counted(released=1),
    }


def test_without_a_class_it_keeps_the_class_it_had(engine: Engine) -> None:
    engine.seed_running("a", **{"class": "gpu"})

    engine.release(("a", "7", ""))

    assert engine.dump()["job:a"] == job("ready", **LEASE, **{"class": "gpu"})
    assert engine.dump()["ready:gpu"] == a_zset({"a": 5})


def test_a_job_whose_cancellation_was_asked_for_does_not_come_back(engine: Engine) -> None:
    engine.seed_running("a", cancel=1)
    before = engine.dump()

    assert engine.release(("a", "7", "")) == {"a": "CANCELLED"}
    assert engine.changed(before) == {
        "job:a": job("cancelled", ttl=True, **LEASE, cancel=1, ended_ms=START),
        f"running:{WORKER}": None,
        "done": a_zset({"a": START}, ttl=True),
        **counted(cancelled=1),
    }
    assert KEEP - 10_000 < engine.ttl("done") <= KEEP


@pytest.mark.parametrize(("token", "worker"), [("6", WORKER), ("", WORKER), ("7", "w2")])
def test_a_stale_release_writes_nothing(engine: Engine, token: str, worker: str) -> None:
    engine.seed_running("a")
    before = engine.dump()

    assert engine.release(("a", token, ""), worker=worker) == {"a": "STALE"}
    assert engine.changed(before) == {}


def test_the_same_release_again_counts_once(engine: Engine) -> None:
    engine.seed_running("a")
    engine.release(("a", "7", ""))
    before = engine.dump()

    assert engine.release(("a", "7", "")) == {"a": "STALE"}
    assert engine.changed(before) == {}


def test_a_release_of_a_job_without_a_record_is_told_so(engine: Engine) -> None:
    engine.client.set(engine.keys.job("b"), "oops")
    before = engine.dump()

    assert engine.release(("a", "7", ""), ("b", "7", "")) == {"a": "GONE", "b": "GONE"}
    assert engine.changed(before) == {}


def test_a_released_job_is_claimed_with_a_greater_token(engine: Engine) -> None:
    engine.seed_alive()
    ahead = START * 1000 + 10**6
    engine.seed_running("a", token=ahead)
    engine.release(("a", str(ahead), ""))

    assert int(engine.claim().jobs[0].token) > ahead


@pytest.mark.parametrize("rank", [None, "nan", "first"])
def test_a_rank_that_is_no_number_goes_first_and_stops_nobody(
    engine: Engine, rank: str | None
) -> None:
    engine.seed_running("a", rank=rank)
    if rank is None:
        engine.client.hdel(engine.keys.job("a"), "rank")
    engine.seed_running("b")

    assert engine.release(("a", "7", ""), ("b", "7", "")) == {"a": "READY", "b": "READY"}
    assert engine.dump()["ready"] == a_zset({"a": 0, "b": 5})


@pytest.mark.parametrize("cancel", [False, True])
def test_the_same_job_twice_in_one_call_counts_once(engine: Engine, cancel: bool) -> None:
    engine.seed_running("a")
    if cancel:
        engine.client.hset(engine.keys.job("a"), "cancel", 1)

    assert engine.release(("a", "7", ""), ("a", "7", "gpu")) == {"a": "STALE"}
    word = "cancelled" if cancel else "released"
    assert engine.dump()["stats"].content == {word: "1"}
    assert "ready:gpu" not in engine.dump()
