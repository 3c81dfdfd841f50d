"""lua/fail.lua: running -> retry | dead | cancelled."""

from __future__ import annotations

import pytest

from tests.helpers import a_list, a_zset
from tests.lua.engine import DEAD_KEEP, KEEP, START, WORKER, Engine, counted, failure, job

LEASE = {"token": 7, "worker": WORKER, "rank": 5, "started_ms": START}
PROBLEM = {"reason": "error", "error": "ValueError: no", "traceback": "Traceback"}


def test_a_failure_with_a_delay_waits_in_retry_and_counts_an_attempt(engine: Engine) -> None:
    engine.seed_running("a", attempt=1)
    before = engine.dump()

    words = engine.fail(failure("a", after_ms=1500))

    assert words == {"a": "RETRY"}
    assert engine.changed(before) == {
        "job:a": job("retry", **LEASE, **PROBLEM, attempt=2),
        f"running:{WORKER}": None,
        "retry": a_zset({"a": START + 1500}),
        "wake": a_list(["1"]),
        **counted(failed=1, retried=1),
    }


def test_a_failure_without_a_delay_is_dead_and_kept_for_a_human(engine: Engine) -> None:
    engine.seed_running("a")
    before = engine.dump()

    words = engine.fail(failure("a", after_ms=None))

    assert words == {"a": "DEAD"}
    assert engine.changed(before) == {
        "job:a": job("dead", ttl=True, **LEASE, **PROBLEM, attempt=1, ended_ms=START),
        f"running:{WORKER}": None,
        "dead": a_zset({"a": START}, ttl=True),
        **counted(failed=1, dead=1),
    }
    assert DEAD_KEEP - 10_000 < engine.ttl("job:a") <= DEAD_KEEP
    assert DEAD_KEEP - 10_000 < engine.ttl("dead") <= DEAD_KEEP


@pytest.mark.parametrize("after", [1000, None])
def test_a_job_whose_cancellation_was_asked_for_is_not_tried_again(
    engine: Engine, after: int | None
) -> None:
    engine.seed_running("a", cancel=1)
    before = engine.dump()

    words = engine.fail(failure("a", after_ms=after))

    assert words == {"a": "CANCELLED"}
    assert engine.changed(before) == {
        "job:a": job(
            "cancelled", ttl=True, **LEASE, **PROBLEM, attempt=1, cancel=1, ended_ms=START
        ),
        f"running:{WORKER}": None,
        "done": a_zset({"a": START}, ttl=True),
        **counted(cancelled=1),
    }
    assert engine.ttl("done") <= KEEP


@pytest.mark.parametrize("after", [1000, None])
def test_the_same_failure_again_counts_once(engine: Engine, after: int | None) -> None:
    engine.seed_running("a")
    engine.fail(failure("a", after_ms=after))
    before = engine.dump()

    assert engine.fail(failure("a", after_ms=after)) == {"a": "ALREADY"}
    assert engine.changed(before) == {}


@pytest.mark.parametrize("after", [1000, None])
def test_the_same_failure_twice_in_one_call_counts_once(engine: Engine, after: int | None) -> None:
    engine.seed_running("a", attempt=1)
    one = failure("a", after_ms=after)

    assert engine.fail(one, one) == {"a": "ALREADY"}
    dump = engine.dump()
    assert dump["job:a"].content["attempt"] == "2"
    assert dump["stats"].content["failed"] == "1"


def test_a_count_of_attempts_that_is_no_number_starts_anew_and_stops_nobody(
    engine: Engine,
) -> None:
    engine.seed_running("a", attempt="many")
    engine.seed_running("b")

    assert engine.fail(failure("a"), failure("b")) == {"a": "RETRY", "b": "RETRY"}
    assert engine.dump()["job:a"].content["attempt"] == "1"


@pytest.mark.parametrize("afters", [(5000, 1000), (1000, 5000)])
def test_the_earliest_retry_of_a_call_decides_whether_a_sleeper_must_know(
    engine: Engine, afters: tuple[int, int]
) -> None:
    engine.seed_due("retry", "first", START + 3000)
    for job_id in ("a", "b"):
        engine.seed_running(job_id)

    engine.fail(failure("a", after_ms=afters[0]), failure("b", after_ms=afters[1]))

    assert engine.dump()["wake"] == a_list(["1"])


