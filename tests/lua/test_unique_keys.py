"""Unique keys at enqueue: who keeps a key, for how long, and that none outlives its job."""

from __future__ import annotations

from typing import Any

import pytest

from taskq import commands
from taskq.commands import Ack, NewJob
from tests.helpers import Entry
from tests.lua.engine import KEEP, START, WORKER, Engine, failure

MODES = ["queued", "running", "5000"]
ON_DUPLICATE = ["keep", "replace", "extend"]


def new(job_id: str, mode: str = "queued", on_duplicate: str = "keep", **words: Any) -> NewJob:
    extras = ("key", "k", "@unique", f"{mode} {on_duplicate}")
    return NewJob(job_id, "t", b"p", extras=extras, **words)


def send(engine: Engine, *jobs: NewJob) -> Any:
    return engine.raw(commands.enqueue(engine.keys, jobs, max_jobs=100, all_or_none=False))[2:]


def owner(engine: Engine) -> str | None:
    word = engine.client.get(engine.keys.prefix + "unique:k")
    return word.decode() if word else None  # type: ignore[union-attr]


def start(engine: Engine) -> str:
    """Claim the one job; its token."""
    engine.seed_alive()
    (one,) = engine.claim(limit=1).jobs
    return one.token


def homes(engine: Engine, job_id: str) -> list[str]:
    return [
        name
        for name, entry in engine.dump().items()
        if entry.type == "zset" and job_id in entry.content
    ]


@pytest.mark.parametrize("mode", MODES)
def test_the_first_has_the_key_and_its_record_says_so(engine: Engine, mode: str) -> None:
    assert send(engine, new("a", mode)) == [1]

    assert owner(engine) == "a"
    record = engine.client.hgetall(engine.keys.job("a"))
    assert (record[b"key"], record[b"tied"]) == (b"k", b"1")  # type: ignore[index]
    assert not any(name.startswith(b"@") for name in record)  # type: ignore[union-attr]
    assert engine.ttl("unique:k") == -1 if mode != "5000" else 0 < engine.ttl("unique:k") <= 5000


@pytest.mark.parametrize("state", ["ready", "scheduled", "retry", "blocked"])
@pytest.mark.parametrize("mode", MODES)
def test_while_it_waits_another_is_not_created(engine: Engine, mode: str, state: str) -> None:
    wait(engine, state, mode)
    before = engine.dump()

    assert send(engine, new("b", mode)) == [0, b"b", b"KEPT a"]

    assert engine.changed(before) == {}


def wait(engine: Engine, state: str, mode: str) -> None:
    """Job `a` with the key, in one of the states of waiting."""
    send(engine, new("a", mode, at="+1000" if state == "scheduled" else ""))
    if state == "retry":
        engine.fail(failure("a", start(engine)))
    if state == "blocked":
        engine.client.zrem(engine.keys.ready, "a")
        engine.client.delete(engine.keys.job("a"))
        engine.seed_parked("a", "L", 5, key="k")


@pytest.mark.parametrize("state", ["ready", "scheduled", "retry", "blocked"])
@pytest.mark.parametrize("mode", MODES)
def test_a_newer_one_replaces_one_that_waits(engine: Engine, mode: str, state: str) -> None:
    wait(engine, state, mode)

    assert send(engine, new("b", mode, "replace")) == [1]

    assert owner(engine) == "b"
    assert engine.client.hmget(engine.keys.job("a"), "state", "reason") == [
        b"cancelled",
        b"replaced",
    ]
    assert homes(engine, "a") == ["done"]
    assert engine.ttl("job:a") > 0
    assert homes(engine, "b") == ["ready"]
    counts = engine.client.hmget(engine.keys.stats, "cancelled", "enqueued")
    assert counts == [b"1", b"2"]


