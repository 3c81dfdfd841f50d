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

from tests.model.world import ENDED, Record, Value, alike

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
        return f"ready:{job['class']}" if "class" in job else "ready"
    if state == "running":
        return f"running:{job['worker']}"
    return _HOMES.get(state, "")


def check_alone(now: Snapshot, tampered: Collection[str]) -> None:
    """What must hold of every look. `tampered`: ids whose keys were damaged by hand on purpose."""
    _check_homes(now, tampered)
    _check_lives(now)
    _check_workers(now)
    wake = now.keys.get("wake", 0)
    assert isinstance(wake, int), "the wake list holds no tokens"
    assert wake <= 4, f"{wake} wake tokens"
    for name, content in now.keys.items():
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
        assert jobs[job_id]["state"] in (*ENDED, "ready", "scheduled", "retry", "running")
        home = home_of(jobs[job_id])
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
        wanted = kind in ("dead", "done", "alive") or name.startswith("stats:")
        assert kind == "job" or (name in now.ttl) == wanted, f"{name}: TTL {now.ttl.get(name)}"


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


def check_claims(
    before: Snapshot, now: Snapshot, claims: Any, limit: int, slots: dict[str, int]
) -> None:
    """What must hold of any claim: nothing granted that was due to expire or while paused, in the
    order of rank, no more than asked for, and nothing better left behind.
    """
    word, now_ms, granted = claims[0], claims[1], claims[5]
    assert not granted or (word == "OK" and "paused" not in now.hash("meta"))
    for job in granted:
        if job.get("on_miss") != "run":
            assert int(job.get("deadline_ms", now_ms + 1)) > now_ms, f"{job['id']} is too late"
    names = {f"ready:{name}" if name else "ready": room for name, room in slots.items()}
    gone: dict[str, list[tuple[float, str]]] = {}
    for name, room in names.items():
        was, left = before.index(name), now.index(name)
        gone[name] = sorted((rank, job_id) for job_id, rank in was.items() if job_id not in left)
        assert len(gone[name]) <= room, f"{len(gone[name])} from {name}, room for {room}"
    taken = sorted(one for ones in gone.values() for one in ones)
    assert len(taken) <= limit
    ids = {job["id"] for job in granted}
    order = [job_id for _, job_id in taken if job_id in ids]
    assert [job["id"] for job in granted] == order, "not in the order of rank"
    for name, room in names.items() if word == "OK" else ():
        left_behind = [(rank, job_id) for job_id, rank in now.index(name).items()]
        if left_behind and len(gone[name]) < room:
            assert len(taken) == limit, f"{name} has jobs and the worker has room"
            assert not taken or min(left_behind) > taken[-1], "a better job was left behind"
        assert not left_behind or not gone[name] or min(left_behind) > gone[name][-1]
