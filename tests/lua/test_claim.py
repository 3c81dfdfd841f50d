"""lua/claim.lua: ready -> running | expired."""

from __future__ import annotations

import pytest

from taskq.commands import Claims
from tests.helpers import a_hash, a_list, a_string, a_zset
from tests.lua.engine import KEEP, MICRO, START, WORKER, Engine, counted, ids, job

TOKEN = str(START * 1000 + MICRO)


@pytest.fixture(autouse=True)
def alive(engine: Engine) -> None:
    engine.seed_alive()


def test_the_best_rank_goes_first_and_gets_a_lease(engine: Engine) -> None:
    engine.seed_ready("a", 30)
    engine.seed_ready("b", 20, priority=7)
    before = engine.dump()

    claims = engine.claim(limit=1)

    assert claims[:5] == ("OK", START, -1, True, {})
    assert ids(claims.jobs) == ["b"]
    assert claims.jobs[0].token == TOKEN
    assert claims.jobs[0].fields[b"priority"] == b"7"
    assert claims.jobs[0].payload == b"p"
    assert engine.changed(before) == {
        "ready": a_zset({"a": 30}),
        "job:b": job("running", priority=7, token=TOKEN, worker=WORKER, rank=20, started_ms=START),
        f"running:{WORKER}": a_zset({"b": START}),
        "stats": a_hash({"claimed": 1}),
        "wake": a_list(["1"]),
    }


def test_equal_ranks_come_in_the_order_of_ids(engine: Engine) -> None:
    for job_id in ("c", "a", "b"):
        engine.seed_ready(job_id, 5)

    assert ids(engine.claim().jobs) == ["a", "b", "c"]


def test_nothing_ready_writes_nothing(engine: Engine) -> None:
    before = engine.dump()

    assert engine.claim() == Claims("OK", START, -1, False, {}, [])
    assert engine.changed(before) == {}


def test_it_tells_when_to_look_again(engine: Engine) -> None:
    engine.seed_due("scheduled", "a", START + 900)
    engine.seed_due("retry", "b", START + 700)

    assert engine.claim().next_due_ms == 700
    engine.now = START + 800
    assert engine.claim().next_due_ms == 0


def test_a_paused_queue_gives_nothing(engine: Engine) -> None:
    engine.seed_ready("a")
    engine.client.hset(engine.keys.meta, "paused", START)
    before = engine.dump()

    assert engine.claim() == Claims("PAUSED", START, -1, False, {}, [])
    assert engine.changed(before) == {}


def test_a_worker_without_a_heartbeat_gets_nothing(engine: Engine) -> None:
    engine.seed_ready("a")
    before = engine.dump()

    assert engine.claim(worker="w2") == Claims("LAPSED", START, -1, False, {}, [])
    assert engine.changed(before) == {}


def test_a_full_worker_passes_the_news_on(engine: Engine) -> None:
    engine.seed_ready("a")
    before = engine.dump()

    assert engine.claim(limit=0) == Claims("OK", START, -1, False, {}, [])
    assert engine.changed(before) == {"wake": a_list(["1"])}


def test_a_full_worker_passes_on_news_of_any_class_it_serves(engine: Engine) -> None:
    engine.seed_ready("a", 1, "gpu")

    claims = engine.claim(limit=0, slots={"": 5, "gpu": 1})

    assert (claims.jobs, claims.more) == ([], False)
    assert engine.dump()["wake:gpu"] == a_list(["1"])
    assert "wake" not in engine.dump()


def test_the_rank_left_behind_is_text_on_the_wire(engine: Engine) -> None:
    for n in range(3):
        engine.seed_ready(f"j{n}", n)

    assert [engine.raw(engine.claim_call(limit=2))[3] for _ in range(2)] == [b"2", b""]


def test_words_of_a_job_that_look_like_fields_are_no_fields(engine: Engine) -> None:
    """Fields and values come in one list."""
    for n, word in enumerate(("state", "deadline_ms", "on_miss", "token", "waiters")):
        engine.seed_ready(f"j{n}", n, task=word, payload=word)

    assert ids(engine.claim().jobs) == [f"j{n}" for n in range(5)]


def test_a_token_or_a_deadline_that_is_no_number_stops_nobody(engine: Engine) -> None:
    engine.seed_ready("a", 1, token="oops")
    engine.seed_ready("b", 2, deadline_ms="soon")

    assert [job.token for job in engine.claim().jobs] == [TOKEN, TOKEN]


def test_a_job_past_its_deadline_expires_instead(engine: Engine) -> None:
    engine.seed_ready("a", deadline_ms=START, waiters="")
    engine.seed_ready("b", deadline_ms=START + 1)
    before = engine.dump()

    claims = engine.claim()

    assert ids(claims.jobs) == ["b"]
    changed = engine.changed(before)
    assert changed["job:a"] == job(
        "expired", ttl=True, deadline_ms=START, waiters="", ended_ms=START, reason="deadline"
    )
    assert changed["done"] == a_zset({"a": START}, ttl=True)
    assert changed["ready"] is None
    assert changed["stats"] == counted(claimed=1, expired=1)["stats"]
    assert KEEP - 10_000 < engine.ttl("job:a") <= KEEP


