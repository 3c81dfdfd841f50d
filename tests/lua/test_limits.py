"""Limits, where jobs are claimed: who is under which, all or nothing, and whom they block."""

from __future__ import annotations

import math

import pytest

from taskq import commands
from taskq.commands import Ack
from tests.helpers import a_hash, a_list, a_set, a_zset
from tests.lua.engine import KEEP, START, WORKER, Engine, counted, failure, ids, job

ONE = "concurrency=1 on=job"


@pytest.fixture(autouse=True)
def alive(engine: Engine) -> None:
    engine.seed_alive()


def test_a_granted_job_is_counted_and_one_without_room_is_parked_at_its_rank(
    engine: Engine,
) -> None:
    engine.limit(L=ONE)
    engine.seed_ready("a", 5, limits="L")
    engine.seed_ready("b", 6, limits="L")
    before = engine.dump()

    claims = engine.claim(limit=2)

    assert ids(claims.jobs) == ["a"]
    token = claims.jobs[0].token
    changed = engine.changed(before)
    assert changed == {
        "job:a": job(
            "running", limits="L", token=token, worker=WORKER, rank=5, started_ms=START, holds="L",
            tied="holds",
        ),
        "job:b": job(
            "blocked", limits="L", rank=6, blocked_by="L", awaits="L", tied=1
        ),
        "ready": None,
        f"running:{WORKER}": a_zset({"a": START}),
        "holding:L": a_set(["a"]),
        "parked:L": a_zset({"b": 6}),
        "blocked": a_zset({"b": 6}),
        "timers": a_zset({"limit:L": math.inf}),
        "meta": a_hash({"limited": "1", "blocked": 1}),
        "stats": a_hash({"claimed": 1}),
    }  # fmt: skip


def test_a_parked_job_holds_no_slot_and_those_behind_it_are_claimed(engine: Engine) -> None:
    engine.limit(L="concurrency=0 on=job")
    for n in range(50):
        engine.seed_ready(f"p{n:02}", n, limits="L")
    engine.seed_ready("free", 99)

    assert ids(engine.claim(limit=1).jobs) == ["free"]
    assert len(engine.parked("L")) == 50


def test_a_backlog_longer_than_a_claim_may_look_at_is_passed_in_the_next(engine: Engine) -> None:
    engine.limit(L="concurrency=0 on=job")
    for n in range(250):
        engine.seed_ready(f"p{n:03}", n, limits="L")
    engine.seed_ready("free", 999)

    seen = []
    for _ in range(5):
        claims = engine.claim(limit=1)
        seen += ids(claims.jobs)
        if claims.jobs:
            break
        assert claims.more
    assert seen == ["free"]
    assert len(engine.parked("L")) <= 250


def test_a_claim_looks_at_a_bounded_number_of_jobs_whatever_the_number_of_classes(
    engine: Engine,
) -> None:
    engine.limit(L="concurrency=0 on=queue")
    classes = [f"c{n}" for n in range(6)]
    for job_class in classes:
        for n in range(60):
            engine.seed_ready(f"{job_class}-{n:02}", n, job_class)

    claims = engine.claim(limit=10, slots=dict.fromkeys(classes, 10))

    assert claims.jobs == []
    assert claims.more
    assert len(engine.parked("L")) <= 110


def test_all_or_nothing_over_several_limits(engine: Engine) -> None:
    """Who lacks one place takes none."""
    engine.limit(A="concurrency=2 on=job", B=ONE, R="every_us=1000000 burst_us=1000000 on=job")
    engine.seed_ready("x", 1, limits="B")
    engine.seed_ready("y", 2, limits="R A B")
    engine.seed_ready("z", 3, limits="R A")

    assert ids(engine.claim().jobs) == ["x", "z"]

    assert engine.held("A") == {"z"}
    assert engine.held("B") == {"x"}
    assert engine.parked("B") == ["y"]
    assert engine.client.get(engine.keys.prefix + "rate:R") == b"%d" % ((START + 1000) * 1000 + 700)


def test_a_job_that_names_one_limit_twice_takes_one_place(engine: Engine) -> None:
    engine.limit(L="concurrency=1 on=queue", M=ONE)
    engine.seed_ready("a", limits="M M L")

    assert ids(engine.claim().jobs) == ["a"]
    assert engine.client.hget(engine.keys.job("a"), "holds") == b"L M"


def test_instances_of_a_template_do_not_share_their_places(engine: Engine) -> None:
    engine.run(commands.limit(engine.keys, {"tenant:{t}": ONE}))
    for n, tenant in enumerate("aab"):
        engine.seed_ready(f"j{n}", n, limits=f"tenant:{{t}}|tenant:{tenant}")

    assert ids(engine.claim().jobs) == ["j0", "j2"]
    assert engine.parked("tenant:a") == ["j1"]
    assert engine.held("tenant:b") == {"j2"}


