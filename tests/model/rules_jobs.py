"""Upkeep: what these scripts do, said in plain Python, one function per script, on a
World.

Each takes the arguments of its namesake in taskq.commands and gives the reply that command parses,
or raises its error. Written from the promises in the scripts' headers, not from their code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from taskq.commands import Buried, Reaped
from tests.model.rules_limits import Ties, limits_due
from tests.model.rules_order import Shares, turn
from tests.model.rules_workers import RSS, SLOTS, pass_due
from tests.model.world import DEAD_KEEP_MS, Record, World, when


def promote(world: World, limit: int, classes: Sequence[str]) -> tuple[int, int]:
    """`classes`: in the order in which turned jobs are gone through."""
    moved, shares = [], Shares(world)
    for home in ("scheduled", "retry"):
        for at, job_id in world.listed(home)[:limit]:
            if at > world.now:
                break
            del world.index(home)[job_id]
            job = world.jobs.get(job_id, {})
            if job.get("state") == home:
                job["state"] = "ready"
                job_class = job.get("class", "")
                deadline = when(job.get("deadline_ms", ""), world.now)
                world.ready(job_class)[job_id] = shares.rank(job, deadline, at)
                moved.append(job_class)
    world.count("promoted", len(moved))
    jobs = len(moved)
    if int(world.meta.get("timer_ms", world.now + 1)) <= world.now:
        turning = world.index("timers").get("turn", math.inf) <= world.now
        limits_due(world)
        if turning:
            moved += turn(world, shares, classes)
        world.note_timer()
    shares.close()
    world.wake_each(moved)
    return jobs, world.next_due()


def lost_workers(world: World, every_ms: int, grace_ms: int) -> list[str]:
    """Workers the next pass takes jobs from; the server may go through them in any order."""
    if not pass_due(world, every_ms) or _amnesty(world, every_ms, grace_ms):
        return []
    silent = world.holders - world.alive.keys()
    since = {worker: int(world.suspects.get(worker, world.now + 1)) for worker in silent}
    return sorted(w for w in silent if since[w] <= world.now and world.now - since[w] >= grace_ms)


def _amnesty(world: World, every_ms: int, grace_ms: int) -> bool:
    """Nobody looked for a while: the server was away, and a missing heartbeat proves nothing."""
    last = int(world.meta.get("reaped_ms", -(10**15)))
    return world.now < last or world.now - last > 3 * every_ms + grace_ms


def reap(
    world: World,
    every_ms: int,
    grace_ms: int,
    max_crashes: int,
    dead_max: int,
    keep_ms: int,
    limit: int,
    lost: Sequence[str],
) -> Reaped:
    """`lost`: lost_workers(), in the order in which they are looked at."""
    if not pass_due(world, every_ms):
        rest = every_ms - (world.now - int(world.meta["reaped_ms"]))
        return Reaped(rest if world.suspects else -1, [])
    amnesty, wait = _amnesty(world, every_ms, grace_ms), every_ms
    slots = SLOTS * len(world.holders & world.alive.keys() & world.vitals.keys())
    for worker in sorted(world.holders - world.alive.keys() - set(lost)):
        since = int(world.suspects.get(worker, world.now + 1))
        if amnesty or since > world.now:
            since = world.now
            world.suspects[worker] = str(since)
        wait = min(wait, grace_ms - (world.now - since))
    taken: list[tuple[str, str, str]] = []
    seen = 0
    look = _Look(world, max_crashes, keep_ms)
    for worker in lost:
        seen += look.at(worker, limit - seen)
        if seen == limit:
            break
    look.ties.plan()
    seen = 0
    for worker in lost:
        how = _last_seen(world, worker)
        part, count = look.take(worker, how)
        taken, seen = taken + part, seen + count
        if not world.index(f"running:{worker}"):
            _forget_worker(world, worker)
        if seen == limit:
            wait = 0
            break
    world.meta["reaped_ms"] = str(world.now + wait - every_ms)
    world.meta.pop("slots", None)
    if slots:
        world.meta["slots"] = str(slots)
    look.close(dead_max)
    return Reaped(wait if world.suspects or not wait else -1, taken)


def bury(
    world: World,
    worker: str,
    how: str,
    max_crashes: int,
    dead_max: int,
    keep_ms: int,
    limit: int,
) -> Buried:
    """The worker's death was seen: no suspicion, no grace."""
    how = f"; {how}{_last_seen(world, worker)}"
    if worker in world.alive:
        world.drop(f"alive:{worker}")
    look = _Look(world, max_crashes, keep_ms)
    look.at(worker, limit)
    look.ties.plan()
    taken, _ = look.take(worker, how)
    more = bool(world.index(f"running:{worker}"))
    if not more:
        _forget_worker(world, worker)
    look.close(dead_max)
    return Buried(more, taken)