def test_a_job_expires_at_its_deadline_to_the_microsecond(engine: Engine) -> None:
    engine.seed_ready("a", deadline_ms=START)
    engine.client.set(engine.clock_key, START * 1000)

    assert engine.claim().jobs == []


def test_on_miss_run_runs_past_the_deadline(engine: Engine) -> None:
    engine.seed_ready("a", deadline_ms=START - 5, on_miss="run")

    assert ids(engine.claim().jobs) == ["a"]


def test_a_token_is_greater_than_the_last_one_when_the_clock_steps_back(engine: Engine) -> None:
    ahead = START * 1000 + MICRO + 99
    for n, last in enumerate((ahead, START * 1000 + MICRO)):
        engine.seed_ready(f"j{n}", n, token=last)

    first, second = engine.claim().jobs

    assert int(first.token) == ahead + 1 + MICRO
    assert int(second.token) > START * 1000 + MICRO


def test_a_token_that_a_failover_forgot_is_not_given_again_while_the_clock_is_behind(
    engine: Engine,
) -> None:
    tokens = set()
    for ms in range(3):
        engine.now = START + ms
        engine.seed_ready("a", token=START * 1000 + 10**9)
        (claimed,) = engine.claim().jobs
        tokens.add(claimed.token)
        engine.client.delete(engine.keys.running(WORKER))

    assert len(tokens) == 3


def test_it_tells_the_ranks_of_the_best_jobs_it_left_behind(engine: Engine) -> None:
    for rank in (50, 10, 30, 40, 20):
        engine.seed_ready(f"j{rank}", 10**13 + rank)

    claims = engine.claim(limit=1, look=3)

    assert claims.ranks == (10**13 + 20, 10**13 + 30, 10**13 + 40)
    assert claims.next_rank == 10**13 + 20
    assert engine.claim(limit=1).ranks == (10**13 + 30,)
    last = engine.claim(limit=3, look=3)
    assert (last.ranks, last.next_rank, last.more) == ((), None, False)


def test_the_ranks_left_behind_are_the_best_of_all_classes(engine: Engine) -> None:
    for rank in (1, 4, 5):
        engine.seed_ready(f"n{rank}", rank)
        engine.seed_ready(f"g{rank}", rank + 0.5, "gpu")
        engine.seed_ready(f"x{rank}", rank - 0.5, "full")

    claims = engine.claim(limit=3, slots={"": 3, "gpu": 1, "full": 0}, look=4)

    assert ids(claims.jobs) == ["n1", "g1", "n4"]
    assert claims.ranks == (4.5, 5, 5.5)


def test_equal_ranks_left_behind_in_many_classes_are_told_as_often_as_there_are_jobs(
    engine: Engine,
) -> None:
    for n in range(20):
        engine.seed_ready(f"n{n}", 5)
        engine.seed_ready(f"g{n}", 5, "gpu")

    assert engine.claim(limit=1, slots={"": 1, "gpu": 1}, look=38).ranks == (5,) * 38


def test_entries_that_were_no_jobs_make_the_worker_look_again_while_there_may_be_more(
    engine: Engine,
) -> None:
    engine.client.zadd(engine.keys.ready, {"ghost": 7, "spirit": 8, "shade": 9})

    assert engine.claim(limit=1).ranks == (7,)
    assert engine.claim(limit=1).ranks == ()


def test_an_entry_that_was_no_job_is_not_told_as_a_job_left_behind(engine: Engine) -> None:
    engine.client.zadd(engine.keys.ready, {"ghost": 7})
    engine.seed_ready("late", 8, deadline_ms=START)
    engine.seed_ready("a", 9)
    engine.seed_ready("b", 10)
    engine.seed_ready("c", 11)
    engine.seed_ready("d", 12)

    claims = engine.claim(limit=2, look=4)

    assert ids(claims.jobs) == ["a", "b"]
    assert claims.ranks == (11, 12)


def test_class_sets_merge_by_rank_within_the_slots_of_each(engine: Engine) -> None:
    for n, rank in enumerate((10, 12, 14)):
        engine.seed_ready(f"n{n}", rank)
        engine.seed_ready(f"g{n}", rank + 1, "gpu")
        engine.seed_ready(f"x{n}", rank - 5, "other")

    claims = engine.claim(limit=4, slots={"": 4, "gpu": 1})

    assert ids(claims.jobs) == ["n0", "g0", "n1", "n2"]
    assert claims.more
    assert engine.dump()["ready:gpu"] == a_zset({"g1": 13, "g2": 15})
    assert engine.dump()["ready:other"] == a_zset({"x0": 5, "x1": 7, "x2": 9})


