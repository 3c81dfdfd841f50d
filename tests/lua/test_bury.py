"""lua/bury.lua: a worker whose death was seen needs no suspicion."""

from __future__ import annotations

from taskq import commands
from taskq.commands import Buried
from tests.helpers import a_set, a_zset
from tests.lua.engine import DEAD_KEEP, START, WORKER, Engine, counted, job

LEASE = {"token": 7, "worker": WORKER, "rank": 5, "started_ms": START}


def test_its_jobs_are_ready_at_once_although_its_heartbeat_lives(engine: Engine) -> None:
    engine.run(commands.heartbeat(engine.keys, WORKER, ttl_ms=6000, rss=1))
    engine.seed_running("a", attempt=2)
    engine.client.sadd(engine.keys.cancels(WORKER), "x")
    engine.client.hset(engine.keys.suspects, WORKER, START)

    assert engine.bury() == Buried(False, [("a", "READY", WORKER)])

    dump = engine.dump()
    assert dump["job:a"] == job("ready", **LEASE, attempt=2, crashes=1)
    assert dump["ready"] == a_zset({"a": 5})
    assert dump.keys() == {"job:a", "ready", "wake", *counted(crashed=1)}


def test_others_keep_what_they_hold(engine: Engine) -> None:
    engine.seed_running("a")
    engine.seed_running("b", worker="w2")
    engine.seed_alive()
    engine.seed_alive("w2")

    engine.bury()

    dump = engine.dump()
    assert dump["running:w2"] == a_zset({"b": START})
    assert dump["holders"] == a_set(["w2"])
    assert "alive:w2" in dump


def test_a_job_dead_of_it_knows_how_its_worker_ended_and_what_it_held(engine: Engine) -> None:
    engine.run(commands.heartbeat(engine.keys, WORKER, ttl_ms=6000, rss=812_400_000))
    engine.seed_running("a", crashes=2)

    assert engine.bury().jobs == [("a", "DEAD", WORKER)]

    error = engine.dump()["job:a"].content["error"]
    assert error == (
        f"WorkerLost: worker {WORKER} died while it ran this job (crash 3); killed by SIGKILL;"
        " 812 MB at its last heartbeat"
    )
    assert DEAD_KEEP - 10_000 < engine.ttl("job:a") <= DEAD_KEEP


def test_one_crash_before_the_last_a_job_is_fragile(engine: Engine) -> None:
    engine.seed_running("a", crashes=1)

    engine.bury()

    assert engine.dump()["ready:fragile"] == a_zset({"a": 5})
    assert engine.dump()["classes"] == a_set(["fragile"])


def test_a_job_whose_cancellation_was_asked_for_ends(engine: Engine) -> None:
    engine.seed_running("a", cancel=1)

    assert engine.bury().jobs == [("a", "CANCELLED", WORKER)]
    assert engine.dump()["done"] == a_zset({"a": START}, ttl=True)


def test_a_hundred_jobs_at_most_a_call_and_the_worker_stays_known_until_then(
    engine: Engine,
) -> None:
    for number in range(230):
        engine.seed_running(f"j{number:03}")
    engine.seed_alive()

    calls = [engine.bury() for _ in range(3)]

    assert [(call.more, len(call.jobs)) for call in calls] == [
        (True, 100),
        (True, 100),
        (False, 30),
    ]
    assert len(engine.dump()["ready"].content) == 230
    assert "holders" not in engine.dump()


def test_between_two_calls_the_worker_is_still_the_reapers(engine: Engine) -> None:
    for number in range(101):
        engine.seed_running(f"j{number:03}")
    engine.seed_alive()

    engine.bury()

    dump = engine.dump()
    assert dump["holders"] == a_set([WORKER])
    assert f"alive:{WORKER}" not in dump


def test_burying_twice_finds_nothing(engine: Engine) -> None:
    engine.seed_running("a")
    engine.bury()
    before = engine.dump()

    assert engine.bury() == Buried(False, [])
    assert engine.changed(before) == {}


def test_a_late_report_of_the_buried_is_stale(engine: Engine) -> None:
    engine.seed_running("a")
    engine.bury()
    before = engine.dump()

    assert engine.run(commands.release(engine.keys, WORKER, [("a", "7", "")], keep_ms=1000)) == {
        "a": "STALE"
    }
    assert engine.changed(before) == {}


def test_whether_it_held_more_is_one_or_zero_on_the_wire(engine: Engine) -> None:
    for job_id in ("a", "b", "c"):
        engine.seed_running(job_id)

    assert [engine.raw(engine.bury_call(WORKER, limit=2))[1] for _ in range(2)] == [1, 0]
