"""Scenarios of who runs next, for tests/lua/scenarios.py: limits, unique keys, fair shares, ticks
and turned ranks, each in a queue where one call of the script uses all there is of them.
"""

from __future__ import annotations

from typing import Any

from taskq import commands
from taskq.commands import Ack, Call, NewJob
from tests.lua.engine import KEEP, START, WORKER, Engine, failure

#: A concurrency limit of one and a rate, both of the queue.
LIMITS = {"L": "concurrency=1 on=job", "R": "every_us=1000000 on=job"}


def tie(engine: Engine, job_id: str, state: str = "running", **fields: object) -> None:
    """A job that holds L and a key, and whose group was charged for it."""
    words = {"tied": 1, "group": "g", "charged": 10, "key": f"k{job_id}", "holds": "L", **fields}
    if state == "running":
        engine.seed_running(job_id, **words)
        engine.client.sadd(engine.keys.prefix + "holding:L", job_id)
    else:
        del words["holds"]
        engine.seed_ready(job_id, 3.0, **words)
    engine.client.set(engine.keys.prefix + f"unique:k{job_id}", job_id)


def wait_for(engine: Engine, job_id: str, instance: str = "L", **fields: object) -> None:
    """A job that is parked on a limit."""
    engine.seed_parked(job_id, instance, 4, **fields)


def limited(engine: Engine, policy: str = "fair") -> None:
    """A queue with two limits, one of which blocks a job of a class; and a fair one, when asked."""
    engine.run(commands.limit(engine.keys, LIMITS))
    engine.client.hset(engine.keys.meta, mapping={"policy": policy, "vtime": 5, "slots": 2})
    engine.client.zadd(engine.keys.prefix + "shares", {"g": 50, "old": 1})
    engine.client.hset(engine.keys.averages, mapping={"t": 20, "*": 30})
    wait_for(engine, "p", **{"class": "gpu"})


def enqueue(engine: Engine) -> Call[Any]:
    """One job replaces another, one extends another's key, one fires a tick; the oldest goes."""
    limited(engine)
    engine.client.hset(engine.keys.meta, mapping={"on_full": "drop_oldest", "max_jobs": 6})
    engine.client.zadd(engine.keys.timers, {"cron:c": START})
    tie(engine, "replaced", "ready", key="k1", awaits="L", waiters="c1")
    engine.client.set(engine.keys.prefix + "unique:k1", "replaced")
    engine.seed_due("scheduled", "later", START + 50, key="k2", tied=1)
    engine.client.set(engine.keys.prefix + "unique:k2", "later", px=5000)
    tie(engine, "dropped", "ready", waiters="c1")
    jobs = [
        NewJob("a", "t", b"p", extras=("key", "k1", "group", "g", "@unique", "queued replace")),
        NewJob("b", "t", b"p", at="+90", extras=("key", "k2", "@unique", "9000 extend")),
        NewJob("c", "t", b"p", extras=("@tick", f"c {START} {START + 60_000}", "@admit", "warn")),
        NewJob("d", "t", b"p", job_class="gpu", extras=("key", "k3", "@unique", "500 keep")),
    ]
    return commands.enqueue(engine.keys, jobs, max_jobs=100, all_or_none=False)


def claim(engine: Engine) -> Call[Any]:
    """One is granted, one parks on each limit, one that was woken does not come, one stays."""
    to_claim(engine)
    return engine.claim_call(4, {"": 4, "gpu": 4})


def to_claim(engine: Engine) -> None:
    engine.seed_alive()
    limited(engine)
    engine.seed_ready("gone", 1, limits="L", awaits="L", tied=1, deadline_ms=START - 1)
    engine.seed_ready("a", 2, limits="R t:{x}|t:1")
    engine.seed_ready("b", 3, limits="L", group="g", charged=10, tied=1)
    engine.seed_ready("c", 4, "gpu", limits="R")
    engine.seed_ready("d", 5, cost=4)
    engine.seed_ready("e", 6, limits="key:k")
    engine.client.sadd(engine.keys.prefix + "holding:key:k", "other")


