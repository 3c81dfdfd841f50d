"""lua/reap.lua: running -> ready | dead | cancelled, when a worker is dead, not merely silent."""

from __future__ import annotations

from taskq import commands
from tests.helpers import a_hash, a_list, a_set, a_string, a_zset
from tests.lua.engine import DEAD_KEEP, START, WORKER, Engine, counted, job

LEASE = {"token": 7, "worker": WORKER, "rank": 5, "started_ms": START}


def silent(engine: Engine, worker: str = WORKER) -> None:
    """A holder without a heartbeat, in a queue that was looked after a second ago."""
    engine.client.sadd(engine.keys.holders, worker)
    engine.client.hset(engine.keys.meta, "reaped_ms", engine.now - 1000)


def test_a_silent_worker_is_a_suspect_first_and_keeps_its_jobs(engine: Engine) -> None:
    engine.seed_running("a")
    silent(engine)
    before = engine.dump()

    reaped = engine.reap()

    assert reaped == (1000, [])
    assert engine.changed(before) == {
        "suspects": a_hash({WORKER: START}),
        "meta": a_hash({"reaped_ms": START}),
    }


def test_a_suspect_is_dead_when_the_grace_time_has_passed(engine: Engine) -> None:
    engine.seed_running("a", attempt=4)
    silent(engine)
    engine.client.sadd(engine.keys.cancels(WORKER), "x")
    engine.reap()
    engine.now = START + 2499
    engine.client.hset(engine.keys.meta, "reaped_ms", engine.now - 1000)

    early = engine.reap()
    engine.now = START + 2500
    engine.client.hset(engine.keys.meta, "reaped_ms", engine.now - 1000)
    late = engine.reap()

    assert early == (1, [])
    assert late == (-1, [("a", "READY", WORKER)])
    assert engine.dump() == {
        "job:a": job("ready", **LEASE, crashes=1, attempt=4),
        "ready": a_zset({"a": 5}),
        "meta": a_hash({"reaped_ms": START + 2500}),
        "wake": a_list(["1"]),
        **counted(crashed=1),
    }


def test_a_living_worker_is_never_suspected(engine: Engine) -> None:
    engine.seed_running("a")
    silent(engine)
    engine.seed_alive()

    engine.reap()

    assert "suspects" not in engine.dump()


def test_a_worker_that_came_back_keeps_its_jobs_although_it_was_suspect(engine: Engine) -> None:
    engine.seed_running("a")
    engine.lose(WORKER)
    engine.seed_alive()

    assert engine.reap().jobs == []
    assert engine.dump()[f"running:{WORKER}"] == a_zset({"a": START})


def test_all_workers_together_look_once_in_a_while(engine: Engine) -> None:
    engine.lose(WORKER)
    engine.seed_running("a")
    engine.client.hset(engine.keys.meta, "reaped_ms", START - 999)
    before = engine.dump()

    assert engine.reap() == (1, [])
    assert engine.changed(before) == {}


def test_after_a_gap_every_suspicion_starts_anew(engine: Engine) -> None:
    engine.seed_running("a")
    engine.lose(WORKER)
    engine.client.hset(engine.keys.meta, "reaped_ms", START - (3 * 1000 + 2500) - 1)

    assert engine.reap() == (1000, [])
    assert engine.dump()["suspects"] == a_hash({WORKER: START})


def test_a_gap_that_is_just_short_enough_is_no_gap(engine: Engine) -> None:
    engine.seed_running("a")
    engine.lose(WORKER)
    engine.client.hset(engine.keys.meta, "reaped_ms", START - (3 * 1000 + 2500))

    assert engine.reap().jobs == [("a", "READY", WORKER)]


def test_the_first_pass_ever_only_suspects(engine: Engine) -> None:
    engine.seed_running("a")
    engine.lose(WORKER)
    engine.client.delete(engine.keys.meta)

    assert engine.reap().jobs == []


def test_a_clock_that_stepped_back_starts_suspicion_anew(engine: Engine) -> None:
    engine.seed_running("a")
    engine.lose(WORKER)
    engine.client.hset(engine.keys.meta, "reaped_ms", START + 60_000)

    assert engine.reap().jobs == []
    assert engine.dump()["suspects"] == a_hash({WORKER: START})


def test_a_suspicion_from_the_future_starts_anew(engine: Engine) -> None:
    engine.seed_running("a")
    engine.lose(WORKER)
    engine.client.hset(engine.keys.suspects, WORKER, START + 60_000)

    assert engine.reap().jobs == []
    assert engine.dump()["suspects"] == a_hash({WORKER: START})


def test_the_third_crash_is_dead_with_the_reason_worker_lost(engine: Engine) -> None:
    engine.seed_running("a", crashes=2)
    engine.lose(WORKER)

    reaped = engine.reap()

    assert reaped.jobs == [("a", "DEAD", WORKER)]
    assert engine.dump() == {
        "job:a": job(
            "dead",
            ttl=True,
            **LEASE,
            crashes=3,
            ended_ms=START,
            reason="worker_lost",
            error=f"WorkerLost: worker {WORKER} died while it ran this job (crash 3)",
        ),
        "dead": a_zset({"a": START}, ttl=True),
        "meta": a_hash({"reaped_ms": START}),
        **counted(crashed=1, dead=1),
    }
    assert DEAD_KEEP - 10_000 < engine.ttl("job:a") <= DEAD_KEEP