def test_the_limit_holds_over_all_classes_and_the_rest_stays_where_it_was(engine: Engine) -> None:
    engine.seed_ready("a", 1)
    engine.seed_ready("b", 2, "gpu")
    engine.seed_ready("c", 3)

    claims = engine.claim(limit=2, slots={"": 2, "gpu": 2})

    assert ids(claims.jobs) == ["a", "b"]
    assert claims.more
    assert engine.dump()["ready"] == a_zset({"c": 3})
    assert engine.dump()["wake"] == a_list(["1"])


def test_equal_ranks_come_in_the_order_of_ids_over_all_classes(engine: Engine) -> None:
    for n, job_class in enumerate(["gpu", "", "gpu", "", "gpu", ""]):
        engine.seed_ready(f"j{n}", 5, job_class)

    claims = engine.claim(limit=6, slots={"": 6, "gpu": 6})

    assert ids(claims.jobs) == [f"j{n}" for n in range(6)]


def test_a_class_without_free_slots_is_left_to_others_who_are_woken(engine: Engine) -> None:
    engine.seed_ready("a", 1, "gpu")
    before = engine.dump()

    claims = engine.claim(limit=2, slots={"": 2, "gpu": 0})

    assert (claims.jobs, claims.more) == ([], False)
    assert engine.changed(before) == {"wake:gpu": a_list(["1"])}


def test_an_id_without_a_hash_leaves_the_set_and_another_job_is_not_held_up(
    engine: Engine,
) -> None:
    engine.client.zadd(engine.keys.ready, {"ghost": 1})
    engine.seed_ready("a", 2)

    claims = engine.claim(limit=1)

    assert ids(claims.jobs) == ["a"]
    assert "ready" not in engine.dump()


@pytest.mark.parametrize("state", ["running", "scheduled", "completed"])
def test_a_job_listed_here_whose_home_is_elsewhere_is_not_run(engine: Engine, state: str) -> None:
    engine.seed_job("a", state)
    engine.client.zadd(engine.keys.ready, {"a": 1})

    claims = engine.claim()

    assert claims.jobs == []
    assert engine.dump()["job:a"] == job(state)
    assert "ready" not in engine.dump()


def test_a_job_hash_overwritten_by_a_string_does_not_stop_the_others(engine: Engine) -> None:
    engine.client.set(engine.keys.job("a"), "oops")
    engine.client.zadd(engine.keys.ready, {"a": 1})
    engine.seed_ready("b", 2)

    assert ids(engine.claim().jobs) == ["b"]
    assert engine.dump()["job:a"] == a_string("oops")


def test_two_hundred_jobs_at_most_come_in_one_call(engine: Engine) -> None:
    for n in range(205):
        engine.seed_ready(f"j{n:03}", n)

    claims = engine.claim(limit=500, slots={"": 500})

    assert ids(claims.jobs) == [f"j{n:03}" for n in range(200)]
    assert claims.more
    assert engine.client.zcard(engine.keys.ready) == 5


def test_a_claimed_job_has_no_ttl(engine: Engine) -> None:
    engine.seed_ready("a")

    engine.claim()

    assert engine.ttl("job:a") == -1
    assert engine.ttl(f"running:{WORKER}") == -1


def test_a_time_that_never_comes_is_told_in_digits(engine: Engine) -> None:
    engine.client.zadd(engine.keys.scheduled, {"never": "inf"})

    assert engine.raw(engine.claim_call())[2] == b"1" + b"0" * 14


@pytest.mark.parametrize("limit", [2, 3])
def test_who_takes_all_hears_of_no_more_and_wakes_nobody(engine: Engine, limit: int) -> None:
    engine.seed_ready("a", 1)
    engine.seed_ready("b", 2)

    claims = engine.claim(limit=limit)

    assert (ids(claims.jobs), claims.more) == (["a", "b"], False)
    assert "wake" not in engine.dump()


def test_a_full_worker_has_no_news_of_an_empty_queue(engine: Engine) -> None:
    engine.claim(limit=0, slots={"": 1, "gpu": 1})

    assert "wake" not in engine.dump()


@pytest.mark.parametrize("gpu", [2, 3])
def test_the_limit_holds_when_each_of_two_classes_could_fill_it(engine: Engine, gpu: int) -> None:
    for n in range(3):
        engine.seed_ready(f"n{n}", 2 * n)
    for n in range(gpu):
        engine.seed_ready(f"g{n}", 2 * n + 1, "gpu")

    assert ids(engine.claim(limit=3, slots={"": 3, "gpu": 3}).jobs) == ["n0", "g0", "n1"]


def test_an_entry_that_is_no_job_to_run_is_a_reason_to_look_again(engine: Engine) -> None:
    engine.client.zadd(engine.keys.ready, {"ghost": 1, "spirit": 2})
    assert engine.claim(limit=1).more

    engine.seed_ready("late", deadline_ms=START)
    engine.seed_ready("later", deadline_ms=START)
    assert engine.claim(limit=1).more
