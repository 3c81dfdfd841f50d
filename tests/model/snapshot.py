"""One look at everything a queue keeps on the server, and what must hold of any such look by
itself, model or not.

No Hypothesis here and no rules of single scripts.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

import redis

from tests.model.world import ENDED, Record, Value, alike, of_class

CLOCK = "model:clock"
#: Put in the place of lua/include/now_us.lua.
CLOCK_LUA = f"local function now_us() return tonumber(redis.call('GET', '{CLOCK}')) end"
#: One call a step. The clock moves on by a microsecond: no two calls happen in the same one.
_LOOK = """
local keys = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind = redis.call('TYPE', key)['ok']
  local value
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'list' then value = redis.call('LLEN', key)
  else value = redis.call('GET', key) end
  keys[#keys + 1] = { string.sub(key, #ARGV[1] + 1), kind, redis.call('PTTL', key), value }
end
redis.call('INCR', KEYS[1])
return keys
"""
_LIVE = ("ready", "scheduled", "retry", "running", "blocked")
_HOMES = {"scheduled": "scheduled", "retry": "retry", "blocked": "blocked"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Keys without the queue's prefix: content, and ms to live of those that have a TTL."""

    keys: dict[str, Value]
    ttl: dict[str, int]

    def hash(self, name: str) -> Record:
        return cast(Record, self.keys.get(name, {}))

    def index(self, name: str) -> dict[str, float]:
        return cast(dict[str, float], self.keys.get(name, {}))

    def members(self, name: str) -> frozenset[str]:
        return cast(frozenset[str], self.keys.get(name, frozenset()))

    def jobs(self) -> dict[str, Record]:
        return {name[4:]: self.hash(name) for name in self.keys if name.startswith("job:")}

    def live_indexes(self) -> list[str]:
        """Names of the indexes whose members must be jobs that have not ended."""
        kinds = ("ready", "turned", "scheduled", "retry", "running", "blocked")
        return [name for name in self.keys if name.partition(":")[0] in kinds]

    def counter(self, name: str) -> int:
        return int(self.hash("stats").get(name, 0))


def look(client: redis.Redis, prefix: str) -> Snapshot:
    """Read every key below `prefix`, at one moment."""
    keys: dict[str, Value] = {}
    ttl: dict[str, int] = {}
    found = cast(list[Any], client.eval(_LOOK, 1, CLOCK, prefix))
    for name_, kind, ms, value in found:
        name = name_.decode()
        if kind in (b"hash", b"zset"):
            words = [word.decode() for word in value]
            pairs = zip(words[::2], words[1::2], strict=True)
            keys[name] = alike(dict(pairs)) if kind == b"hash" else {n: float(s) for n, s in pairs}
        elif kind == b"set":
            keys[name] = frozenset(word.decode() for word in value)
        else:
            keys[name] = value if kind == b"list" else value.decode()
        if ms >= 0:
            ttl[name] = ms
    return Snapshot(keys, ttl)


def home_of(job: Record) -> str:
    """The index that must list a job, by its own record; '' for one that has ended."""
    state = job["state"]
    if state == "ready":
        return of_class("ready", job.get("class", ""))
    if state == "running":
        return f"running:{job['worker']}"
    return _HOMES.get(state, "")


def check_alone(now: Snapshot, tampered: Collection[str]) -> None:
    """What must hold of every look. `tampered`: ids whose keys were damaged by hand on purpose."""
    _check_homes(now, tampered)
    _check_lives(now)
    _check_workers(now)
    for name in now.keys:
        if name == "wake" or name.startswith("wake:"):
            wake = now.keys[name]
            assert isinstance(wake, int), f"{name} holds no tokens"
            assert wake <= 4, f"{wake} tokens in {name}"
    for name, content in now.keys.items():
        if name in ("timers", "shares"):
            continue
        for score in content.values() if isinstance(content, dict) else ():
            if isinstance(score, float):
                assert math.isfinite(score), f"{name}: score {score!r}"
                assert 0 <= score < 2**53, f"{name}: score {score!r}"


def _check_homes(now: Snapshot, tampered: Collection[str]) -> None:
    """Every live job is listed in exactly one index, the one its record names; nobody else is
    listed.
    """
    listed: dict[str, list[str]] = {}
    for name in now.live_indexes():
        for job_id in now.index(name):
            listed.setdefault(job_id, []).append(name)
    jobs = now.jobs()
    for job_id in (listed.keys() | jobs.keys()) - set(tampered):
        where = listed.get(job_id, [])
        assert job_id in jobs, f"{job_id} is listed in {where} and has no record"
        assert jobs[job_id]["state"] in (*ENDED, *_LIVE)
        home = home_of(jobs[job_id])
        if where == [of_class("turned", jobs[job_id].get("class", ""))]:
            home = home and where[0] if jobs[job_id]["state"] == "ready" else home
        assert where == ([home] if home else []), f"{job_id} is listed in {where}: {jobs[job_id]}"
    for name, states in (("dead", {"dead"}), ("done", set(ENDED) - {"dead"})):
        for job_id, score in now.index(name).items():
            job = jobs.get(job_id, {})
            # Its record may be gone by its own TTL, and the id in use again since.
            if job.get("ended_ms") == f"{score:.0f}":
                assert job["state"] in states or job_id in now.index("done"), f"{name}: {job}"


def _check_lives(now: Snapshot) -> None:
    """A record has a TTL exactly when its job has ended; a lease has an owner and a token."""
    for job_id, job in now.jobs().items():
        ended, key = job["state"] in ENDED, f"job:{job_id}"
        assert (key in now.ttl) == ended, f"{job_id} is {job['state']}, TTL {now.ttl.get(key)}"
        assert not ended or "ended_ms" in job, f"{job_id} has ended without a time"
        if job["state"] == "running":
            assert {"token", "worker", "started_ms", "rank"} <= job.keys(), f"{job_id}: {job}"
        else:
            assert "cancel" not in job or ended, f"{job_id}: asked to cancel, {job['state']}"
    for name in now.keys:
        kind = name.partition(":")[0]
        wanted = kind in ("dead", "done", "alive", "rate", "shares") or name.startswith("stats:")
        assert kind in ("job", "unique") or (name in now.ttl) == wanted, (
            f"{name}: TTL {now.ttl.get(name)}"
        )


def _check_workers(now: Snapshot) -> None:
    """Whoever may claim, or holds jobs, is known to the reaper."""
    known = now.members("holders")
    for name in now.keys:
        kind, _, worker = name.partition(":")
        if kind in ("alive", "running", "cancels"):
            assert worker in known, f"{name} exists, but {worker} is no holder"


def check_step(before: Snapshot, now: Snapshot, tampered: Collection[str]) -> None:
    """What must hold of any two looks with one call between them: fencing, one end, nothing
    lost.
    """
    old, new = before.jobs(), now.jobs()
    for job_id in old.keys() & new.keys() - set(tampered):
        was, job = old[job_id], new[job_id]
        if was["enqueued_ms"] != job["enqueued_ms"]:
            continue
        token, had = int(job.get("token", 0)), int(was.get("token", 0))
        if job["state"] == "running" and was["state"] != "running":
            assert was["state"] == "ready", f"{job_id}: claimed while {was['state']}"
            assert token > had, f"{job_id}: token {had} -> {token}"
        else:
            assert token == had, f"{job_id}: token {had} -> {token} without a claim"
        if was["state"] in ENDED:
            assert job["state"] == was["state"] or job["state"] == "ready", f"{job_id}: ended twice"
        if job.get("attempt", "0") > was.get("attempt", "0"):
            assert job.get("crashes") == was.get("crashes"), f"{job_id}: a failure is no crash"
        assert (was["task"], was["payload"]) == (job["task"], job["payload"])
