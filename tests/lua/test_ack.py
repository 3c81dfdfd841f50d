"""lua/ack.lua: running -> completed, then ready -> running."""

from __future__ import annotations

import pytest

from taskq.commands import Ack
from tests.helpers import a_hash, a_list, a_string, a_zset
from tests.lua.engine import KEEP, START, WORKER, Engine, counted, ids, job


@pytest.fixture(autouse=True)
def alive(engine: Engine) -> None:
    engine.seed_alive()


def done(engine: Engine, *job_ids: str, **words: object) -> dict[str, str]:
    acks = (Ack(job_id, "7", b"r", KEEP) for job_id in job_ids)
    return engine.ack(*acks, **words).refused


def test_the_holder_of_the_token_completes_the_job(engine: Engine) -> None:
    engine.seed_running("a")
    before = engine.dump()

    claims = engine.ack(Ack("a", "7", b"\x00result", KEEP))

    assert claims == ("OK", START, -1, False, {}, [], ())
    assert engine.changed(before) == {
        "job:a": job(
            "completed",
            ttl=True,
            token=7,
            worker=WORKER,
            rank=5,
            started_ms=START,
            ended_ms=START,
            result="\x00result",
        ),
        f"running:{WORKER}": None,
        "done": a_zset({"a": START}, ttl=True),
        **counted(completed=1),
    }
    assert KEEP - 10_000 < engine.ttl("job:a") <= KEEP


def test_no_result_is_no_field(engine: Engine) -> None:
    engine.seed_running("a")

    engine.ack(Ack("a", "7", b"", KEEP))

    assert engine.client.hexists(engine.keys.job("a"), "result") is False


def test_a_result_kept_for_no_time_leaves_no_key(engine: Engine) -> None:
    engine.seed_running("a")
    before = engine.dump()

    engine.ack(Ack("a", "7", b"r", 0))

    assert engine.changed(before) == {
        "job:a": None,
        f"running:{WORKER}": None,
        **counted(completed=1),
    }


def test_a_result_kept_for_no_time_does_not_touch_the_done_index(engine: Engine) -> None:
    engine.seed_ended("old", "completed", at=START - KEEP - 1)
    engine.seed_running("a")
    before = engine.dump()

    engine.ack(Ack("a", "7", b"r", 0))

    assert "done" not in engine.changed(before)


def test_the_same_ack_again_counts_once(engine: Engine) -> None:
    engine.seed_running("a")
    done(engine, "a")
    before = engine.dump()

    assert done(engine, "a") == {"a": "ALREADY"}
    assert engine.changed(before) == {}


@pytest.mark.parametrize(
    ("token", "worker"), [("6", WORKER), ("", WORKER), ("7", "w2"), ("07", WORKER)]
)
def test_a_stale_ack_writes_nothing(engine: Engine, token: str, worker: str) -> None:
    engine.seed_alive("w2")
    engine.seed_running("a")
    before = engine.dump()

    claims = engine.ack(Ack("a", token, b"r", KEEP), worker=worker)

    assert claims.refused == {"a": "STALE"}
    assert engine.changed(before) == {}


@pytest.mark.parametrize("state", ["ready", "retry", "dead", "cancelled"])
def test_an_ack_after_another_end_with_the_same_token_is_stale(engine: Engine, state: str) -> None:
    engine.seed_job("a", state, token=7, worker=WORKER)
    before = engine.dump()

    assert done(engine, "a") == {"a": "STALE"}
    assert engine.changed(before) == {}


def test_an_ack_of_a_job_without_a_record_is_told_so(engine: Engine) -> None:
    engine.client.set(engine.keys.job("b"), "oops")
    before = engine.dump()

    assert done(engine, "a", "b") == {"a": "GONE", "b": "GONE"}
    assert engine.changed(before) == {}


def test_a_cancellation_that_came_too_late_does_not_undo_the_work(engine: Engine) -> None:
    engine.seed_running("a", cancel=1)

    assert done(engine, "a") == {}
    assert engine.dump()["job:a"].content["state"] == "completed"