@pytest.mark.parametrize(
    ("on", "under"),
    [("queue", {"j0", "j1", "j2"}), ("task.t", {"j0", "j2"}), ("group.g", {"j1", "j2"})],
)
def test_a_limit_is_on_the_whole_queue_a_task_or_a_group(
    engine: Engine, on: str, under: set[str]
) -> None:
    engine.limit(L=f"concurrency=0 on={on}")
    engine.seed_ready("j0", 0)
    engine.seed_ready("j1", 1, task="other", group="g")
    engine.seed_ready("j2", 2, group="g")

    engine.claim()

    assert set(engine.parked("L")) == under


def test_a_limit_that_is_not_defined_limits_nobody(engine: Engine) -> None:
    engine.seed_ready("a", limits="gone x:{y}|x:1")

    assert ids(engine.claim().jobs) == ["a"]
    assert engine.client.hget(engine.keys.job("a"), "holds") is None


@pytest.mark.parametrize("kind", ["task.t", "group.g"])
def test_a_paused_task_or_group_is_parked_until_it_is_resumed(engine: Engine, kind: str) -> None:
    name, words = f"pause:{kind}", f"concurrency=0 on={kind} by=hand"
    engine.run(commands.limit(engine.keys, {name: words}))
    engine.seed_ready("a", 5, group="g")
    assert engine.claim().jobs == []
    assert engine.parked(name) == ["a"]

    engine.run(commands.limit(engine.keys, {name: ""}))
    engine.run(commands.promote(engine.keys))

    assert engine.dump()["ready"] == a_zset({"a": 5})
    assert ids(engine.claim().jobs) == ["a"]
    assert "timers" not in engine.dump()


def test_a_key_limit_is_built_in(engine: Engine) -> None:
    engine.seed_ready("a", 1, limits="key:k")
    engine.seed_ready("b", 2, limits="key:k")

    assert ids(engine.claim().jobs) == ["a"]
    assert engine.parked("key:k") == ["b"]


def ack(engine: Engine, token: str) -> None:
    engine.ack(Ack("a", token, b"", KEEP))


def fail(engine: Engine, token: str) -> None:
    engine.fail(failure("a", token))


def give_up(engine: Engine, token: str) -> None:
    engine.fail(failure("a", token, after_ms=None))


def release(engine: Engine, token: str) -> None:
    engine.release(("a", token, ""))


def reap(engine: Engine, token: str) -> None:
    engine.lose(WORKER)
    engine.client.delete(engine.keys.alive(WORKER))
    engine.reap()


def bury(engine: Engine, token: str) -> None:
    engine.bury()


def cancel(engine: Engine, token: str) -> None:
    engine.cancel_raw("a", token=token, worker=WORKER)


FREED = [ack, fail, give_up, release, reap, bury, cancel]


@pytest.mark.parametrize("free", FREED, ids=lambda free: free.__name__)
def test_a_place_comes_free_in_the_step_that_ends_the_run_and_wakes_the_best(
    engine: Engine, free: object
) -> None:
    engine.limit(L=ONE)
    engine.seed_ready("a", 5, limits="L")
    engine.seed_ready("c", 7, limits="L")
    engine.seed_ready("b", 6, limits="L", **{"class": "gpu"})
    engine.client.zrem(engine.keys.ready, "b")
    engine.client.zadd(engine.keys.ready_of("gpu"), {"b": 6})
    engine.client.sadd(engine.keys.classes, "gpu")
    (claimed,) = engine.claim(slots={"": 9, "gpu": 9}).jobs
    engine.client.delete(engine.keys.wake)
    assert engine.parked("L") == ["b", "c"]

    free(engine, claimed.token)  # type: ignore[operator]

    after = engine.dump()
    assert engine.held("L") == set()
    assert engine.parked("L") == ["c"]
    assert after["ready:gpu"] == a_zset({"b": 6})
    assert after["wake:gpu"] == a_list(["1"])
    assert after["blocked"] == a_zset({"c": 7})
    assert after["meta"].content["blocked"] == "1"
    record = engine.client.hgetall(engine.keys.job("b"))
    assert (record[b"state"], record[b"awaits"]) == (b"ready", b"L")  # type: ignore[index]
    assert b"blocked_by" not in record  # type: ignore[operator]
    if engine.state("a") in ("ready", "retry"):
        assert engine.client.hget(engine.keys.job("a"), "holds") is None


def test_the_claim_of_an_ack_uses_the_place_that_the_ack_frees(engine: Engine) -> None:
    engine.limit(L=ONE)
    engine.seed_ready("a", 1, limits="L")
    engine.seed_ready("parked", 9, limits="L")
    (first,) = engine.claim().jobs
    engine.seed_ready("b", 2, limits="L")
    engine.seed_ready("c", 3, limits="L")

    claims = engine.ack(Ack("a", first.token, b"", KEEP), limit=5)

    assert ids(claims.jobs) == ["b"]
    assert engine.held("L") == {"b"}
    assert engine.parked("L") == ["c", "parked"], "woken for a place that is taken again"


def test_an_ack_that_comes_twice_frees_one_place(engine: Engine) -> None:
    engine.limit(L="concurrency=2 on=job")
    for n in range(5):
        engine.seed_ready(f"j{n}", n, limits="L")
    first, _ = engine.claim().jobs
    ack = Ack(first.id, first.token, b"", KEEP)

    engine.ack(ack, ack)
    engine.ack(ack)

    assert engine.parked("L") == ["j3", "j4"]
    assert engine.held("L") == {"j1"}


