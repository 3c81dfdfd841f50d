"""lua/enqueue.lua: nothing -> ready | scheduled."""

from __future__ import annotations

import pytest

from taskq import commands
from taskq.commands import Enqueued, NewJob
from taskq.errors import JobConflict, QueueFull
from tests.helpers import a_hash, a_list, a_set, a_zset
from tests.lua.engine import MINUTE, START, Engine, counted, job

DEFAULT_RANK = 4 * 10**13 + START + 60_000


def new(job_id: str, **words: object) -> NewJob:
    return NewJob(job_id, "t", b"p", **words)  # type: ignore[arg-type]


def test_a_job_without_options_is_ready_at_the_rank_of_its_priority_and_horizon(
    engine: Engine,
) -> None:
    reply = engine.enqueue(new("a"))

    assert reply == Enqueued(START, 1)
    assert engine.dump() == {
        "job:a": job("ready"),
        "ready": a_zset({"a": DEFAULT_RANK}),
        "wake": a_list(["1"]),
        **counted(enqueued=1),
    }


def test_options_and_extras_are_stored_as_they_are_and_a_deadline_orders(engine: Engine) -> None:
    engine.enqueue(
        new("a", priority=9, deadline="+5000", extras=("on_miss", "run", "retries", 2)),
        new("b", priority=0, deadline=str(START + 7)),
    )

    assert engine.dump() == {
        "job:a": job("ready", priority=9, deadline_ms=START + 5000, on_miss="run", retries=2),
        "job:b": job("ready", priority=0, deadline_ms=START + 7),
        "ready": a_zset({"a": START + 5000, "b": 9 * 10**13 + START + 7}),
        "wake": a_list(["1", "1"]),
        **counted(enqueued=2),
    }


def test_the_payload_is_stored_byte_for_byte(engine: Engine) -> None:
    payload = bytes(range(256))

    engine.enqueue(NewJob("a", "t", payload))

    assert engine.client.hget(engine.keys.job("a"), "payload") == payload


def test_a_delayed_job_is_scheduled_and_one_token_tells_a_sleeper_of_the_earlier_time(
    engine: Engine,
) -> None:
    engine.enqueue(new("a", at="+5000"), new("b", at=str(START + 3000)))

    assert engine.dump() == {
        "job:a": job("scheduled"),
        "job:b": job("scheduled"),
        "scheduled": a_zset({"a": START + 5000, "b": START + 3000}),
        "wake": a_list(["1"]),
        **counted(enqueued=2),
    }


def test_a_later_due_time_wakes_nobody(engine: Engine) -> None:
    engine.seed_due("scheduled", "a", START + 1000)

    engine.enqueue(new("b", at="+5000"))

    assert "wake" not in engine.dump()


def test_the_earliest_of_a_batch_decides_whether_a_sleeper_must_know(engine: Engine) -> None:
    engine.seed_due("scheduled", "a", START + 4000)

    engine.enqueue(new("b", at="+5000"), new("c", at="+3000"), new("d", at="+6000"))

    assert engine.dump()["wake"] == a_list(["1"])


@pytest.mark.parametrize("at", [str(START), str(START - 1), "+0"])
def test_a_time_that_is_not_in_the_future_means_ready_now(engine: Engine, at: str) -> None:
    engine.enqueue(new("a", at=at))

    assert engine.dump()["ready"] == a_zset({"a": DEFAULT_RANK})
    assert "scheduled" not in engine.dump()


def test_a_job_of_a_class_waits_in_the_set_of_that_class(engine: Engine) -> None:
    engine.enqueue(new("a", job_class="gpu"), new("b"))

    assert engine.dump() == {
        "job:a": job("ready", **{"class": "gpu"}),
        "job:b": job("ready"),
        "ready": a_zset({"b": DEFAULT_RANK}),
        "ready:gpu": a_zset({"a": DEFAULT_RANK}),
        "classes": a_set(["gpu"]),
        "wake": a_list(["1"] * 4),
        "wake:gpu": a_list(["1"]),
        **counted(enqueued=2),
    }


def test_jobs_of_a_class_that_is_known_wake_only_those_who_serve_it(engine: Engine) -> None:
    engine.client.sadd(engine.keys.classes, "gpu")

    engine.enqueue(new("a", job_class="gpu"), new("b", job_class="gpu"))

    assert engine.dump()["wake:gpu"] == a_list(["1", "1"])
    assert "wake" not in engine.dump()


def test_never_more_than_four_wake_tokens(engine: Engine) -> None:
    engine.enqueue(*(new(f"a{n}") for n in range(9)))
    engine.enqueue(new("b"), new("c", at="+1"))

    assert engine.dump()["wake"] == a_list(["1"] * 4)