def test_finished_jobs_make_room_for_new_ones_in_one_call(engine: Engine) -> None:
    engine.seed_running("a")
    engine.seed_running("b")
    for n in range(3):
        engine.seed_ready(f"c{n}", n)
    engine.seed_due("scheduled", "d", START + 50)

    claims = engine.ack(
        Ack("a", "7", b"r", KEEP), Ack("b", "6", b"r", KEEP), limit=2, slots={"": 2}
    )

    assert claims[:5] == ("OK", START, 50, True, {"b": "STALE"})
    assert ids(claims.jobs) == ["c0", "c1"]
    dump = engine.dump()
    assert dump[f"running:{WORKER}"] == a_zset({"b": START, "c0": START, "c1": START})
    assert dump["ready"] == a_zset({"c2": 2})
    assert dump["wake"] == a_list(["1"])
    assert dump["stats"] == a_hash({"completed": 1, "claimed": 2})


def test_slots_per_class_follow_the_acks(engine: Engine) -> None:
    engine.seed_running("a")
    engine.seed_ready("n", 5)
    engine.seed_ready("g0", 1, "gpu")
    engine.seed_ready("g1", 2, "gpu")

    claims = engine.ack(Ack("a", "7", b"r", KEEP), limit=3, slots={"": 3, "gpu": 1})

    assert ids(claims.jobs) == ["g0", "n"]


def test_acks_count_while_the_queue_is_paused(engine: Engine) -> None:
    engine.seed_running("a")
    engine.seed_ready("b")
    engine.client.hset(engine.keys.meta, "paused", START)

    claims = engine.ack(Ack("a", "7", b"r", KEEP), limit=5)

    assert (claims.word, claims.jobs) == ("PAUSED", [])
    assert engine.dump()["job:a"].content["state"] == "completed"
    assert engine.dump()["job:b"] == job("ready")


def test_a_worker_without_a_heartbeat_still_acks_what_is_its_own(engine: Engine) -> None:
    engine.seed_running("a", worker="w2")
    engine.seed_ready("b")

    claims = engine.ack(Ack("a", "7", b"r", KEEP), limit=5, worker="w2")

    assert (claims.word, claims.jobs, claims.refused) == ("LAPSED", [], {})
    assert engine.dump()["job:a"].content["state"] == "completed"
    assert engine.dump()["job:b"] == job("ready")


def test_the_done_index_forgets_by_age_a_bounded_number_a_call(engine: Engine) -> None:
    for n in range(20):
        engine.seed_ended(f"old{n:02}", "completed", at=START - KEEP - 100 + n)
    engine.seed_ended("young", "completed", at=START - KEEP)
    engine.seed_running("a")
    engine.seed_running("b")

    done(engine, "a")

    assert set(engine.dump()["done"].content) == {
        *(f"old{n:02}" for n in range(12, 20)),
        "young",
        "a",
    }
    done(engine, "b")
    assert set(engine.dump()["done"].content) == {"young", "a", "b"}


def test_the_done_index_forgets_by_count_and_their_records_go_along(engine: Engine) -> None:
    for n in range(20):
        engine.seed_ended(f"old{n:02}", "completed", at=START - 100 + n)
    engine.seed_running("a")
    engine.seed_running("b")

    done(engine, "a", done_max=3)

    assert engine.client.zcard(engine.keys.done) == 21 - 12
    assert not engine.client.exists(engine.keys.job("old11"))
    assert engine.client.exists(engine.keys.job("old12"))
    done(engine, "b", done_max=3)
    assert set(engine.dump()["done"].content) == {"old19", "a", "b"}
    assert {n for n in engine.dump() if n.startswith("job:")} == {"job:old19", "job:a", "job:b"}


def test_the_done_index_never_lives_shorter_than_before(engine: Engine) -> None:
    engine.seed_ended("long", "completed", keep=10 * KEEP)
    engine.seed_running("a")

    done(engine, "a")

    assert engine.ttl("done") > 9 * KEEP