def test_a_job_whose_cancellation_was_asked_for_does_not_come_back(engine: Engine) -> None:
    engine.seed_running("a", cancel=1)
    engine.lose(WORKER)

    assert engine.reap().jobs == [("a", "CANCELLED", WORKER)]
    dump = engine.dump()
    assert dump["job:a"] == job("cancelled", ttl=True, **LEASE, cancel=1, crashes=1, ended_ms=START)
    assert dump["done"] == a_zset({"a": START}, ttl=True)
    assert dump["stats"] == a_hash({"crashed": 1, "cancelled": 1})


def test_a_job_of_a_class_comes_back_to_its_class(engine: Engine) -> None:
    engine.seed_running("a", **{"class": "gpu"})
    engine.lose(WORKER)

    engine.reap()

    assert engine.dump()["ready:gpu"] == a_zset({"a": 5})
    assert "ready" not in engine.dump()


def test_strays_leave_the_running_set_without_a_trace(engine: Engine) -> None:
    engine.client.zadd(
        engine.keys.running(WORKER), {"ghost": 1, "string": 1, "other": 1, "done": 1}
    )
    engine.client.set(engine.keys.job("string"), "oops")
    engine.seed_running("other", worker="w2")
    engine.seed_job("done", "completed", worker=WORKER, token=7)
    engine.lose(WORKER)
    before = engine.dump()

    assert engine.reap().jobs == []
    assert engine.changed(before) == {
        f"running:{WORKER}": None,
        "holders": None,
        "suspects": None,
        "meta": a_hash({"reaped_ms": START}),
    }
    assert engine.dump()["job:string"] == a_string("oops")


def test_a_hundred_jobs_at_most_a_call_and_the_worker_stays_known_until_it_is_empty(
    engine: Engine,
) -> None:
    for n in range(230):
        engine.seed_running(f"j{n:03}")
    engine.lose(WORKER)

    calls = [engine.reap() for _ in range(3)]

    assert [len(call.jobs) for call in calls] == [100, 100, 30]
    assert [call.wait_ms for call in calls] == [0, 0, -1]
    dump = engine.dump()
    assert len(dump["ready"].content) == 230
    assert not {"holders", "suspects", f"running:{WORKER}"} & set(dump)


def test_the_bound_holds_over_several_dead_workers(engine: Engine) -> None:
    for worker in ("w1", "w2", "w3"):
        for n in range(40):
            engine.seed_running(f"{worker}-{n:02}", worker=worker)
    engine.lose("w1", "w2", "w3")

    first, second = engine.reap(), engine.reap()

    assert (len(first.jobs), first.wait_ms) == (100, 0)
    assert (len(second.jobs), second.wait_ms) == (20, -1)
    assert "holders" not in engine.dump()


def test_exactly_as_many_jobs_as_the_bound_leave_nothing_behind(engine: Engine) -> None:
    for n in range(100):
        engine.seed_running(f"j{n:03}")
    engine.lose(WORKER)

    assert len(engine.reap().jobs) == 100
    assert not {"holders", "suspects", f"running:{WORKER}"} & set(engine.dump())


def test_a_dead_worker_without_jobs_is_forgotten(engine: Engine) -> None:
    engine.lose(WORKER)
    engine.seed_alive("w2")

    engine.reap()

    assert engine.dump()["holders"] == a_set(["w2"])
    assert "suspects" not in engine.dump()


def test_the_suspects_time_left_says_when_to_look_again(engine: Engine) -> None:
    engine.lose(WORKER)
    engine.client.hset(engine.keys.suspects, WORKER, START - 2000)

    assert engine.reap() == (500, [])


def test_dead_jobs_beyond_the_limit_go(engine: Engine) -> None:
    engine.seed_ended("old", "dead", at=START - 5)
    engine.seed_running("a", crashes=2)
    engine.lose(WORKER)

    engine.reap(dead_max=1)

    assert set(engine.dump()["dead"].content) == {"a"}
    assert "job:old" not in engine.dump()


def test_a_lost_worker_with_a_broken_running_set_does_not_keep_others_waiting(
    engine: Engine,
) -> None:
    engine.seed_running("a")
    silent(engine)
    silent(engine, "broken")
    engine.client.set(engine.keys.running("broken"), "oops")
    engine.client.hset(engine.keys.suspects, mapping={WORKER: START - 9999, "broken": START - 9999})

    assert engine.reap().jobs == [("a", "READY", WORKER)]


