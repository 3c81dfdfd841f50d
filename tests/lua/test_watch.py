"""lua/watch.lua and lua/include/announce.lua: hearing that a job has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from taskq import commands
from taskq.commands import Ack, Outcome, parse_announcement
from tests.helpers import a_hash, wait_until
from tests.lua.engine import KEEP, START, WORKER, Engine, failure, job


def watch(engine: Engine, job_id: str = "a", channel: str = "c1") -> Outcome:
    return engine.run(commands.watch(engine.keys, job_id, channel))


def waiters(engine: Engine) -> str | None:
    return engine.dump()["job:a"].content.get("waiters")


@pytest.mark.parametrize("state", ["ready", "scheduled", "running", "retry", "blocked"])
def test_a_job_that_has_not_ended_remembers_who_waits(engine: Engine, state: str) -> None:
    engine.seed_job("a", state)
    before = engine.dump()

    assert watch(engine) == Outcome("pending")
    assert engine.changed(before) == {"job:a": job(state, waiters="c1")}


def test_only_looking_leaves_no_trace(engine: Engine) -> None:
    engine.seed_job("a", "ready")
    before = engine.dump()

    assert watch(engine, channel="") == Outcome("pending")
    assert engine.changed(before) == {}


def test_the_newest_waiter_comes_first_and_each_only_once(engine: Engine) -> None:
    engine.seed_job("a", "ready")
    for channel in ("c1", "c2", "c1"):
        watch(engine, channel=channel)

    assert waiters(engine) == "c1 c2"


def test_twenty_waiters_at_most_the_oldest_goes(engine: Engine) -> None:
    engine.seed_job("a", "ready")
    for n in range(25):
        watch(engine, channel=f"c{n}")

    assert waiters(engine) == " ".join(f"c{n}" for n in range(24, 4, -1))


@pytest.mark.parametrize(
    ("state", "fields", "outcome"),
    [
        ("completed", {"result": "r"}, Outcome("completed", b"r")),
        ("completed", {}, Outcome("completed")),
        (
            "dead",
            {"reason": "error", "error": "E: x", "traceback": "T"},
            Outcome("dead", b"", "error", "E: x", "T"),
        ),
        ("cancelled", {}, Outcome("cancelled")),
        ("expired", {"reason": "deadline"}, Outcome("expired", b"", "deadline")),
    ],
)
def test_an_end_is_told_at_once(
    engine: Engine, state: str, fields: dict[str, str], outcome: Outcome
) -> None:
    engine.seed_ended("a", state, **fields)
    before = engine.dump()

    assert watch(engine) == outcome
    assert engine.changed(before) == {}


@pytest.mark.parametrize("seed", [None, "oops"])
def test_no_record_is_told_at_once(engine: Engine, seed: str | None) -> None:
    if seed:
        engine.client.set(engine.keys.job("a"), seed)
    before = engine.dump()

    assert watch(engine) == Outcome("not_found")
    assert engine.changed(before) == {}


def end_by_ack(engine: Engine) -> Any:
    return engine.ack(Ack("a", "7", b"line\nline", KEEP))


def end_by_ack_without_keeping(engine: Engine) -> Any:
    return engine.ack(Ack("a", "7", b"line\nline", 0))


def end_by_failure(engine: Engine) -> Any:
    return engine.fail(failure("a", after_ms=None))


def end_by_cancel(engine: Engine) -> Any:
    return engine.cancel_raw("a", token="7", worker=WORKER)


def end_by_reap(engine: Engine) -> Any:
    engine.lose(WORKER)
    engine.client.hset(engine.keys.job("a"), "crashes", 2)
    return engine.reap()


def end_by_release_of_a_cancelled_job(engine: Engine) -> Any:
    engine.client.hset(engine.keys.job("a"), "cancel", 1)
    return engine.release(("a", "7", ""))


def end_by_failure_of_a_cancelled_job(engine: Engine) -> Any:
    engine.client.hset(engine.keys.job("a"), "cancel", 1)
    return engine.fail(failure("a"))


def end_by_reap_of_a_cancelled_job(engine: Engine) -> Any:
    engine.client.hset(engine.keys.job("a"), "cancel", 1)
    engine.lose(WORKER)
    return engine.reap()


def end_by_deadline(engine: Engine) -> Any:
    engine.seed_alive()
    engine.release(("a", "7", ""))
    engine.client.hset(engine.keys.job("a"), "deadline_ms", START)
    return engine.claim()


def end_by_purge(engine: Engine) -> Any:
    engine.release(("a", "7", ""))
    return engine.run(commands.purge(engine.keys, "ready"))


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (end_by_ack, Outcome("completed", b"line\nline")),
        (end_by_ack_without_keeping, Outcome("completed", b"line\nline")),
        (end_by_failure, Outcome("dead", b"", "error", "ValueError: no")),
        (end_by_cancel, Outcome("cancelled")),
        (end_by_release_of_a_cancelled_job, Outcome("cancelled")),
        (end_by_failure_of_a_cancelled_job, Outcome("cancelled")),
        (end_by_reap_of_a_cancelled_job, Outcome("cancelled")),
        (
            end_by_reap,
            Outcome(
                "dead",
                b"",
                "worker_lost",
                "WorkerLost: worker w1 died while it ran this job (crash 3)",
            ),
        ),
        (end_by_deadline, Outcome("expired")),
        (end_by_purge, Outcome("purged")),
    ],
)
def test_every_end_is_pushed_to_everybody_who_waits(
    engine: Engine, end: Callable[[Engine], Any], outcome: Outcome
) -> None:
    engine.seed_running("a")
    channels = [engine.keys.ended_channel(name) for name in ("one", "two")]
    subscriber = engine.client.pubsub(ignore_subscribe_messages=True)
    subscriber.subscribe(*channels)
    wait_until(lambda: all(n for _, n in engine.client.pubsub_numsub(*channels)))
    for channel in channels:
        watch(engine, channel=channel)

    end(engine)

    heard = {}
    for _ in range(10):
        message = subscriber.get_message(timeout=1.0)
        if message is not None:
            heard[message["channel"].decode()] = parse_announcement(message["data"])
        if len(heard) == 2:
            break
    subscriber.close()
    assert heard == dict.fromkeys(channels, ("a", outcome))


def test_a_job_nobody_waits_for_carries_no_field(engine: Engine) -> None:
    engine.seed_running("a")

    engine.ack(Ack("a", "7", b"", KEEP))

    assert engine.dump()["done"].content == {"a": START}
    assert engine.dump()["job:a"] == a_hash(
        {
            **job("completed").content,
            "token": 7,
            "worker": WORKER,
            "rank": 5,
            "started_ms": START,
            "ended_ms": START,
        },
        ttl=True,
    )


def test_an_end_nobody_waits_for_is_announced_to_nobody(engine: Engine) -> None:
    subscriber = engine.client.pubsub(ignore_subscribe_messages=True)
    subscriber.psubscribe("*")
    wait_until(lambda: engine.client.pubsub_numpat())
    engine.seed_alive()
    engine.seed_ready("late", deadline_ms=START)
    for job_id in ("a", "b", "c"):
        engine.seed_running(job_id)

    engine.ack(Ack("a", "7", b"", KEEP))
    engine.fail(failure("b", after_ms=None))
    engine.cancel_raw("c", token="7", worker=WORKER)
    engine.claim()

    heard = [subscriber.get_message(timeout=0.02) for _ in range(20)]
    subscriber.close()
    channels = [message["channel"].decode() for message in heard if message]
    assert [name for name in channels if not name.startswith("__key")] == []


def test_a_job_that_is_not_there_is_said_in_one_word(engine: Engine) -> None:
    assert engine.raw(commands.watch(engine.keys, "a", "")) == [b"NOT_FOUND"]