def test_a_job_hash_overwritten_by_a_string_stays_out_of_the_way(engine: Engine) -> None:
    engine.seed_running("b")
    engine.client.set(engine.keys.job("a"), "oops")
    engine.client.zadd(engine.keys.running(WORKER), {"a": START})

    assert done(engine, "a", "b") == {"a": "GONE"}
    assert engine.dump()["job:a"] == a_string("oops")
    assert engine.dump()["job:b"].content["state"] == "completed"


def test_the_rank_left_behind_is_text_on_the_wire(engine: Engine) -> None:
    engine.seed_alive()
    for n in range(3):
        engine.seed_ready(f"j{n}", n)

    replies = [engine.raw(engine.ack_call(Ack("x", "7", b"", 0), limit=2)) for _ in range(2)]

    assert [reply[3] for reply in replies] == [b"2", b""]


@pytest.mark.parametrize(("look", "ranks"), [(1, (2,)), (3, (2, 3, 4)), (5, (2, 3, 4, 5))])
def test_it_tells_the_ranks_of_as_many_jobs_left_behind_as_it_is_asked_for(
    engine: Engine, look: int, ranks: tuple[int, ...]
) -> None:
    engine.seed_running("a")
    engine.seed_running("b")
    for rank in range(1, 6):
        engine.seed_ready(f"j{rank}", rank)

    acks = (Ack(job_id, "7", b"r", KEEP) for job_id in "ab")
    claims = engine.ack(*acks, limit=1, look=look)

    assert (ids(claims.jobs), claims.ranks) == (["j1"], ranks)


@pytest.mark.parametrize(("most", "kept"), [(3, 3), (4, 3), (2, 2)])
def test_as_many_ended_jobs_as_may_be_kept_are_kept(engine: Engine, most: int, kept: int) -> None:
    for n in range(2):
        engine.seed_ended(f"old{n}", "completed", at=START - 10 + n)
    engine.seed_running("a")

    engine.ack(Ack("a", "7", b"", KEEP), done_max=most)

    assert engine.client.zcard(engine.keys.done) == kept
    assert engine.client.exists(engine.keys.job("old1"), engine.keys.job("a")) == 2


def test_the_same_ack_twice_in_one_call_counts_once(engine: Engine) -> None:
    engine.seed_running("a")
    one = Ack("a", "7", b"r", KEEP)

    assert engine.ack(one, one).refused == {"a": "ALREADY"}
    assert engine.dump()["stats"].content["completed"] == "1"


def test_five_acks_are_five_and_nothing_else_is_read_as_one(engine: Engine) -> None:
    acks = [Ack(f"j{n}", "7", b"r", KEEP) for n in range(5)]
    for ack in acks:
        engine.seed_running(ack.id)

    assert engine.ack(*acks).refused == {}
    assert engine.dump()["stats"].content["completed"] == "5"


@pytest.mark.parametrize(("limit", "word", "claimed"), [(0, "OK", 0), (1, "OK", 1)])
def test_an_ack_claims_as_many_as_it_asks_for(
    engine: Engine, limit: int, word: str, claimed: int
) -> None:
    engine.seed_alive()
    engine.seed_running("a")
    engine.seed_ready("b")

    claims = engine.ack(Ack("a", "7", b"", 0), limit=limit)

    assert (claims.word, len(claims.jobs)) == (word, claimed)
    assert "wake" not in engine.dump()


@pytest.mark.parametrize(("limit", "word"), [(0, "OK"), (1, "PAUSED"), (2, "PAUSED")])
def test_who_asks_for_nothing_is_not_told_of_a_pause(engine: Engine, limit: int, word: str) -> None:
    engine.seed_alive()
    engine.seed_running("a")
    engine.client.hset(engine.keys.meta, "paused", START)

    assert engine.ack(Ack("a", "7", b"", 0), limit=limit).word == word
