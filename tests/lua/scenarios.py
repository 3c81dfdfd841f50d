"""For every script: a queue in a state where one call uses all of the script, and that call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from taskq import commands
from taskq.commands import Ack, Call, Measure, NewJob, Place
from taskq.rights import rights
from tests.lua.engine import DEAD_KEEP, KEEP, START, WORKER, Engine, failure
from tests.lua.scenarios_order import ORDER

Scenario = Callable[[Engine], Call[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One script, and how to get it to do all it can."""

    script: str
    name: str
    build: Scenario

    @property
    def reads_only(self) -> bool:
        return self.script in ("audit", "explain", "held", "rights", "signals", "stats")

    def __str__(self) -> str:
        return self.name


def _enqueue(engine: Engine) -> Call[Any]:
    engine.seed_due("retry", "r", START + 99)
    engine.seed_due("scheduled", "s", START + 99)
    engine.seed_ready("known")
    jobs = [
        NewJob("a", "t", b"p"),
        NewJob("b", "t", b"p", at="+50"),
        NewJob("c", "t", b"p", job_class="gpu"),
        NewJob("known", "t", b"p"),
        NewJob("r", "t", b"other"),
    ]
    return commands.enqueue(engine.keys, jobs, max_jobs=100, all_or_none=False)


def _claim(engine: Engine) -> Call[Any]:
    _to_claim(engine)
    return engine.claim_call(3, {"": 3, "gpu": 3}, look=2)


def _to_claim(engine: Engine) -> None:
    engine.seed_alive()
    engine.seed_due("scheduled", "s", START + 9)
    engine.seed_due("retry", "r", START + 9)
    engine.seed_ready("late", 1, deadline_ms=START - 1, waiters="c1")
    engine.seed_ready("b", 2)
    engine.seed_ready("c", 3, "gpu")
    engine.seed_ready("d", 4)
    engine.seed_ready("e", 5)


def _ack(engine: Engine) -> Call[Any]:
    _to_claim(engine)
    for n in range(3):
        engine.seed_ended(f"old{n}", "completed", at=START - KEEP - 5 + n)
        engine.seed_ended(f"new{n}", "completed", at=START - 5 + n)
    engine.seed_running("x", waiters="c1")
    engine.seed_running("y")
    acks = (Ack("x", "7", b"r", KEEP), Ack("y", "7", b"", 0), Ack("b", "1", b"", 0))
    return engine.ack_call(*acks, limit=3, slots={"": 3, "gpu": 3}, done_max=2, look=2)


def _ack_late(engine: Engine) -> Call[Any]:
    _to_claim(engine)
    engine.seed_running("x", token=8)
    return engine.ack_call(Ack("x", "7", b"r", KEEP), limit=3, slots={"": 3, "gpu": 3})


def _fail(engine: Engine) -> Call[Any]:
    for n in range(3):
        engine.seed_ended(f"old{n}", "dead", at=START - 5 + n)
    engine.seed_running("a")
    engine.seed_running("b", waiters="c1")
    engine.seed_running("c", cancel=1, waiters="c1")
    engine.seed_running("d", token=8)
    failures = (failure("a"), failure("b", after_ms=None), failure("c"), failure("d"))
    return engine.fail_call(*failures, dead_max=2)


def _release(engine: Engine) -> Call[Any]:
    engine.seed_running("a")
    engine.seed_running("b")
    engine.seed_running("c", cancel=1, waiters="c1")
    jobs = (("a", "7", ""), ("b", "7", "gpu"), ("c", "7", ""), ("d", "7", ""))
    return commands.release(engine.keys, WORKER, jobs, keep_ms=KEEP)


def _promote(engine: Engine) -> Call[Any]:
    engine.client.hset(engine.keys.meta, "horizon_ms", 5)
    engine.seed_due("scheduled", "a", START)
    engine.seed_due("retry", "b", START, **{"class": "gpu"})
    engine.client.zadd(engine.keys.scheduled, {"ghost": START, "later": START + 5})
    return commands.promote(engine.keys)


def _heartbeat(engine: Engine) -> Call[Any]:
    engine.client.hset(engine.keys.suspects, WORKER, START)
    engine.client.hset(engine.keys.meta, "pressed", "1 2 3")
    engine.client.sadd(engine.keys.cancels(WORKER), "a", "gone")
    engine.seed_running("a")
    engine.client.hset(engine.keys.averages, mapping={"a": "5", "*": "5"})
    return commands.heartbeat(
        engine.keys,
        WORKER,
        ttl_ms=6000,
        slots=4,
        watermark=90,
        pressed_ms=9000,
        told=1,
        measures=(Measure("a", 2, 9.0, 1, 5.0, 5.0, 1), Measure("b", 1, 9.0)),
    )


def _retire(engine: Engine) -> Call[Any]:
    engine.seed_alive()
    engine.client.hset(engine.keys.suspects, WORKER, START)
    engine.client.hset(engine.keys.vitals, WORKER, "rss=1 beat_ms=1")
    engine.client.sadd(engine.keys.cancels(WORKER), "gone")
    return commands.retire(engine.keys, WORKER)