@pytest.mark.parametrize("mode", MODES)
def test_one_that_waits_is_extended(engine: Engine, mode: str) -> None:
    send(engine, new("a", mode, at="+1000"))
    engine.client.pexpire(engine.keys.prefix + "unique:k", 700) if mode == "5000" else None

    assert send(engine, new("b", mode, "extend", at="+3000")) == [0, b"b", b"KEPT a"]
    assert engine.client.zscore(engine.keys.scheduled, "a") == START + 3000
    if mode == "5000":
        assert 700 < engine.ttl("unique:k") <= 5000

    send(engine, new("c", mode, "extend", at="+2000"))
    assert engine.client.zscore(engine.keys.scheduled, "a") == START + 3000, "never earlier"


@pytest.mark.parametrize("on_duplicate", ON_DUPLICATE)
def test_while_it_runs_the_mode_decides(engine: Engine, on_duplicate: str) -> None:
    for mode, kept in (("queued", False), ("running", True), ("5000", True)):
        for name in engine.dump():
            engine.client.delete(engine.keys.prefix + name)
        send(engine, new("a", mode))
        start(engine)

        answer = send(engine, new("b", mode, on_duplicate))

        assert answer == ([0, b"b", b"KEPT a"] if kept else [1]), mode
        assert engine.state("a") == "running"
        assert owner(engine) == ("a" if kept else "b")


def ack(engine: Engine, token: str) -> None:
    engine.ack(Ack("a", token, b"", KEEP))


def ack_without_a_record(engine: Engine, token: str) -> None:
    engine.ack(Ack("a", token, b"", 0))


def give_up(engine: Engine, token: str) -> None:
    engine.fail(failure("a", token, after_ms=None))


def confirm_cancel(engine: Engine, token: str) -> None:
    engine.cancel_raw("a", token=token, worker=WORKER)


def release_cancelled(engine: Engine, token: str) -> None:
    engine.cancel_raw("a")
    engine.release(("a", token, ""))


def reap_dead(engine: Engine, token: str) -> None:
    engine.client.hset(engine.keys.job("a"), "crashes", 2)
    engine.client.delete(engine.keys.alive(WORKER))
    engine.lose(WORKER)
    engine.reap()


def bury_dead(engine: Engine, token: str) -> None:
    engine.client.hset(engine.keys.job("a"), "crashes", 2)
    engine.bury()


ENDS = [ack, ack_without_a_record, give_up, confirm_cancel, release_cancelled, reap_dead, bury_dead]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_its_end_frees_the_key_in_the_same_step(engine: Engine, end: Any) -> None:
    send(engine, new("a", "running"))
    token = start(engine)

    end(engine, token)

    assert "unique:k" not in engine.dump()
    assert send(engine, new("b", "running")) == [1]


def cancel_waiting(engine: Engine) -> None:
    engine.cancel_raw("a")


def purge(engine: Engine) -> None:
    engine.run(commands.purge(engine.keys, "ready"))


def miss_deadline(engine: Engine) -> None:
    engine.client.hset(engine.keys.job("a"), "deadline_ms", START - 1)
    engine.seed_alive()
    assert engine.claim().jobs == []


@pytest.mark.parametrize("end", [cancel_waiting, purge, miss_deadline], ids=lambda e: e.__name__)
def test_a_job_that_never_ran_frees_its_key_too(engine: Engine, end: Any) -> None:
    send(engine, new("a"))

    end(engine)

    assert "unique:k" not in engine.dump()


@pytest.mark.parametrize("end", [ack, give_up, confirm_cancel], ids=lambda e: e.__name__)
def test_a_key_for_a_time_holds_that_long_whatever_becomes_of_the_job(
    engine: Engine, end: Any
) -> None:
    send(engine, new("a", "5000"))
    end(engine, start(engine))
    assert owner(engine) == "a"
    engine.client.delete(engine.keys.job("a"))  # its record ran out first

    assert send(engine, new("b", "5000")) == [0, b"b", b"KEPT a"]

    engine.client.delete(engine.keys.prefix + "unique:k")  # its time is over
    assert send(engine, new("b", "5000")) == [1]