def _forget_worker(world: World, worker: str) -> None:
    world.holders.discard(worker)
    world.suspects.pop(worker, None)
    world.vitals.pop(worker, None)
    world.cancels.pop(worker, None)


def _last_seen(world: World, worker: str) -> str:
    return f"; {RSS / 1e6:.0f} MB at its last heartbeat" if worker in world.vitals else ""


class _Look:
    """The jobs of lost workers: first all are looked at, then they are taken back."""

    def __init__(self, world: World, max_crashes: int, keep_ms: int) -> None:
        self.world, self.max_crashes, self.keep_ms = world, max_crashes, keep_ms
        self.ties = Ties(world)
        self.words: list[str] = []
        self.back: list[str] = []
        self.found: dict[str, list[str]] = {}

    def at(self, worker: str, limit: int) -> int:
        ids = [job_id for _, job_id in self.world.listed(f"running:{worker}")[:limit]]
        self.found[worker] = ids
        for job_id in filter(lambda job_id: self._ours(job_id, worker), ids):
            ends = self._word(self.world.jobs[job_id]) != "READY"
            self.ties.note(job_id, ends=ends, ran=ends)
        return len(ids)

    def _ours(self, job_id: str, worker: str) -> bool:
        job = self.world.jobs.get(job_id, {})
        return job.get("state") == "running" and job.get("worker") == worker

    def _word(self, job: Record) -> str:
        """What becomes of a job whose worker died."""
        if "cancel" in job:
            return "CANCELLED"
        crashes = int(job.get("crashes", 0)) + 1
        return "DEAD" if crashes >= self.max_crashes else "READY"

    def take(self, worker: str, how: str) -> tuple[list[tuple[str, str, str]], int]:
        taken, ids = [], self.found.get(worker, [])
        for job_id in ids:
            ours = self._ours(job_id, worker)
            del self.world.index(f"running:{worker}")[job_id]
            if ours:
                word = self._word(self.world.jobs[job_id])
                self._crash(job_id, word, worker, how)
                taken.append((job_id, word, worker))
                self.words.append(word)
        return taken, len(ids)

    def _crash(self, job_id: str, word: str, worker: str, how: str) -> None:
        world, job = self.world, self.world.jobs[job_id]
        crashes = int(job.get("crashes", 0)) + 1
        if word == "CANCELLED":
            world.end(job_id, "cancelled", self.keep_ms, crashes=str(crashes))
            world.announce(job, job_id, "cancelled")
        elif word == "DEAD":
            error = f"WorkerLost: worker {worker} died while it ran this job (crash {crashes}){how}"
            fields = {"crashes": str(crashes), "reason": "worker_lost", "error": error}
            world.end(job_id, "dead", DEAD_KEEP_MS, **fields)
            world.announce(job, job_id, "dead", f"worker_lost\n{error}")
            world.dead_by_crash += 1
        else:
            job.update(state="ready", crashes=str(crashes))
            if crashes >= self.max_crashes - 1:
                job["class"] = _fragile(job.get("class", ""))
                world.know_class(job["class"])
            world.ready(job.get("class", ""))[job_id] = float(job["rank"])
            self.back.append(job.get("class", ""))

    def close(self, dead_max: int) -> None:
        world, words = self.world, self.words
        if "DEAD" in words:
            world.trim("dead", DEAD_KEEP_MS, dead_max, 2 * words.count("DEAD") + 10)
        if "CANCELLED" in words:
            world.last_until("done", self.keep_ms)
        self.ties.settle()
        world.wake_each(self.back)
        world.count("crashed", len(words))
        world.count("dead", words.count("DEAD"))
        world.count("cancelled", words.count("CANCELLED"))


def _fragile(job_class: str) -> str:
    """A job whose next crash would be its last runs alone; what else it needs, it still needs."""
    parts = [part for part in job_class.split("+") if part and part != "fragile"]
    return "+".join(["fragile", *parts])