def _reap(engine: Engine) -> Call[Any]:
    engine.seed_ended("old", "dead", at=START - 5)
    engine.seed_running("a")
    engine.seed_running("b", **{"class": "gpu"})
    engine.seed_running("c", crashes=2, waiters="c1")
    engine.seed_running("d", cancel=1, waiters="c1")
    engine.seed_running("e", crashes=1)
    engine.client.zadd(engine.keys.running(WORKER), {"ghost": 1})
    engine.client.sadd(engine.keys.cancels(WORKER), "d")
    engine.client.hset(engine.keys.vitals, WORKER, "rss=5000000 beat_ms=1")
    engine.lose(WORKER)
    engine.client.sadd(engine.keys.holders, "w2")
    return engine.reap_call(dead_max=1)


def _bury(engine: Engine) -> Call[Any]:
    _reap(engine)
    return engine.bury_call(WORKER, dead_max=1)


def _cancel(engine: Engine, job_id: str, **words: str) -> Call[Any]:
    return commands.cancel(engine.keys, job_id, keep_ms=KEEP, **words)


def _cancel_waiting(engine: Engine) -> Call[Any]:
    engine.seed_ready("a", 1, "gpu", waiters="c1")
    return _cancel(engine, "a")


def _cancel_asked(engine: Engine) -> Call[Any]:
    engine.seed_running("a")
    return _cancel(engine, "a")


def _cancel_confirmed(engine: Engine) -> Call[Any]:
    engine.seed_running("a", waiters="c1", cancel=1)
    return _cancel(engine, "a", token="7", worker=WORKER)


def _revive(engine: Engine) -> Call[Any]:
    engine.seed_ended("a", "dead", error="E")
    engine.seed_ended("b", "cancelled", **{"class": "gpu"})
    engine.seed_job("c", "running")
    return commands.revive(engine.keys, ("a", "b", "c", "d"))


def _forget(engine: Engine) -> Call[Any]:
    engine.seed_ended("a", "dead")
    engine.seed_ended("b", "completed")
    engine.seed_ready("c")
    return commands.forget(engine.keys, ("a", "b", "c", "d"))


def _purge(engine: Engine) -> Call[Any]:
    engine.seed_ready("a", waiters="c1")
    engine.seed_ready("b")
    return commands.purge(engine.keys, "ready")


def _pause(engine: Engine) -> Call[Any]:
    return commands.pause(engine.keys)


def _resume(engine: Engine) -> Call[Any]:
    engine.client.hset(engine.keys.meta, "paused", START)
    engine.seed_ready("a")
    return commands.resume(engine.keys)


def _configure(engine: Engine) -> Call[Any]:
    engine.client.hset(engine.keys.meta, "horizon_ms", 7)
    return commands.configure(engine.keys, {"policy": "aging", "horizon_ms": ""})


def _limit(engine: Engine) -> Call[Any]:
    limits = {"old": "concurrency=1 on=queue", "t:{x}": "concurrency=1 on=job"}
    engine.client.hset(engine.keys.limits, mapping=limits)
    engine.client.hset(engine.keys.meta, mapping={"limited": 1, "struck": " x "})
    engine.client.zadd(engine.keys.timers, {"limit:old": float("inf"), "limit:t:1": START + 9})
    engine.client.zadd(engine.keys.timers, {"limit:new": START + 9, "cron:c": START + 99})
    changes = {"old": "", "t:{x}": "concurrency=2 on=job", "new": "concurrency=1 on=task.x"}
    return commands.limit(engine.keys, changes, strike="+t")


def _limit_last(engine: Engine) -> Call[Any]:
    engine.client.hset(engine.keys.limits, "old", "concurrency=1 on=queue")
    engine.client.hset(engine.keys.meta, mapping={"limited": 1, "struck": " x "})
    return commands.limit(engine.keys, {"old": ""}, strike="-x")


def _progress(engine: Engine) -> Call[Any]:
    engine.seed_running("a")
    return commands.progress(engine.keys, "a", "7", WORKER, 0.5, "half")


def _watch(engine: Engine) -> Call[Any]:
    engine.seed_running("a", waiters="c1")
    return commands.watch(engine.keys, "a", "c2")


def _held(engine: Engine) -> Call[Any]:
    engine.seed_running("a")
    return commands.held(engine.keys, WORKER)


def _stats(engine: Engine) -> Call[Any]:
    _to_claim(engine)
    engine.seed_running("a")
    engine.client.sadd(engine.keys.classes, "gpu")
    engine.client.sadd(engine.keys.holders, "w2")
    return commands.stats(engine.keys)


