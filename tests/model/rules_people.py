"""People: what these scripts do, said in plain Python, one function per script, on a World.

Each takes the arguments of its namesake in taskq.commands and gives the reply that command parses,
or raises its error. Written from the promises in the scripts' headers, not from their code.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskq.commands import Outcome, QueueStats
from taskq.errors import JobNotFound, LeaseLost, WrongState
from tests.model.rules_limits import Ties, leave_home, leave_parked, note_blocked
from tests.model.rules_order import Shares
from tests.model.rules_workers import SLOTS, owns
from tests.model.world import ENDED, World, of_class

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
    ties = Ties(world)
    ties.note(job_id, ends=True)
    ties.plan()
    leave_home(world, job_id)
    world.end(job_id, "cancelled", keep_ms)
    world.last_until("done", keep_ms)
    ties.settle()
    world.count("cancelled", 1)
    world.announce(job, job_id, "cancelled")
    return True


def revive(world: World, ids: Sequence[str]) -> dict[str, str]:
    before = {job_id: world.jobs.get(job_id, {}).get("state", "NOT_FOUND") for job_id in ids}
    words, revived, shares = {}, [], Shares(world)
    for job_id in ids:
        words[job_id] = before[job_id]
        if job_id in revived or before[job_id] not in ("dead", "expired", "cancelled"):
            continue
        words[job_id] = "READY"
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
        kept |= {"timeout_ms", "class", "group", "key", "cost", "limits", "tied", "charged"}
        parts = [part for part in job.pop("class", "").split("+") if part not in ("", "fragile")]
        if parts:
            job["class"] = "+".join(parts)
        world.jobs[job_id] = {name: value for name, value in job.items() if name in kept}
        world.jobs[job_id]["state"] = "ready"
        world.expiry.pop(f"job:{job_id}")
        world.index("dead").pop(job_id, None)
        world.index("done").pop(job_id, None)
        job = world.jobs[job_id]
        world.ready(job.get("class", ""))[job_id] = shares.rank(job, None, world.now)
        revived.append(job_id)
    shares.close()
    world.wake_each(world.jobs[job_id].get("class", "") for job_id in revived)
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
    home, ties = index.partition(":")[0], Ties(world)
    state = {"turned": "ready"}.get(home, home)
    at_home = []
    for score, job_id in members:
        job = world.jobs.get(job_id, {})
        if home in ("dead", "done"):
            ours = job.get("ended_ms") == f"{score:.0f}"
        else:
            ours = job.get("state") == state
            if ours:
                ties.note(job_id, ends=True)
        if ours:
            at_home.append(job_id)
    ties.plan()
    for job_id in at_home:
        world.live_lost += home not in ("dead", "done")
        if home == "blocked":
            leave_parked(world, job_id)
        world.announce(world.jobs[job_id], job_id, "purged")
        world.forget_record(job_id)
    for _, job_id in members:
        del world.index(index)[job_id]
    if home == "blocked":
        note_blocked(world)
    ties.settle()
    world.count("purged", len(members))
    return len(members), len(world.index(index))


def pause(world: World) -> int:
    return int(world.meta.setdefault("paused", str(world.now)))


def resume(world: World) -> bool:
    for job_class in ("", *world.classes):
        if world.ready(job_class):
            world.wake_up(4, job_class)
    return world.meta.pop("paused", None) is not None


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
    classes = {
        name: len(world.ready(name)) + len(world.index(of_class("turned", name)))
        for name in world.classes
    }
    holders = {worker: len(world.index(f"running:{worker}")) for worker in world.holders}
    parked = {}
    ticks: dict[str, float] = {}
    for member in world.index("timers"):
        kind, _, instance = member.partition(":")
        if kind == "cron":
            ticks[instance] = float(world.index("timers")[member])
        if kind == "limit" and world.index(f"parked:{instance}"):
            parked[instance] = len(world.index(f"parked:{instance}"))
    jobs = {name: len(world.index(name)) for name in ("scheduled", "retry", "dead", "done")}
    jobs["ready"] = len(world.ready("")) + len(world.index("turned")) + sum(classes.values())
    jobs["running"], jobs["blocked"] = sum(holders.values()), len(world.index("blocked"))
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
    due, meta, limits = world.next_job_due(), dict(world.meta), dict(world.hash("limits"))
    return QueueStats(
        world.now, jobs, classes, workers, meta, counters, due, head, slots, parked, limits, ticks
    )