def test_a_retry_keeps_the_key_and_the_end_of_an_older_job_does_not_free_a_newer_ones(
    engine: Engine,
) -> None:
    send(engine, new("a"))
    token = start(engine)
    assert send(engine, new("b")) == [1]

    engine.ack(Ack("a", token, b"", KEEP))

    assert owner(engine) == "b"
    engine.fail(failure("b", start(engine)))
    assert owner(engine) == "b"


@pytest.mark.parametrize("left", ["nothing", "ended", "another type"])
def test_a_lock_is_believed_only_while_its_job_lives(engine: Engine, left: str) -> None:
    engine.client.set(engine.keys.prefix + "unique:k", "gone")
    if left == "ended":
        engine.seed_ended("gone", "completed", key="k")
    if left == "another type":
        engine.client.set(engine.keys.job("gone"), "oops")

    for mode in ("queued", "running", "5000"):
        engine.client.set(engine.keys.prefix + "unique:k", "gone")
        assert send(engine, new(f"n{mode}", mode)) == [1]
        assert owner(engine) == f"n{mode}"


def test_a_lock_of_another_type_locks_nobody_out(engine: Engine) -> None:
    engine.client.sadd(engine.keys.prefix + "unique:k", "oops")

    assert send(engine, new("a")) == [1]
    assert owner(engine) == "a"


@pytest.mark.parametrize("on_duplicate", ON_DUPLICATE)
@pytest.mark.parametrize("mode", MODES)
def test_the_same_call_again_changes_nothing(engine: Engine, mode: str, on_duplicate: str) -> None:
    """Its reply was lost: it is the same job, not another with the same key."""
    send(engine, new("a", mode, on_duplicate))
    before = engine.dump()

    assert send(engine, new("a", mode, on_duplicate)) == [0, b"a", b"DUP"]

    assert engine.changed(before) == {}


def test_two_in_one_call_are_one(engine: Engine) -> None:
    assert send(engine, new("a"), new("b")) == [1, b"b", b"KEPT a"]
    assert engine.state("b") is None


def test_another_key_is_another_matter(engine: Engine) -> None:
    send(engine, new("a"))

    other = NewJob("b", "t", b"p", extras=("key", "K", "@unique", "queued keep"))
    assert send(engine, other) == [1]


def test_a_replaced_job_passes_on_what_it_was_woken_for_and_tells_who_waits(
    engine: Engine,
) -> None:
    engine.seed_ready("a", 3, key="k", tied=1, awaits="L", waiters="c1")
    engine.client.set(engine.keys.prefix + "unique:k", "a")
    engine.seed_parked("p", "L", 4)
    listener = engine.client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("c1")
    listener.get_message(timeout=5)

    send(engine, new("b", "queued", "replace"))

    assert engine.state("p") == "ready"
    message = next(filter(None, (listener.get_message(timeout=5) for _ in range(5))))
    assert message["data"] == b"a\ncancelled\nreplaced"
    listener.close()


def test_a_full_queue_may_still_replace(engine: Engine) -> None:
    send(engine, new("a"))
    jobs = [new("b", "queued", "replace")]
    call = commands.enqueue(engine.keys, jobs, max_jobs=1, all_or_none=False)

    assert engine.raw(call)[2:] == [1]
    assert engine.state("a") == "cancelled"


def test_a_call_that_is_refused_leaves_the_key_with_its_owner(engine: Engine) -> None:
    send(engine, new("a"))
    before: dict[str, Entry] = engine.dump()
    jobs = [new("b", "queued", "replace"), NewJob("c", "t", b"p")]
    call = commands.enqueue(engine.keys, jobs, max_jobs=1, all_or_none=False)

    assert engine.raw(call)[0] == b"FULL"
    assert engine.changed(before) == {}