def _explain(engine: Engine) -> Call[Any]:
    _to_claim(engine)
    engine.client.sadd(engine.keys.classes, "gpu")
    engine.client.hset(engine.keys.averages, mapping={"t": "5", "*": "6"})
    engine.client.hset(engine.keys.meta, "limited", "1 queue=l")
    engine.client.hset(engine.keys.prefix + "limits", "l", "concurrency=1 on=queue")
    engine.seed_running("x")
    engine.client.sadd(engine.keys.prefix + "holding:l", "x")
    return commands.explain(engine.keys, "d")


def _signals(engine: Engine) -> Call[Any]:
    _to_claim(engine)
    engine.client.sadd(engine.keys.classes, "gpu")
    engine.client.hset(engine.keys.averages, mapping={"t": "5", "*": "6"})
    return commands.signals(engine.keys)


def _damaged(engine: Engine) -> list[Place]:
    """A queue with some of everything that repair mends."""
    engine.seed_ready("fine")
    for job_id, state in (("a", "ready"), ("b", "running"), ("c", "scheduled")):
        engine.seed_job(job_id, state, worker="gone", token=7)
    engine.seed_job("d", "running", worker="w2", priority="x", **{"class": "gpu"})
    engine.seed_alive("w2")
    engine.seed_job("e", "dead")
    engine.seed_job("odd", "nonsense")
    engine.client.expire(engine.keys.job("a"), 600)
    engine.client.zadd(engine.keys.ready, {"ghost": 1, "e": 2, "no name": 3, "fine": float("inf")})
    engine.client.zadd(engine.keys.running("w9"), {"x": START})
    engine.client.zadd(engine.keys.ready_of("new"), {"x": 1})
    engine.client.sadd(engine.keys.cancels("gone"), "a")
    engine.client.hset(engine.keys.suspects, "gone", 1)
    engine.client.hset(engine.keys.meta, "max_jobs", "many")
    engine.client.set(engine.keys.prefix + "mine", "stray", ex=600)
    places = [("job", job_id) for job_id in ["a", "b", "c", "d", "e", "odd"]]
    places += [("ready", name) for name in ("ghost", "e", "no name", "fine")]
    places += [("zset", "running:w9"), ("zset", "ready:new"), ("set", "cancels:gone")]
    places += [("suspects", "gone"), ("meta", "max_jobs"), ("stray", "mine")]
    return [Place(where.encode(), name.encode()) for where, name in places]


def _audit(engine: Engine) -> Call[Any]:
    return commands.audit(engine.keys, _damaged(engine))


def repair_call(engine: Engine, places: Sequence[Place]) -> Call[list[commands.Mend]]:
    return commands.repair(
        engine.keys, places, keep_ms=KEEP, dead_keep_ms=DEAD_KEEP, alive_ms=60_000
    )


def _repair(engine: Engine) -> Call[Any]:
    return repair_call(engine, _damaged(engine))


def _rights(engine: Engine) -> Call[Any]:
    return rights(engine.keys, engine.scripts, ["enqueue"], "u")


def _schedule(engine: Engine) -> Call[Any]:
    engine.client.hset(engine.keys.schedules, "night", "old")
    engine.client.zadd(engine.keys.timers, {"cron:night": START + 99, "cron:day": START + 500})
    engine.client.hset(engine.keys.meta, "timer_ms", START + 99)
    seen = commands.Stored("old", str(START + 99))
    return commands.schedule(engine.keys, "night", seen=seen, definition="new", due_ms=START + 50)


def _schedule_removed(engine: Engine) -> Call[Any]:
    _schedule(engine)
    engine.client.zrem(engine.keys.timers, "cron:day")
    seen = commands.Stored("old", str(START + 99))
    return commands.schedule(engine.keys, "night", seen=seen, definition="")


CASES = [
    Case(script=script, name=f"{script}{tail}", build=build)
    for script, tail, build in (
        ("ack", "", _ack),
        ("ack", " too late", _ack_late),
        ("audit", "", _audit),
        ("bury", "", _bury),
        ("cancel", " a waiting job", _cancel_waiting),
        ("cancel", " a running job", _cancel_asked),
        ("cancel", " confirmed", _cancel_confirmed),
        ("claim", "", _claim),
        ("configure", "", _configure),
        ("enqueue", "", _enqueue),
        ("explain", "", _explain),
        ("fail", "", _fail),
        ("forget", "", _forget),
        ("heartbeat", "", _heartbeat),
        ("held", "", _held),
        ("limit", "", _limit),
        ("limit", " the last one", _limit_last),
        ("pause", "", _pause),
        ("progress", "", _progress),
        ("promote", "", _promote),
        ("purge", "", _purge),
        ("reap", "", _reap),
        ("release", "", _release),
        ("repair", "", _repair),
        ("resume", "", _resume),
        ("retire", "", _retire),
        ("revive", "", _revive),
        ("rights", "", _rights),
        ("signals", "", _signals),
        ("schedule", "", _schedule),
        ("schedule", " removed", _schedule_removed),
        ("stats", "", _stats),
        ("watch", "", _watch),
        *ORDER,
    )
]
MUTATING = [case for case in CASES if not case.reads_only]
