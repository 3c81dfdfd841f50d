"""People: what these scripts do, said in plain Python, one function per script, on a World.

Each takes the arguments of its namesake in taskq.commands and gives the reply that command parses,
or raises its error. Written from the promises in the scripts' headers, not from their code.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskq.commands import Outcome, QueueStats
from taskq.errors import JobNotFound, LeaseLost, WrongState
from tests.model.rules_workers import SLOTS, owns
from tests.model.world import ENDED, World

MAX_WAITERS = 20


def cancel(world: World, job_id: str, keep_ms: int, token: str, worker: str) -> bool:
    job = world.jobs.get(job_id)
    if job is None:
        raise JobNotFound(job_id)
    state = job["state"]
    if token and (state != "running" or not owns(job, token, worker)):
        raise LeaseLost(job_id)
    if state == "cancelled":
        return True
    if state in ENDED:
        raise WrongState(job_id, state=state)
    if state == "running" and not token:
        job["cancel"] = "1"
        world.cancels.setdefault(job["worker"], set()).add(job_id)
        return False
    home = {"running": f"running:{worker}", "ready": "ready"}.get(state, state)
    if state == "ready" and "class" in job:
        home = f"ready:{job['class']}"
    del world.index(home)[job_id]
    world.end(job_id, "cancelled", keep_ms)
    world.last_until("done", keep_ms)
    world.count("cancelled", 1)
    world.announce(job, job_id, "cancelled")
    return True


def revive(world: World, ids: Sequence[str]) -> dict[str, str]:
    before = {job_id: world.jobs.get(job_id, {}).get("state", "NOT_FOUND") for job_id in ids}
    words, revived = {}, set()
    for job_id in ids:
        words[job_id] = before[job_id]
        if job_id in revived or before[job_id] not in ("dead", "expired", "cancelled"):
            continue
        words[job_id] = "READY"
        revived.add(job_id)
        job = world.jobs[job_id]
        kept = {
            "task",
            "payload",
            "enqueued_ms",
            "priority",
            "token",
            "progress",
            "note",
            "on_miss",
        }
        kept |= {"timeout_ms", "class"}
        if job.get("class") == "fragile":
            del job["class"]
        world.jobs[job_id] = {name: value for name, value in job.items() if name in kept}
        world.jobs[job_id]["state"] = "ready"
        world.expiry.pop(f"job:{job_id}")
        world.index("dead").pop(job_id, None)
        world.index("done").pop(job_id, None)
        world.ready(job.get("class", ""))[job_id] = world.rank(
            int(job.get("priority", 5)), None, world.now
        )
    world.wake_up(len(revived))
    world.count("revived", len(revived))
    return words


def forget(world: World, ids: Sequence[str]) -> dict[str, str]:
    words, removed = {}, 0
    before = {job_id: world.jobs.get(job_id, {}).get("state", "NOT_FOUND") for job_id in ids}
    for job_id in ids:
        words[job_id] = before[job_id]
        if before[job_id] in ENDED:
            words[job_id] = "GONE"
            world.index("dead").pop(job_id, None)
            world.index("done").pop(job_id, None)
            removed += world.forget_record(job_id)
    world.count("forgotten", removed)
    return words


def purge(world: World, index: str, limit: int) -> tuple[int, int]:
    """Only records the index is the home of go; what is listed there by mistake just leaves the
    list.
    """
    members = world.listed(index)[:limit]
    for score, job_id in members:
        del world.index(index)[job_id]
        job = world.jobs.get(job_id, {})
        if index in ("dead", "done"):
            at_home = job.get("ended_ms") == str(score)
        else:
            at_home = job.get("state") == index.partition(":")[0]
        if at_home:
            world.live_lost += index not in ("dead", "done")
            world.forget_record(job_id)
            world.announce(job, job_id, "purged")
    world.count("purged", len(members))
    return len(members), len(world.index(index))


def pause(world: World) -> int:
    return int(world.meta.setdefault("paused", str(world.now)))


def resume(world: World) -> bool:
    if world.ready(""):
        world.wake_up(4)
    return world.meta.pop("paused", None) is not None


def configure(world: World, settings: dict[str, str]) -> int:
    changed = {name for name, value in settings.items() if world.meta.get(name, "") != value}
    world.meta.update(settings)
    for name in settings:
        if world.meta[name] == "":
            del world.meta[name]
    return len(changed)


def watch(world: World, job_id: str, channel: str) -> Outcome:
    job = world.jobs.get(job_id)
    if job is None:
        return Outcome("not_found")
    if job["state"] in ENDED:
        words = [job.get(name, "") for name in ("result", "reason", "error", "traceback")]
        return Outcome(job["state"], words[0].encode(), *words[1:])
    if channel:
        others = [name for name in job.get("waiters", "").split() if name != channel]
        job["waiters"] = " ".join([channel, *others][:MAX_WAITERS])
    return Outcome("pending")


def stats(world: World) -> QueueStats:
    classes = {name: len(world.ready(name)) for name in world.classes}
    holders = {worker: len(world.index(f"running:{worker}")) for worker in world.holders}
    jobs = {name: len(world.index(name)) for name in ("scheduled", "retry", "dead", "done")}
    jobs["ready"] = len(world.ready("")) + sum(classes.values())
    jobs["running"], jobs["blocked"] = sum(holders.values()), 0
    slots = {worker: SLOTS if worker in world.vitals else 0 for worker in world.holders}
    workers = {}
    for worker, count in holders.items():
        word = "suspect" if worker in world.suspects else "silent"
        workers[worker] = (count, "alive" if worker in world.alive else word)
    head = None
    if world.ready(""):
        rank, job_id = world.listed("ready")[0]
        head = (job_id, float(rank), int(world.jobs.get(job_id, {}).get("enqueued_ms", 0)))
    counters = {name: n for name, n in world.stats.items() if n}
    due = world.next_due()
    meta = dict(world.meta)
    return QueueStats(world.now, jobs, classes, workers, meta, counters, due, head, slots, {}, {})