def test_a_woken_job_that_leaves_otherwise_passes_the_wake_on(engine: Engine) -> None:
    engine.limit(L=ONE)
    for name, rank in (("a", 1), ("b", 2), ("c", 3)):
        engine.seed_ready(name, rank, limits="L")
    (first,) = engine.claim().jobs
    engine.ack(Ack("a", first.token, b"", KEEP))
    assert engine.state("b") == "ready"

    engine.cancel_raw("b")

    assert engine.state("c") == "ready"
    assert engine.parked("L") == []
    assert "timers" not in engine.dump()


@pytest.mark.parametrize("by", ["claim", "ack"])
def test_a_woken_job_that_another_limit_blocks_passes_the_wake_on_beside_one_that_runs(
    engine: Engine, by: str
) -> None:
    """Two places of L came free and two were woken for them: one runs, one meets M."""
    engine.limit(L="concurrency=2 on=job", M="concurrency=0 on=job")
    for n in range(2):
        engine.seed_ready(f"run{n}", n, limits="L")
    tokens = {job.id: job.token for job in engine.claim().jobs}
    for n, name in enumerate("abc"):
        engine.seed_ready(name, 10 + n, limits="L M" if name == "b" else "L")
    assert engine.claim().jobs == []
    engine.client.hset(engine.keys.job("b"), "limits", "M L")
    engine.ack(*(Ack(name, token, b"", KEEP) for name, token in tokens.items()))
    assert engine.parked("L") == ["c"]

    engine.seed_running("z")
    claims = engine.claim() if by == "claim" else engine.ack(Ack("z", "7", b"", 0), limit=9)

    assert ids(claims.jobs) == ["a"]
    assert engine.parked("M") == ["b"]
    assert engine.state("c") == "ready"


def test_a_woken_job_that_missed_its_deadline_passes_the_wake_on(engine: Engine) -> None:
    engine.limit(L=ONE)
    for name, rank in (("a", 1), ("b", 2), ("c", 3)):
        engine.seed_ready(name, rank, limits="L", deadline_ms=START + 10)
    (first,) = engine.claim().jobs
    engine.client.hset(engine.keys.job("c"), "deadline_ms", START + 99)
    engine.ack(Ack("a", first.token, b"", KEEP))
    engine.now = START + 50

    assert engine.claim(limit=1).jobs == []

    assert engine.state("b") == "expired"
    assert engine.state("c") == "ready"


def test_a_job_that_came_first_takes_the_place_and_the_woken_one_waits_again(
    engine: Engine,
) -> None:
    engine.limit(L=ONE)
    engine.seed_ready("a", 5, limits="L")
    engine.seed_ready("b", 6, limits="L")
    (first,) = engine.claim().jobs
    engine.ack(Ack("a", first.token, b"", KEEP))
    engine.seed_ready("urgent", 1, limits="L")

    assert ids(engine.claim().jobs) == ["urgent"]
    assert engine.parked("L") == ["b"]


def test_what_a_limit_blocked_runs_in_the_order_of_rank(engine: Engine) -> None:
    engine.limit(L=ONE)
    for name, rank in (("d", 4), ("b", 2), ("c", 3), ("a", 1)):
        engine.seed_ready(name, rank, limits="L")
    order = []
    claims = engine.claim()
    while claims.jobs:
        (one,) = claims.jobs
        order.append(one.id)
        engine.ack(Ack(one.id, one.token, b"", 0))
        claims = engine.claim()

    assert order == ["a", "b", "c", "d"]
    assert engine.dump().keys() == {
        "alive:w1", "holders", "limits", "meta", "stats", "wake", *counted(completed=1)
    }  # fmt: skip


def test_a_job_that_a_limit_blocks_can_be_cancelled_and_leaves_nothing(engine: Engine) -> None:
    engine.seed_parked("a", "L", 5, waiters="c1")

    assert engine.cancel_raw("a") == [b"OK", b"cancelled"]

    assert engine.state("a") == "cancelled"
    assert not {"blocked", "parked:L", "timers", "ready"} & engine.dump().keys()
    assert engine.client.hget(engine.keys.meta, "blocked") == b"0"


def test_nonsense_in_the_words_of_a_limit_limits_nobody(engine: Engine) -> None:
    engine.client.hset(engine.keys.limits, mapping={"A": "concurrency=x", "B": "", "C": "on="})
    engine.client.hset(engine.keys.meta, "limited", "1 queue=A = == x task.=B")
    engine.seed_ready("a", limits="A B C |x x| |")

    assert ids(engine.claim().jobs) == ["a"]


def test_a_queue_without_limits_writes_nothing_of_them(engine: Engine) -> None:
    engine.seed_ready("a")
    before = engine.dump()

    engine.claim()

    assert set(engine.changed(before)) == {"job:a", "ready", f"running:{WORKER}", "stats"}