def ack(engine: Engine) -> Call[Any]:
    to_claim(engine)
    engine.client.zrem(engine.keys.ready, "b")
    engine.client.delete(engine.keys.job("b"))
    tie(engine, "x", waiters="c1")
    return engine.ack_call(Ack("x", "7", b"r", KEEP), limit=4, slots={"": 4, "gpu": 4})


def fail(engine: Engine) -> Call[Any]:
    limited(engine)
    tie(engine, "a")
    tie(engine, "b", waiters="c1")
    return engine.fail_call(failure("a"), failure("b", after_ms=None))


def release(engine: Engine) -> Call[Any]:
    limited(engine)
    tie(engine, "a")
    tie(engine, "b", cancel=1, waiters="c1")
    return commands.release(engine.keys, WORKER, (("a", "7", ""), ("b", "7", "")), keep_ms=KEEP)


def reap(engine: Engine) -> Call[Any]:
    limited(engine)
    tie(engine, "a")
    tie(engine, "b", crashes=2, waiters="c1")
    engine.lose(WORKER)
    return engine.reap_call()


def bury(engine: Engine) -> Call[Any]:
    reap(engine)
    return engine.bury_call(WORKER)


def cancel(engine: Engine) -> Call[Any]:
    limited(engine)
    tie(engine, "a", cancel=1)
    return commands.cancel(engine.keys, "a", keep_ms=KEEP, token="7", worker=WORKER)


def cancel_blocked(engine: Engine) -> Call[Any]:
    limited(engine)
    wait_for(engine, "b", "R", waiters="c1")
    return commands.cancel(engine.keys, "b", keep_ms=KEEP)


def promote(engine: Engine) -> Call[Any]:
    """Both limits are looked at, and one job's rank is turned."""
    limited(engine)
    engine.client.hset(engine.keys.meta, "turning", 1)
    engine.seed_due("retry", "a", START, group="g")
    wait_for(engine, "r", "R", limits="R")
    wait_for(engine, "s", "R", limits="R")
    engine.seed_job("u", "ready", group="h")
    engine.client.zadd(engine.keys.prefix + "turned", {"u": 5, "ghost": 6})
    due = {"limit:L": START, "limit:R": START, "turn": START, "limit:none": START}
    engine.client.zadd(engine.keys.timers, due)
    engine.client.hset(engine.keys.meta, "timer_ms", START)
    return commands.promote(engine.keys)


def purge(engine: Engine) -> Call[Any]:
    limited(engine)
    wait_for(engine, "b", "R", waiters="c1")
    return commands.purge(engine.keys, "blocked")


def configure(engine: Engine) -> Call[Any]:
    engine.seed_ready("a")
    engine.seed_ready("b", 2, "gpu")
    engine.client.sadd(engine.keys.classes, "gpu")
    return commands.configure(engine.keys, {"policy": "fair", "weight:g": "2"})


def revive(engine: Engine) -> Call[Any]:
    limited(engine)
    engine.seed_ended("a", "dead", group="g", **{"class": "fragile+gpu"})
    return commands.revive(engine.keys, ("a",))


#: (script, what is added to its name, scenario)
ORDER = (
    ("ack", " under limits", ack),
    ("bury", " under limits", bury),
    ("cancel", " under limits", cancel),
    ("cancel", " a blocked job", cancel_blocked),
    ("claim", " under limits", claim),
    ("configure", " a policy", configure),
    ("enqueue", " with keys and ticks", enqueue),
    ("fail", " under limits", fail),
    ("promote", " timers", promote),
    ("purge", " blocked jobs", purge),
    ("reap", " under limits", reap),
    ("release", " under limits", release),
    ("revive", " in a fair queue", revive),
)