def test_the_same_call_sent_again_counts_once(engine: Engine) -> None:
    engine.enqueue(new("a"), new("b"))
    before = engine.dump()

    again = engine.enqueue(new("a"), new("b"))

    assert again == Enqueued(START, 0, frozenset({"a", "b"}))
    assert engine.changed(before) == {}


def test_an_id_twice_in_one_call_is_one_job(engine: Engine) -> None:
    reply = engine.enqueue(new("a"), new("a"), NewJob("a", "t", b"other"))

    assert (reply.created, reply.duplicates, reply.conflicts) == (1, {"a"}, {"a"})
    assert engine.dump()["stats"] == a_hash({"enqueued": 1})


@pytest.mark.parametrize("other", [NewJob("a", "t", b"other"), NewJob("a", "u", b"p")])
def test_a_taken_id_is_a_conflict_and_the_others_are_created(engine: Engine, other: NewJob) -> None:
    engine.enqueue(new("a"))
    before = engine.dump()

    reply = engine.enqueue(other, new("b"))

    assert (reply.created, reply.conflicts) == (1, {"a"})
    assert engine.changed(before) == {
        "job:b": job("ready"),
        "ready": a_zset({"a": DEFAULT_RANK, "b": DEFAULT_RANK}),
        "wake": a_list(["1", "1"]),
        **counted(enqueued=2),
    }


def test_all_or_none_writes_nothing_when_one_conflicts(engine: Engine) -> None:
    engine.enqueue(new("a"))
    before = engine.dump()

    with pytest.raises(JobConflict, match="'a'") as caught:
        engine.enqueue(new("b"), NewJob("a", "t", b"other"), all_or_none=True)

    assert caught.value.job_id == "a"
    assert engine.changed(before) == {}


def test_a_full_queue_refuses_the_whole_call_and_writes_nothing(engine: Engine) -> None:
    engine.enqueue(new("a"), new("b", at="+5000"))
    engine.seed_due("retry", "c", START + 1)
    before = engine.dump()

    with pytest.raises(QueueFull, match="3 jobs wait, 4 may"):
        engine.enqueue(new("d"), new("e"), max_jobs=4)

    assert engine.changed(before) == {}
    assert engine.enqueue(new("d"), max_jobs=4).created == 1


def test_jobs_of_the_class_count_towards_a_full_queue(engine: Engine) -> None:
    engine.enqueue(new("a", job_class="gpu"))

    with pytest.raises(QueueFull):
        engine.enqueue(new("b", job_class="gpu"), max_jobs=1)


def test_a_known_id_is_known_in_a_full_queue_too(engine: Engine) -> None:
    engine.enqueue(new("a"))

    assert engine.enqueue(new("a"), max_jobs=1).duplicates == {"a"}


def test_the_limit_of_the_queue_itself_goes_before_the_callers(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "max_jobs", 1)

    with pytest.raises(QueueFull, match="1 may"):
        engine.enqueue(new("a"), new("b"), max_jobs=1000)


def test_an_aging_queue_ranks_by_patience_and_the_nearer_deadline(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "policy", "aging")

    engine.enqueue(
        new("a", priority=0),
        new("b", priority=9),
        new("c", priority=0, deadline="+10"),
        new("d", priority=9, deadline="+99000"),
    )

    assert engine.dump()["ready"] == a_zset(
        {"a": START + 600_000, "b": START + 1000, "c": START + 10, "d": START + 1000}
    )


def test_an_aging_queue_uses_its_own_patience(engine: Engine) -> None:
    patience = "10 9 8 7 6 5 4 3 2 1"
    engine.client.hset(engine.keys.meta, mapping={"policy": "aging", "patience_ms": patience})

    engine.enqueue(new("a", priority=0), new("b", priority=9))

    assert engine.dump()["ready"] == a_zset({"a": START + 10, "b": START + 1})


def test_the_horizon_of_the_queue_moves_jobs_without_a_deadline(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "horizon_ms", 5)

    engine.enqueue(new("a"))

    assert engine.dump()["ready"] == a_zset({"a": 4 * 10**13 + START + 5})


def test_counters_of_a_minute_live_two_hours(engine: Engine) -> None:
    engine.enqueue(new("a"))

    assert 7_190_000 < engine.ttl(MINUTE) <= 7_200_000


def test_two_hundred_jobs_with_all_options_go_in_one_call(engine: Engine) -> None:
    jobs = [
        new(f"j{n:03}", priority=n % 10, deadline="+1000", extras=("timeout_ms", 1, "retries", 3))
        for n in range(200)
    ]

    assert engine.enqueue(*jobs).created == 200
    assert engine.client.zcard(engine.keys.ready) == 200