def test_one_crash_before_the_last_a_job_is_fragile_and_keeps_its_rank(engine: Engine) -> None:
    engine.seed_running("a", crashes=1, **{"class": "gpu"})
    silent(engine)
    engine.client.hset(engine.keys.suspects, WORKER, START - 9999)

    engine.reap()

    assert engine.dump()["ready:fragile+gpu"] == a_zset({"a": 5})
    assert engine.dump()["classes"] == a_set(["fragile+gpu"])
    assert engine.dump()["job:a"] == job("ready", **LEASE, crashes=2, **{"class": "fragile+gpu"})
    assert "ready:gpu" not in engine.dump()
    assert engine.dump()["wake:fragile+gpu"] == a_list(["1"])


def test_a_fragile_job_of_no_class_and_one_that_is_fragile_already(engine: Engine) -> None:
    engine.seed_running("a", crashes=1)
    engine.seed_running("b", crashes=1, **{"class": "fragile+gpu"})
    engine.seed_running("c", crashes=1, **{"class": "fragile"})
    engine.lose(WORKER)

    engine.reap()

    assert engine.dump()["ready:fragile"] == a_zset({"a": 5, "c": 5})
    assert engine.dump()["ready:fragile+gpu"] == a_zset({"b": 5})


def test_a_dead_job_knows_what_its_last_worker_held_when_it_was_last_heard(engine: Engine) -> None:
    engine.run(commands.heartbeat(engine.keys, WORKER, ttl_ms=6000, rss=812_400_000))
    engine.client.delete(engine.keys.alive(WORKER))
    engine.seed_running("a", crashes=2)
    engine.lose(WORKER)

    engine.reap()

    dump = engine.dump()
    assert dump["job:a"].content["error"].endswith("(crash 3); 812 MB at its last heartbeat")
    assert "vitals" not in dump


def test_a_worker_whose_running_set_was_written_over_is_forgotten_all_the_same(
    engine: Engine,
) -> None:
    engine.lose(WORKER)
    engine.client.set(engine.keys.running(WORKER), "oops")

    assert engine.reap().jobs == []
    assert "holders" not in engine.dump()


def test_a_count_of_crashes_that_is_no_number_starts_anew_and_stops_nobody(engine: Engine) -> None:
    engine.seed_running("a", crashes="many")
    engine.seed_running("b")
    engine.lose(WORKER)

    assert [word for _, word, _ in engine.reap().jobs] == ["READY", "READY"]
    assert engine.dump()["job:a"].content["crashes"] == "1"


def test_dead_jobs_beyond_the_limit_go_a_bounded_number_a_call(engine: Engine) -> None:
    for n in range(30):
        engine.seed_ended(f"old{n:02}", "dead", at=START - 100 + n)
    for job_id in ("a", "b"):
        engine.seed_running(job_id, crashes=2)
    engine.lose(WORKER)

    engine.reap(dead_max=1)

    assert engine.client.zcard(engine.keys.dead) == 32 - 14


def test_a_second_pass_in_the_same_millisecond_is_none(engine: Engine) -> None:
    engine.seed_running("a")
    engine.lose(WORKER)
    engine.client.hset(engine.keys.meta, "reaped_ms", engine.now)
    before = engine.dump()

    assert engine.raw(engine.reap_call()) == [b"OK", str(START).encode(), 1000]
    assert engine.changed(before) == {}


def test_a_pass_looks_at_a_hundred_workers(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "reaped_ms", engine.now - 1000)
    engine.client.sadd(engine.keys.holders, *(f"w{n}" for n in range(150)))

    engine.reap()

    assert engine.client.hlen(engine.keys.suspects) == 100
    engine.client.unlink(engine.keys.holders, engine.keys.suspects)


def test_the_next_pass_is_when_the_first_suspicion_is_old_enough(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "reaped_ms", engine.now - 5000)
    engine.client.sadd(engine.keys.holders, "w1")

    assert engine.reap(every_ms=5000).wait_ms == 2500

    engine.now += 5000
    engine.client.hset(engine.keys.suspects, "w1", engine.now - 100)
    assert engine.reap(every_ms=5000).wait_ms == 2400

    engine.now += 1000
    engine.client.hset(engine.keys.suspects, "w1", engine.now - 100)
    assert engine.reap(every_ms=1000).wait_ms == 1000
    engine.client.unlink(engine.keys.holders, engine.keys.suspects)


def test_a_pass_is_made_when_the_grace_time_ends_although_the_last_was_just_now(
    engine: Engine,
) -> None:
    engine.seed_running("a")
    silent(engine)
    passes = {0: 1000, 1000: 1000, 2000: 500, 2499: 1}

    for after, wait in passes.items():
        engine.now = START + after
        assert engine.reap() == (wait, [])
    engine.now = START + 2500
    assert engine.reap() == (-1, [("a", "READY", WORKER)])


def test_between_two_passes_there_is_nothing_to_wait_for_when_nobody_is_silent(
    engine: Engine,
) -> None:
    engine.client.hset(engine.keys.meta, "reaped_ms", engine.now - 999)
    assert engine.reap() == (-1, [])
    engine.client.hset(engine.keys.suspects, "w2", START)
    assert engine.reap() == (1, [])
    engine.client.unlink(engine.keys.suspects)
