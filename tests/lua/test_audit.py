"""audit: any state -> the same; what is wrong with a place of a queue."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from taskq import commands
from taskq.commands import Finding, Place
from tests.lua.engine import START, Engine

Seed = Callable[[Engine], object]
#: The greatest whole number that a score can hold without a gap.
MOST = 2**53
ODD = b"\xff\xfe"


def look(engine: Engine, where: str, name: bytes) -> list[tuple[str, str]]:
    found = engine.run(commands.audit(engine.keys, [Place(where.encode(), name)]))
    assert all(finding.place == (where.encode(), name) for finding in found)
    return [(finding.code, finding.detail) for finding in found]


def job(engine: Engine, job_id: str, state: str, **fields: object) -> None:
    engine.seed_job(job_id, state, **fields)


def setting(engine: Engine, name: str, value: str) -> None:
    engine.client.hset(engine.keys.meta, name, value)


#: (a place, what it is in, what is wrong there)
WRONG: list[tuple[str, bytes, Seed, list[tuple[str, str]]]] = [
    ("job", b"a", lambda e: e.client.set(e.keys.job("a"), "oops"), [("wrong-type", "string")]),
    ("job", ODD, lambda e: e.client.hset(e.keys.job_prefix.encode() + ODD, "state", "ready"),
     [("bad-name", "")]),
    ("job", b"a b", lambda e: job(e, "a b", "ready"), [("bad-name", "")]),
    ("job", b"a", lambda e: e.client.hset(e.keys.job("a"), "task", "t"),
     [("unreadable", "no state")]),
    ("job", b"a", lambda e: job(e, "a", "lost"), [("unreadable", "state lost")]),
    ("job", b"a", lambda e: job(e, "a", "ready"), [("homeless", "ready")]),
    ("job", b"a", lambda e: job(e, "a", "ready", **{"class": "gpu"}), [("homeless", "ready:gpu")]),
    ("job", b"a", lambda e: job(e, "a", "scheduled"), [("homeless", "scheduled")]),
    ("job", b"a", lambda e: job(e, "a", "retry"), [("homeless", "retry")]),
    ("job", b"a", lambda e: job(e, "a", "running", worker="w1"), [("homeless", "running:w1")]),
    ("job", b"a", lambda e: job(e, "a", "running"), [("homeless", "running")]),
    ("job", b"a", lambda e: (e.seed_ready("a"), e.client.expire(e.keys.job("a"), 60)),
     [("live-ttl", "ready")]),
    ("job", b"a", lambda e: (e.seed_ended("a", "dead"), e.client.persist(e.keys.job("a"))),
     [("no-ttl", "dead")]),
    ("job", b"a", lambda e: e.seed_ready("a", priority="urgent", attempt="1.5"),
     [("bad-field", "priority"), ("bad-field", "attempt")]),
    ("job", b"a", lambda e: e.seed_ready("a", deadline_ms="9" * 5000),
     [("bad-field", "deadline_ms")]),
    ("job", b"a", lambda e: (e.seed_ready("a"), e.client.hset(e.keys.job("a"), "class", ODD)),
     [("bad-field", "class")]),
    ("ready", b"a", lambda e: e.client.zadd(e.keys.ready, {"a": 7}), [("ghost", "7")]),
    ("ready", ODD, lambda e: e.client.zadd(e.keys.ready, {ODD: 7}), [("bad-name", "7")]),
    ("scheduled", b"a", lambda e: e.client.zadd(e.keys.scheduled, {"a": 7}), [("ghost", "7")]),
    ("retry", b"a", lambda e: (e.seed_ready("a"), e.client.zadd(e.keys.retry, {"a": 7})),
     [("misplaced", "ready")]),
    ("ready", b"a", lambda e: (e.seed_ready("a", 1, "gpu"), e.client.zadd(e.keys.ready, {"a": 7})),
     [("misplaced", "ready:gpu")]),
    ("running:w2", b"a",
     lambda e: (e.seed_running("a"), e.client.zadd(e.keys.running("w2"), {"a": 7})),
     [("misplaced", "running:w1")]),
    ("ready", b"a",
     lambda e: (e.seed_ended("a", "completed"), e.client.zadd(e.keys.ready, {"a": 7})),
     [("misplaced", "done")]),
    ("dead", b"a", lambda e: (e.seed_ready("a"), e.client.zadd(e.keys.dead, {"a": START + 1})),
     [("misplaced", "ready")]),
    ("ready", b"a", lambda e: e.seed_ready("a", float("inf")), [("bad-score", "inf")]),
    ("scheduled", b"a", lambda e: e.seed_due("scheduled", "a", -5), [("bad-score", "-5")]),
    ("retry", b"a", lambda e: e.client.zadd(e.keys.retry, {"a": float("-inf")}),
     [("ghost", "-inf")]),
    ("zset", b"ready", lambda e: e.client.set(e.keys.ready, "oops"), [("wrong-type", "string")]),
    ("hash", b"meta", lambda e: e.client.sadd(e.keys.meta, "oops"), [("wrong-type", "set")]),
    ("zset", b"ready", lambda e: (e.seed_ready("a"), e.client.expire(e.keys.ready, 60)),
     [("live-ttl", "zset")]),
    ("zset", b"done", lambda e: e.client.zadd(e.keys.done, {"a": 1}), [("no-ttl", "zset")]),
    ("string", b"alive:w1",
     lambda e: (e.client.set(e.keys.alive("w1"), 1), e.client.sadd(e.keys.holders, "w1")),
     [("no-ttl", "string")]),
    ("hash", b"stats:28333333", lambda e: e.client.hset(e.keys.minute(28333333), "dead", 1),
     [("no-ttl", "hash")]),
    ("zset", b"running:w1", lambda e: e.seed_running("a"), [("unknown-owner", "w1")]),
    ("string", b"alive:w1", lambda e: e.client.set(e.keys.alive("w1"), 1, ex=60),
     [("unknown-owner", "w1")]),
    ("zset", b"running:" + ODD,
     lambda e: e.client.zadd(e.keys.running_prefix.encode() + ODD, {"a": 1}),
     [("bad-name", "zset")]),
    ("set", b"cancels:w1", lambda e: e.client.sadd(e.keys.cancels("w1"), "a"),
     [("leftover", "set")]),
    ("suspects", b"w1", lambda e: e.client.hset(e.keys.suspects, "w1", 5),
     [("leftover", "since 5")]),
    ("zset", b"ready:gpu", lambda e: e.seed_ready("a", 1, "gpu"), [("unlisted", "gpu")]),
    ("meta", b"policy", lambda e: e.client.hset(e.keys.meta, "policy", "chaos"),
     [("bad-field", "policy")]),
    ("meta", b"max_jobs", lambda e: e.client.hset(e.keys.meta, "max_jobs", "nan"),
     [("bad-field", "max_jobs")]),
    ("meta", b"patience_ms", lambda e: e.client.hset(e.keys.meta, "patience_ms", "a b"),
     [("bad-field", "patience_ms")]),
    ("stray", b"mine", lambda e: e.client.set(e.keys.prefix + "mine", 1), [("stray", "string")]),
    ("meta", b"paused", functools.partial(setting, name="paused", value="x"),
     [("bad-field", "paused")]),
    ("meta", b"horizon_ms", functools.partial(setting, name="horizon_ms", value="x"),
     [("bad-field", "horizon_ms")]),
    ("meta", b"patience_ms", functools.partial(setting, name="patience_ms", value="1" * 201),
     [("bad-field", "patience_ms")]),
    ("job", b"a" * 65, lambda e: e.seed_ready("a" * 65), [("bad-name", "")]),
    ("job", b"a", lambda e: e.seed_ready("a", priority="1" * 17), [("bad-field", "priority")]),
    ("dead", b"a", lambda e: (e.seed_ready("a"), e.client.zadd(e.keys.dead, {"a": START})),
     [("misplaced", "ready")]),
    ("dead", b"a",
     lambda e: (e.seed_ready("a"), e.client.hdel(e.keys.job("a"), "enqueued_ms"),
                e.client.zadd(e.keys.dead, {"a": 5})),
     [("misplaced", "ready")]),
    ("ready", b"a", lambda e: (e.seed_job("a", "running"), e.client.zadd(e.keys.ready, {"a": 7})),
     [("misplaced", "running")]),
    ("ready", b"a", lambda e: e.seed_ready("a", -MOST - 2), [("bad-score", str(-MOST - 2))]),
    ("ready", b"a", lambda e: e.seed_ready("a", MOST + 2), [("bad-score", str(MOST + 2))]),
    *(
        ("job", b"a", functools.partial(Engine.seed_ready, job_id="a", **{field: "x"}),
         [("bad-field", field)])
        for field in ("attempt", "crashes", "enqueued_ms", "started_ms", "timeout_ms",
                      "result_ttl_ms")
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "name", "seed", "wrong"),
    WRONG,
    ids=[f"{where}-{found[0][0]}-{n}" for n, (where, _, _, found) in enumerate(WRONG)],
)
def test_it_says_what_is_wrong_and_writes_nothing(
    engine: Engine, where: str, name: bytes, seed: Seed, wrong: list[tuple[str, str]]
) -> None:
    seed(engine)
    before = engine.dump()

    assert look(engine, where, name) == wrong

    assert engine.changed(before) == {}


#: What looks odd and is not.
def seed_blocked(engine: Engine) -> None:
    engine.seed_parked("a", "t:7", 7)


def seed_turned(engine: Engine, job_class: str = "") -> None:
    fields = {"class": job_class} if job_class else {}
    engine.seed_job("a", "ready", **fields)
    suffix = f":{job_class}" if job_class else ""
    engine.client.zadd(f"{engine.keys.prefix}turned{suffix}", {"a": 7})
    engine.client.zadd(engine.keys.timers, {"turn": START})
    engine.client.sadd(engine.keys.classes, job_class or "other")


RIGHT: list[tuple[str, bytes, Seed]] = [
    ("job", b"a", lambda e: e.seed_ready("a")),
    ("job", b"a", lambda e: e.seed_ready("a", 1, "gpu", priority=9, deadline_ms=START)),
    ("job", b"a", lambda e: e.seed_running("a", attempt=2, crashes=1, timeout_ms=500)),
    ("job", b"a", lambda e: e.seed_due("retry", "a", 5)),
    # Trimmed from its index.
    ("job", b"a", lambda e: (e.seed_job("a", "completed"), e.client.expire(e.keys.job("a"), 60))),
    ("job", b"a", lambda e: seed_blocked(e)),
    ("blocked", b"a", lambda e: seed_blocked(e)),
    ("parked:t:7", b"a", lambda e: seed_blocked(e)),
    ("zset", b"parked:t:7", lambda e: seed_blocked(e)),
    ("job", b"a", lambda e: seed_turned(e)),
    ("turned", b"a", lambda e: seed_turned(e)),
    ("turned:gpu+x=1", b"a", lambda e: seed_turned(e, "gpu+x=1")),
    ("zset", b"turned:gpu+x=1", lambda e: seed_turned(e, "gpu+x=1")),
    ("string", b"unique:a b", lambda e: e.client.set(e.keys.prefix + "unique:a b", "a", ex=60)),
    ("zset", b"shares", lambda e: (e.client.zadd(e.keys.prefix + "shares", {"g": 1}),
                                   e.client.expire(e.keys.prefix + "shares", 60))),
    ("string", b"rate:t:7", lambda e: e.client.set(e.keys.prefix + "rate:t:7", 1, ex=60)),
    ("job", b"gone", lambda e: None),
    ("ready", b"a", lambda e: e.seed_ready("a", -1e13)),
    ("running:w1", b"a", lambda e: e.seed_running("a")),
    ("done", b"a", lambda e: e.seed_ended("a", "cancelled")),
    # The record of an ended job runs out before its entry, and the id may be used again.
    ("done", b"a", lambda e: e.client.zadd(e.keys.done, {"a": START})),
    ("dead", b"a", lambda e: (e.seed_ready("a"), e.client.zadd(e.keys.dead, {"a": START - 1}))),
    ("done", b"a",
     lambda e: (e.seed_ended("a", "dead"), e.client.zadd(e.keys.done, {"a": START - 1}))),
    # Told of elsewhere.
    ("ready", b"a",
     lambda e: (e.client.set(e.keys.job("a"), 1), e.client.zadd(e.keys.ready, {"a": 1}))),
    ("ready", b"a", lambda e: e.client.set(e.keys.ready, "oops")),
    ("zset", b"running:w1", lambda e: (e.seed_running("a"), e.seed_alive())),
    ("string", b"alive:w1", lambda e: e.seed_alive()),
    ("zset", b"running:w1", lambda e: (e.seed_running("a"), e.client.set(e.keys.holders, "oops"))),
    ("zset", b"ready:gpu",
     lambda e: (e.seed_ready("a", 1, "gpu"), e.client.sadd(e.keys.classes, "gpu"))),
    ("zset", b"dead", lambda e: e.seed_ended("a", "dead")),
    ("zset", b"retry", lambda e: None),
    ("meta", b"horizon_ms", lambda e: e.client.hset(e.keys.meta, "horizon_ms", 5)),
    ("meta", b"unit_ms", lambda e: e.client.hset(e.keys.meta, "unit_ms", "33.333")),
    ("meta", b"reaped_ms", lambda e: e.client.hset(e.keys.meta, "reaped_ms", START)),
    ("meta", b"later", lambda e: e.client.hset(e.keys.meta, "later", "x")),
    ("suspects", b"w1", lambda e: (e.seed_alive(), e.client.hset(e.keys.suspects, "w1", 5))),
    ("stray", b"gone", lambda e: None),
    ("job", b"a" * 64, lambda e: e.seed_ready("a" * 64)),
    ("job", b"a", lambda e: e.seed_ready("a", priority="1" * 16)),
    ("done", b"a", lambda e: e.seed_ended("a", "expired")),
    ("job", b"a", lambda e: e.seed_due("scheduled", "a", 5, **{"class": "gpu"})),
    ("ready", b"a", lambda e: (e.seed_job("a", "lost"), e.client.zadd(e.keys.ready, {"a": 7}))),
    ("blocked", b"a", lambda e: (e.seed_job("a", "blocked"),
                                 e.client.zadd(e.keys.prefix + "blocked", {"a": 7}))),
    ("ready:gpu", b"a", lambda e: e.seed_ready("a", -5, "gpu")),
    ("ready", b"a", lambda e: e.seed_ready("a", -MOST)),
    ("ready", b"a", lambda e: e.seed_ready("a", MOST)),
    ("scheduled", b"a", lambda e: e.seed_due("scheduled", "a", 0)),
    ("set", b"cancels:w1",
     lambda e: (e.seed_alive(), e.client.sadd(e.keys.cancels("w1"), "a"))),
    ("meta", b"policy", lambda e: e.client.set(e.keys.meta, "oops")),
    *(("meta", b"policy", functools.partial(setting, name="policy", value=value))
      for value in ("strict", "aging", "fair")),
    ("meta", b"patience_ms", functools.partial(setting, name="patience_ms", value="1 2" * 66)),
    ("meta", b"patience_ms", functools.partial(setting, name="patience_ms", value="1" * 200)),
    ("meta", b"max_jobs", functools.partial(setting, name="max_jobs", value="5")),
    ("meta", b"paused", functools.partial(setting, name="paused", value="5")),
    ("suspects", b"w1", lambda e: e.client.set(e.keys.suspects, "oops")),
    ("suspects", b"w1", lambda e: None),
    ("string", b"quarantine:1:job:a b",
     lambda e: e.client.set(e.keys.prefix + "quarantine:1:job:a b", "x", ex=60)),
]  # fmt: skip


@pytest.mark.parametrize(("where", "name", "seed"), RIGHT, ids=range(len(RIGHT)))
def test_it_finds_nothing_wrong_with_what_the_scripts_leave(
    engine: Engine, where: str, name: bytes, seed: Seed
) -> None:
    seed(engine)

    assert look(engine, where, name) == []


def test_it_judges_many_places_in_one_call(engine: Engine) -> None:
    engine.seed_ready("fine")
    for number in range(99):
        engine.seed_job(f"j{number}", "ready")
    places = [Place(b"job", f"j{number}".encode()) for number in range(99)]
    places += [Place(b"ready", b"fine")] * 101

    found = engine.run(commands.audit(engine.keys, places))

    assert found == [Finding(place, "homeless", "ready") for place in places[:99]]


def test_two_hundred_places_in_one_call_and_not_more(engine: Engine) -> None:
    engine.seed_job("a", "ready")
    places = [word for _ in range(205) for word in ("job", "a")]
    call = commands.audit(engine.keys, [Place(b"job", b"a")])

    found = engine.raw(commands.Call(call.script, call.keys, [call.args[0], *places], call.parse))

    assert (len(found) - 1) / 4 == 200