def test_above_the_memory_watermark_nothing_is_taken_and_the_figures_are_told(
    engine: Engine,
) -> None:
    engine.client.hset(engine.keys.meta, "pressed", f"{START + 1} 950000000 1000000000")
    before = engine.dump()

    with pytest.raises(QueueFull, match=r"950 MB of 1,000 MB \(95%\)"):
        engine.enqueue(NewJob("a", "t", b"p"))
    assert engine.changed(before) == {}


def test_a_known_job_is_no_burden_above_the_memory_watermark(engine: Engine) -> None:
    engine.enqueue(NewJob("a", "t", b"p"))
    engine.client.hset(engine.keys.meta, "pressed", f"{START + 1} 950000000 1000000000")

    assert engine.enqueue(NewJob("a", "t", b"p")).duplicates == {"a"}


@pytest.mark.parametrize("pressed", [f"{START} 9 10", "nonsense", ""])
def test_a_look_at_the_memory_that_is_too_old_or_broken_refuses_nothing(
    engine: Engine, pressed: str
) -> None:
    engine.client.hset(engine.keys.meta, "pressed", pressed)

    assert engine.enqueue(NewJob("a", "t", b"p")).created == 1


def test_the_jobs_of_a_class_count_once_however_many_join_them(engine: Engine) -> None:
    engine.enqueue(new("a", job_class="gpu"), new("b", job_class="gpu"))

    assert engine.enqueue(*(new(i, job_class="gpu") for i in "cd"), max_jobs=4).created == 2


def test_a_refusal_says_in_one_word_why(engine: Engine) -> None:
    engine.enqueue(new("a"))

    def raw(job: NewJob, max_jobs: int) -> list[object]:
        reply: list[object] = engine.raw(
            commands.enqueue(engine.keys, [job], max_jobs=max_jobs, all_or_none=True)
        )
        return reply

    assert raw(NewJob("a", "t", b"other"), 9) == [b"CONFLICT", b"a"]
    assert raw(new("b"), 1) == [b"FULL", 1, 1, b"reject"]


@pytest.mark.parametrize(("tokens", "after"), [(3, 4), (4, 4)])
def test_news_of_an_earlier_time_is_the_fourth_token_and_never_a_fifth(
    engine: Engine, tokens: int, after: int
) -> None:
    engine.seed_due("scheduled", "a", START + 4000)
    engine.client.rpush(engine.keys.wake, *["1"] * tokens)

    engine.enqueue(new("b", at="+3000"))

    assert engine.dump()["wake"] == a_list(["1"] * after)


def test_another_job_of_the_same_time_wakes_nobody(engine: Engine) -> None:
    engine.seed_due("scheduled", "a", START + 4000)

    engine.enqueue(new("b", at="+4000"))

    assert "wake" not in engine.dump()


def test_the_second_half_of_a_minute_is_still_that_minute(engine: Engine) -> None:
    engine.now = START + 35_000

    engine.enqueue(new("a"))

    assert engine.dump()[MINUTE].content == {"enqueued": "1"}


def test_a_table_of_patience_that_is_too_short_leaves_a_minute_to_the_rest(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, mapping={"policy": "aging", "patience_ms": "7 8"})

    engine.enqueue(new("a", priority=1), new("b", priority=2))

    assert engine.dump()["ready"] == a_zset({"a": START + 8, "b": START + 60_000})


def test_a_horizon_that_is_no_number_is_the_default(engine: Engine) -> None:
    engine.client.hset(engine.keys.meta, "horizon_ms", "soon")

    assert engine.enqueue(new("a")).created == 1
    assert engine.dump()["ready"] == a_zset({"a": DEFAULT_RANK})


def test_a_deadline_at_the_end_of_the_calendar_keeps_its_digits(engine: Engine) -> None:
    engine.enqueue(new("a", deadline="253402300799999"))

    assert engine.dump()["job:a"] == job("ready", deadline_ms=253402300799999)


def test_a_repeated_call_writes_so_that_replicas_can_confirm_what_the_first_wrote(
    real: Engine,
) -> None:
    """WAIT counts what this connection wrote; the first call may have been on another."""
    real.enqueue(new("a"))
    before = real.dump()

    def writes() -> int:
        return int(real.client.info("commandstats")["cmdstat_hset"]["calls"])

    already = writes()

    assert real.enqueue(new("a")).duplicates == {"a"}
    assert writes() == already + 1
    assert real.changed(before) == {}


def test_a_call_of_nothing_but_conflicts_creates_and_writes_nothing(engine: Engine) -> None:
    engine.enqueue(new("a"))
    before = engine.dump()

    reply = engine.enqueue(NewJob("a", "t", b"other"))

    assert (reply.created, reply.duplicates, reply.conflicts) == (0, frozenset(), {"a"})
    assert engine.changed(before) == {}
