"""audit and repair of what is kept beside jobs: limits, timers, unique keys, turned ranks, and
their copies in meta.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest

from taskq import commands
from taskq.commands import Place
from tests.lua.engine import START, Engine
from tests.lua.mending import twice

Seed = Callable[[Engine], object]


def look(engine: Engine, where: str, name: str) -> list[tuple[str, str]]:
    found = engine.run(commands.audit(engine.keys, [Place(where.encode(), name.encode())]))
    return [(finding.code, finding.detail) for finding in found]


def hold(engine: Engine, job_id: str, instance: str = "L") -> None:
    engine.client.sadd(f"{engine.keys.prefix}holding:{instance}", job_id)


def lock(engine: Engine, key: str, job_id: str, ms: int | None = None) -> None:
    engine.client.set(f"{engine.keys.prefix}unique:{key}", job_id, px=ms)


def timer(engine: Engine, member: str, due: float = inf) -> None:
    engine.client.zadd(engine.keys.timers, {member: due})


def turned(engine: Engine, suffix: str = "") -> None:
    engine.seed_job("a", "ready", **({"class": suffix[1:]} if suffix else {}))
    engine.client.zadd(f"{engine.keys.prefix}turned{suffix}", {"a": 7})
    engine.client.sadd(engine.keys.classes, "gpu")


def meta(engine: Engine, **fields: object) -> None:
    engine.client.hset(engine.keys.meta, mapping=fields)  # type: ignore[arg-type]


def blocked_nowhere(engine: Engine) -> None:
    """In the index of blocked jobs, but the limit does not know it: nobody would wake it."""
    engine.seed_parked("a", "L")
    engine.client.zrem(f"{engine.keys.prefix}parked:L", "a")
    engine.client.zrem(engine.keys.timers, "limit:L")


def parked_elsewhere(engine: Engine) -> None:
    engine.seed_parked("a", "L")
    engine.client.zadd(f"{engine.keys.prefix}parked:M", {"a": 1})
    timer(engine, "limit:M")


def untimed(engine: Engine) -> None:
    engine.seed_parked("a", "L")
    engine.client.zrem(engine.keys.timers, "limit:L")


def miscounted(engine: Engine, known: object) -> None:
    engine.seed_parked("a", "L")
    meta(engine, blocked=known)


def count_lost(engine: Engine) -> None:
    engine.seed_parked("a", "L")
    engine.client.hdel(engine.keys.meta, "blocked")


#: (a place, what it is in, what is wrong there, what repair does about it)
WRONG: list[tuple[str, str, Seed, list[tuple[str, str]], list[str]]] = [
    ("holding:L", "a", lambda e: hold(e, "a"), [("ghost", "no record")], ["ghost removed"]),
    ("holding:L", "a", lambda e: (e.seed_ready("a"), hold(e, "a")), [("misplaced", "ready")],
     ["misplaced removed"]),
    ("holding:L", "a", lambda e: (e.seed_running("a", holds="LL M"), hold(e, "a")),
     [("misplaced", "running")], ["misplaced removed"]),
    ("holding:L", "a", lambda e: (e.seed_ended("a", "completed", holds="L"), hold(e, "a")),
     [("misplaced", "completed")], ["misplaced removed"]),
    ("job", "a", lambda e: (e.seed_running("a", holds="L M"), hold(e, "a")),
     [("uncounted", "M")], ["uncounted counted"]),
    ("job", "a", blocked_nowhere, [("homeless", "blocked")], ["homeless placed ready"]),
    ("parked:M", "a", parked_elsewhere, [("misplaced", "blocked")], ["misplaced removed"]),
    ("parked:L", "a", lambda e: (e.seed_parked("a", "L"), e.client.delete(e.keys.job("a"))),
     [("ghost", "1")], ["ghost removed"]),
    ("parked:L", "a", lambda e: (e.seed_parked("a", "L"), e.seed_ready("a")),
     [("misplaced", "ready")], ["misplaced removed"]),
    ("zset", "parked:L", untimed, [("untimed", "limit:L")], ["untimed listed"]),
    ("zset", "turned", turned, [("untimed", "turn")], ["untimed listed"]),
    ("zset", "turned:gpu", lambda e: turned(e, ":gpu"), [("untimed", "turn")],
     ["untimed listed"]),
    ("zset", "turned:x", lambda e: (turned(e, ":x"), timer(e, "turn")), [("unlisted", "x")],
     ["unlisted listed"]),
    ("timers", "limit:L", lambda e: timer(e, "limit:L"), [("leftover", "of nothing")],
     ["leftover removed"]),
    ("timers", "cron:c", lambda e: timer(e, "cron:c"), [("leftover", "of nothing")],
     ["leftover removed"]),
    ("timers", "odd", lambda e: timer(e, "odd"), [("leftover", "of nothing")],
     ["leftover removed"]),
    ("zset", "timers", lambda e: timer(e, "turn", START), [("stale", "timer_ms")], ["stale set"]),
    ("zset", "timers", lambda e: (timer(e, "turn", START), meta(e, timer_ms=START + 1)),
     [("stale", "timer_ms")], ["stale set"]),
    ("zset", "blocked", count_lost, [("stale", "blocked")], ["stale set"]),
    ("meta", "blocked", lambda e: miscounted(e, 7), [("stale", "blocked")], ["stale set"]),
    ("meta", "blocked", lambda e: meta(e, blocked=1), [("stale", "blocked")], ["stale set"]),
    ("meta", "blocked", lambda e: meta(e, blocked="many"), [("stale", "blocked")], ["stale set"]),
    ("hash", "limits", lambda e: e.client.hset(e.keys.limits, "L", "concurrency=1 on=queue"),
     [("stale", "limited")], ["stale set"]),
    ("string", "unique:k", lambda e: lock(e, "k", "a"), [("leftover", "no record")],
     ["leftover removed"]),
    ("string", "unique:k", lambda e: (e.seed_ended("a", "dead", key="k"), lock(e, "k", "a")),
     [("leftover", "dead")], ["leftover removed"]),
    ("string", "unique:k", lambda e: (e.seed_ready("a", key="other"), lock(e, "k", "a")),
     [("leftover", "ready")], ["leftover removed"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "name", "seed", "wrong", "done"),
    WRONG,
    ids=[f"{where}-{name}-{n}" for n, (where, name, *_) in enumerate(WRONG)],
)
def test_it_is_found_and_mended_and_then_all_is_well(
    engine: Engine,
    where: str,
    name: str,
    seed: Seed,
    wrong: list[tuple[str, str]],
    done: list[str],
) -> None:
    seed(engine)
    before = engine.dump()

    assert look(engine, where, name) == wrong
    assert engine.changed(before) == {}

    assert twice(engine, (where, name)) == done
    assert look(engine, where, name) == []


#: What looks odd and is not.
RIGHT: list[tuple[str, str, Seed]] = [
    ("holding:L", "a", lambda e: (e.seed_running("a", holds="M L"), hold(e, "a"))),
    ("holding:L", "gone", lambda e: None),
    ("job", "a", lambda e: (e.seed_running("a", holds="L"), hold(e, "a"))),
    ("job", "a", lambda e: e.seed_parked("a", "tenant:x y")),
    ("blocked", "a", lambda e: e.seed_parked("a", "tenant:x y")),
    ("zset", "blocked", lambda e: e.seed_parked("a", "L")),
    ("zset", "parked:L", lambda e: e.seed_parked("a", "L")),
    ("zset", "parked:L", lambda e: e.seed_parked("a", "L", due=START)),
    ("meta", "blocked", lambda e: e.seed_parked("a", "L")),
    ("timers", "limit:L", lambda e: e.seed_parked("a", "L")),
    ("timers", "cron:c",
     lambda e: (timer(e, "cron:c"), e.client.hset(e.keys.schedules, "c", "{}"))),
    ("timers", "turn", lambda e: timer(e, "turn")),
    ("timers", "gone", lambda e: None),
    ("zset", "timers", lambda e: timer(e, "turn")),
    ("zset", "timers", lambda e: (timer(e, "turn", START), meta(e, timer_ms=START))),
    ("zset", "timers", lambda e: (timer(e, "turn", START), meta(e, timer_ms=START - 9))),
    ("zset", "turned:gpu", lambda e: (turned(e, ":gpu"), timer(e, "turn"))),
    ("hash", "limits", lambda e: e.run(commands.limit(e.keys, {"L": "concurrency=1 on=queue"}))),
    ("string", "unique:k", lambda e: (e.seed_ready("a", key="k"), lock(e, "k", "a"))),
    ("string", "unique:k", lambda e: (e.seed_running("a", key="k"), lock(e, "k", "a"))),
    ("string", "unique:k", lambda e: lock(e, "k", "gone", 60_000)),
    ("zset", "shares", lambda e: e.client.zadd(e.keys.prefix + "shares", {"g": 1})),
    ("list", "wake:gpu+region=eu",
     lambda e: e.client.rpush(e.keys.prefix + "wake:gpu+region=eu", 1)),
    ("hash", "weights", lambda e: e.client.hset(e.keys.prefix + "weights", "any group", 2)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "name", "seed"),
    RIGHT,
    ids=[f"{where}-{name}-{n}" for n, (where, name, _) in enumerate(RIGHT)],
)
def test_what_the_scripts_leave_is_well(engine: Engine, where: str, name: str, seed: Seed) -> None:
    seed(engine)

    assert look(engine, where, name) == []


@pytest.mark.parametrize("name", ["timers", "schedules", "meta", "limits", "blocked", "parked:L"])
def test_a_key_of_another_type_beside_jobs_is_told_of_by_itself(engine: Engine, name: str) -> None:
    engine.seed_parked("a", "L")
    timer(engine, "cron:c")
    lock(engine, "k", "a")
    hold(engine, "a")
    engine.client.delete(engine.keys.prefix + name)
    engine.client.set(engine.keys.prefix + name, "oops")

    for where, inside in [("timers", "limit:L"), ("timers", "cron:c"), ("holding:L", "a")]:
        look(engine, where, inside)
    for where, inside in [("job", "a"), ("string", "unique:k"), ("zset", "blocked")]:
        look(engine, where, inside)

    assert look(engine, "zset" if name != "limits" else "hash", name) == [("wrong-type", "string")]


def test_a_place_that_nobody_held_wakes_whom_it_blocked(engine: Engine) -> None:
    engine.seed_parked("a", "L")
    hold(engine, "gone")

    assert twice(engine, ("holding:L", "gone")) == ["ghost removed"]

    assert engine.client.zscore(engine.keys.timers, "limit:L") == START
    assert engine.client.hget(engine.keys.meta, "timer_ms") == str(START).encode()
    assert engine.client.llen(engine.keys.wake) == 1


def test_what_waits_for_a_time_that_was_lost_is_looked_at_now(engine: Engine) -> None:
    untimed(engine)
    turned(engine, ":gpu")
    engine.seed_job("b", "ready", **{"class": "gpu"})
    engine.client.zadd(f"{engine.keys.prefix}turned:gpu", {"b": 7})

    twice(engine, ("zset", "parked:L"), ("zset", "turned:gpu"))

    assert engine.client.zrange(engine.keys.timers, 0, -1, withscores=True) == [
        (b"limit:L", START),
        (b"turn", START),
    ]
    assert engine.client.hmget(engine.keys.meta, "timer_ms", "turning") == [
        str(START).encode(),
        b"1",
    ]


def test_a_blocked_job_whom_nobody_would_wake_is_ready_at_its_rank(engine: Engine) -> None:
    blocked_nowhere(engine)
    engine.client.hset(engine.keys.job("a"), "rank", 77)

    done = twice(engine, ("job", "a"))
    done += twice(engine, ("blocked", "a"), ("meta", "blocked"))

    assert done == ["homeless placed ready", "misplaced removed"]
    assert engine.client.zscore(engine.keys.ready, "a") == 77
    assert engine.client.hmget(engine.keys.job("a"), "state", "blocked_by") == [b"ready", None]
    assert engine.client.hget(engine.keys.meta, "blocked") == b"0"


def test_what_limits_are_on_is_worked_out_anew(engine: Engine) -> None:
    limits = {"q": "concurrency=9 on=queue", "t": "concurrency=1 on=task.t", "j": "concurrency=1"}
    engine.run(commands.limit(engine.keys, limits))
    before = engine.dump()
    engine.client.hdel(engine.keys.meta, "limited")

    twice(engine, ("hash", "limits"))

    assert sorted(str(engine.dump()["meta"].content["limited"]).split()) == sorted(
        str(before["meta"].content["limited"]).split()
    )