@pytest.mark.parametrize(("token", "worker"), [("6", WORKER), ("", WORKER), ("7", "w2")])
def test_a_stale_failure_writes_nothing(engine: Engine, token: str, worker: str) -> None:
    engine.seed_running("a")
    before = engine.dump()

    assert engine.fail(failure("a", token), worker=worker) == {"a": "STALE"}
    assert engine.changed(before) == {}


@pytest.mark.parametrize("state", ["ready", "completed", "expired", "scheduled"])
def test_a_failure_of_a_job_that_went_elsewhere_is_stale(engine: Engine, state: str) -> None:
    engine.seed_job("a", state, token=7, worker=WORKER)
    before = engine.dump()

    assert engine.fail(failure("a")) == {"a": "STALE"}
    assert engine.changed(before) == {}


def test_a_failure_of_a_job_without_a_record_is_told_so(engine: Engine) -> None:
    engine.client.set(engine.keys.job("b"), "oops")
    before = engine.dump()

    assert engine.fail(failure("a"), failure("b")) == {"a": "GONE", "b": "GONE"}
    assert engine.changed(before) == {}


def test_one_call_reports_jobs_with_different_fates(engine: Engine) -> None:
    for job_id in ("a", "b", "c"):
        engine.seed_running(job_id)
    engine.seed_running("d", token=8)

    words = engine.fail(
        failure("a", after_ms=900), failure("b", after_ms=None), failure("c"), failure("d")
    )

    assert words == {"a": "RETRY", "b": "DEAD", "c": "RETRY", "d": "STALE"}
    dump = engine.dump()
    assert dump["retry"] == a_zset({"a": START + 900, "c": START + 1000})
    assert dump[f"running:{WORKER}"] == a_zset({"d": START})
    assert dump["stats"] == counted(failed=3, retried=2, dead=1)["stats"]


def test_dead_jobs_beyond_the_limit_go_oldest_first_a_bounded_number_a_call(
    engine: Engine,
) -> None:
    for n in range(20):
        engine.seed_ended(f"old{n:02}", "dead", at=START - 100 + n)
    engine.seed_running("a")

    engine.fail(failure("a", after_ms=None), dead_max=3)

    assert engine.client.zcard(engine.keys.dead) == 21 - 12
    assert not engine.client.exists(engine.keys.job("old11"))
    assert engine.client.exists(engine.keys.job("old12"))


def test_dead_jobs_leave_the_index_by_age(engine: Engine) -> None:
    engine.seed_ended("old", "dead", at=START - DEAD_KEEP - 1)
    engine.seed_ended("young", "dead", at=START - DEAD_KEEP)
    engine.seed_running("a")

    engine.fail(failure("a", after_ms=None))

    assert set(engine.dump()["dead"].content) == {"young", "a"}


def test_dead_jobs_kept_for_no_time_leave_no_key(engine: Engine) -> None:
    engine.seed_running("a")
    before = engine.dump()

    engine.fail(failure("a", after_ms=None), dead_keep_ms=0)

    assert engine.changed(before) == {
        "job:a": None,
        f"running:{WORKER}": None,
        **counted(failed=1, dead=1),
    }


def test_the_failure_of_a_job_that_was_cancelled_by_it_counts_once(engine: Engine) -> None:
    engine.seed_running("a", cancel=1)
    engine.fail(failure("a"))
    before = engine.dump()

    assert engine.fail(failure("a")) == {"a": "ALREADY"}
    assert engine.changed(before) == {}


def test_only_a_new_dead_job_makes_the_old_ones_go(engine: Engine) -> None:
    for n in range(3):
        engine.seed_ended(f"old{n}", "dead", at=START - 10 + n)
    engine.seed_running("a")

    engine.fail(failure("a"), dead_max=1)

    assert engine.client.zcard(engine.keys.dead) == 3


def test_two_dead_jobs_make_fourteen_old_ones_go_at_most(engine: Engine) -> None:
    for n in range(30):
        engine.seed_ended(f"old{n:02}", "dead", at=START - 100 + n)
    for job_id in ("a", "b"):
        engine.seed_running(job_id)

    engine.fail(failure("a", after_ms=None), failure("b", after_ms=None), dead_max=1)

    assert engine.client.zcard(engine.keys.dead) == 32 - 14
