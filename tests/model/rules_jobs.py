"""Producers and upkeep: what these scripts do, said in plain Python, one function per script, on a
World.

Each takes the arguments of its namesake in taskq.commands and gives the reply that command parses,
or raises its error. Written from the promises in the scripts' headers, not from their code.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskq.commands import Buried, Enqueued, NewJob, Reaped
from taskq.errors import JobConflict, QueueFull
from tests.model.rules_workers import RSS, SLOTS
from tests.model.world import DEAD_KEEP_MS, World


def when(word: str, now: int) -> int | None:
    if word == "":
        return None
    return now + int(word[1:]) if word[0] == "+" else int(word)


def enqueue(world: World, jobs: Sequence[NewJob], max_jobs: int, all_or_none: bool) -> Enqueued:
    fresh: dict[str, NewJob] = {}
    duplicates, conflicts = set(), set()
    for job in jobs:
        record = world.jobs.get(job.id)
        if record is None and job.id not in fresh:
            fresh[job.id] = job
            continue
        known = (record["task"], record["payload"]) if record else _recipe(fresh[job.id])
        (duplicates if known == _recipe(job) else conflicts).add(job.id)
        if conflicts and all_or_none:
            raise JobConflict(job.id)
    limit = int(world.meta.get("max_jobs", max_jobs))
    if (
        fresh
        and world.waiting({"", *(job.job_class for job in fresh.values())}) + len(fresh) > limit
    ):
        raise QueueFull("full")
    due: dict[str, int] = {}
    for job in fresh.values():
        at, deadline = when(job.at, world.now), when(job.deadline, world.now)
        later = at is not None and at > world.now
        record = world.jobs[job.id] = {
            "state": "scheduled" if later else "ready",
            "task": job.task,
            "payload": job.payload.decode(),
            "enqueued_ms": str(world.now),
        }
        if job.priority != 5:
            record["priority"] = str(job.priority)
        if deadline is not None:
            record["deadline_ms"] = str(deadline)
        if job.job_class:
            record["class"] = job.job_class
            world.classes.add(job.job_class)
        record.update(zip(map(str, job.extras[::2]), map(str, job.extras[1::2]), strict=True))
        if later and at is not None:
            due[job.id] = at
        else:
            world.ready(job.job_class)[job.id] = world.rank(job.priority, deadline, world.now)
    world.wake_up(len(fresh) - len(due))
    world.add_due("scheduled", due)
    world.count("enqueued", len(fresh))
    return Enqueued(world.now, len(fresh), frozenset(duplicates), frozenset(conflicts))


def _recipe(job: NewJob) -> tuple[str, str]:
    return job.task, job.payload.decode()


def promote(world: World, limit: int) -> tuple[int, int]:
    moved = 0
    for home in ("scheduled", "retry"):
        for at, job_id in world.listed(home)[:limit]:
            if at > world.now:
                break
            del world.index(home)[job_id]
            job = world.jobs.get(job_id, {})
            if job.get("state") == home:
                deadline = when(job.get("deadline_ms", ""), world.now)
                job["state"] = "ready"
                rank = world.rank(int(job.get("priority", 5)), deadline, at)
                world.ready(job.get("class", ""))[job_id] = rank
                moved += 1
    world.wake_up(moved)
    world.count("promoted", moved)
    return moved, world.next_due()


def lost_workers(world: World, every_ms: int, grace_ms: int) -> list[str]:
    """Workers the next pass takes jobs from; the server may go through them in any order."""
    if not _pass_due(world, every_ms) or _amnesty(world, every_ms, grace_ms):
        return []
    silent = world.holders - world.alive.keys()
    since = {worker: int(world.suspects.get(worker, world.now + 1)) for worker in silent}
    return sorted(w for w in silent if since[w] <= world.now and world.now - since[w] >= grace_ms)


def _pass_due(world: World, every_ms: int) -> bool:
    last = int(world.meta.get("reaped_ms", -(10**15)))
    return world.now < last or world.now - last >= every_ms


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
    if not _pass_due(world, every_ms):
        return Reaped(every_ms - (world.now - int(world.meta["reaped_ms"])), [])
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
    for worker in lost:
        held = world.listed(f"running:{worker}")
        for _, job_id in held[: limit - seen]:
            seen += 1
            del world.index(f"running:{worker}")[job_id]
            job = world.jobs.get(job_id, {})
            if job.get("state") == "running" and job.get("worker") == worker:
                how = _last_seen(world, worker)
                word = _crash(world, job_id, worker, how, max_crashes, keep_ms)
                taken.append((job_id, word, worker))
        if not world.index(f"running:{worker}"):
            _forget_worker(world, worker)
        if seen == limit:
            wait = 0
            break
    world.meta["reaped_ms"] = str(world.now - (0 if wait else every_ms))
    world.meta.pop("slots", None)
    if slots:
        world.meta["slots"] = str(slots)
    _count_taken(world, [word for _, word, _ in taken], dead_max, keep_ms)
    return Reaped(wait, taken)


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
    taken: list[tuple[str, str, str]] = []
    for _, job_id in world.listed(f"running:{worker}")[:limit]:
        del world.index(f"running:{worker}")[job_id]
        job = world.jobs.get(job_id, {})
        if job.get("state") == "running" and job.get("worker") == worker:
            word = _crash(world, job_id, worker, how, max_crashes, keep_ms)
            taken.append((job_id, word, worker))
    more = bool(world.index(f"running:{worker}"))
    if not more:
        _forget_worker(world, worker)
    _count_taken(world, [word for _, word, _ in taken], dead_max, keep_ms)
    return Buried(more, taken)


def _forget_worker(world: World, worker: str) -> None:
    world.holders.discard(worker)
    world.suspects.pop(worker, None)
    world.vitals.pop(worker, None)
    world.cancels.pop(worker, None)


def _last_seen(world: World, worker: str) -> str:
    return f"; {RSS / 1e6:.0f} MB at its last heartbeat" if worker in world.vitals else ""


def _count_taken(world: World, words: list[str], dead_max: int, keep_ms: int) -> None:
    if "DEAD" in words:
        world.trim("dead", DEAD_KEEP_MS, dead_max, 2 * words.count("DEAD") + 10)
    if "CANCELLED" in words:
        world.last_until("done", keep_ms)
    world.wake_up(words.count("READY"))
    world.count("crashed", len(words))
    world.count("dead", words.count("DEAD"))
    world.count("cancelled", words.count("CANCELLED"))


def _crash(world: World, job_id: str, worker: str, how: str, max_crashes: int, keep_ms: int) -> str:
    """The worker of a job died: what becomes of the job."""
    job = world.jobs[job_id]
    crashes = int(job.get("crashes", 0)) + 1
    if "cancel" in job:
        world.end(job_id, "cancelled", keep_ms, crashes=str(crashes))
        world.announce(job, job_id, "cancelled")
        return "CANCELLED"
    if crashes >= max_crashes:
        error = f"WorkerLost: worker {worker} died while it ran this job (crash {crashes}){how}"
        fields = {"crashes": str(crashes), "reason": "worker_lost", "error": error}
        world.end(job_id, "dead", DEAD_KEEP_MS, **fields)
        world.announce(job, job_id, "dead", f"worker_lost\n{error}")
        world.dead_by_crash += 1
        return "DEAD"
    job.update(state="ready", crashes=str(crashes))
    if crashes >= max_crashes - 1:
        job["class"] = "fragile"
        world.classes.add("fragile")
    world.ready(job.get("class", ""))[job_id] = int(job["rank"])
    return "READY"
