"""Producers: what enqueue does, said in plain Python on a World.

The reply is the words of the script, as lists of text: written from the promises in its header, not
from its code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from taskq.commands import NewJob
from tests.model.rules_limits import Ties, leave_home
from tests.model.rules_order import Shares, lowest
from tests.model.rules_unique import Keys
from tests.model.world import Record, World, when

KEPT_MS = 3_600_000
Reply = tuple[object, ...]


class Refused(Exception):
    """Nothing was written; the words of the reply."""

    def __init__(self, *words: object) -> None:
        super().__init__(*words)
        self.words = words


@dataclass
class Plan:
    """A job to create."""

    job: NewJob
    record: Record
    orders: Record
    at: int | None = None
    deadline: int | None = None


@dataclass
class Call:
    """What is found out before anything is written."""

    world: World
    keys: Keys
    fresh: list[Plan] = field(default_factory=list)
    odd: list[tuple[str, str]] = field(default_factory=list)
    ticks: dict[str, float] = field(default_factory=dict)


def enqueue(world: World, jobs: Sequence[NewJob], max_jobs: int, all_or_none: bool) -> Reply:
    try:
        return _enqueue(world, jobs, max_jobs, all_or_none)
    except Refused as refused:
        return refused.words


def _enqueue(world: World, jobs: Sequence[NewJob], max_jobs: int, all_or_none: bool) -> Reply:
    call = Call(world, Keys(world))
    for job in jobs:
        _look(call, job, all_or_none)
    served = {"", *(plan.job.job_class for plan in call.fresh)}
    waiting = world.waiting(served)
    plans = [plan for plan in call.fresh if _admitted(call, plan, all_or_none)]
    ends = [(job_id, "cancelled", "replaced") for job_id in call.keys.replaced]
    if plans:
        ends += _make_room(world, served, waiting, len(plans), max_jobs, call.keys.replaced)
    shares, due = Shares(world), {}
    ranks: dict[str, float] = {}
    for plan in plans:
        if plan.at is not None and plan.at > world.now:
            due[plan.job.id] = plan.at
        else:
            ranks[plan.job.id] = shares.rank(plan.record, plan.deadline, world.now)
    owed = _end_waiting(world, ends)
    for plan in plans:
        job_id, job_class = plan.job.id, plan.job.job_class
        world.jobs[job_id] = plan.record
        world.know_class(job_class)
        if job_id in ranks:
            world.ready(job_class)[job_id] = ranks[job_id]
    shares.close(owed)
    call.keys.keep()
    for member, at in call.ticks.items():
        world.set_timer(member, at)
    world.wake_each(plan.job.job_class for plan in plans if plan.job.id not in due)
    world.add_due("scheduled", due)
    world.count("enqueued", len(plans))
    return ("OK", world.now, len(plans), call.odd)


def _look(call: Call, job: NewJob, all_or_none: bool) -> None:
    """Is it new? Is its key free, its tick not fired?"""
    world = call.world
    names = [str(name) for name in job.extras[::2]]
    extras = dict(zip(names, map(str, job.extras[1::2]), strict=True))
    known = world.jobs.get(job.id)
    for plan in call.fresh:
        if plan.job.id == job.id:
            known = plan.record
    fired = False
    if "@tick" in extras:
        schedule, expected, following = extras["@tick"].split()
        fired = world.index("timers").get(f"cron:{schedule}") != float(expected)
        if not fired:
            call.ticks[f"cron:{schedule}"] = float(following)
    if known:
        same = (known["task"], known["payload"]) == (job.task, job.payload.decode())
        if not same and all_or_none:
            raise Refused("CONFLICT", job.id)
        call.odd.append((job.id, "DUP" if same else "CONFLICT"))
        return
    if fired:
        call.odd.append((job.id, "TICKED"))
        return
    for struck in ("*", job.task):
        if f" {struck} " in world.meta.get("struck", ""):
            raise Refused("STRUCK", struck)
    if "@unique" in extras and "key" in extras:
        mode, on_duplicate = extras["@unique"].split()
        owner = call.keys.claim(extras["key"], job.id, mode, on_duplicate, job.at)
        if owner:
            call.odd.append((job.id, f"KEPT {owner}"))
            return
    call.fresh.append(_plan(world, job, extras))


def _plan(world: World, job: NewJob, extras: Record) -> Plan:
    at, deadline = when(job.at, world.now), when(job.deadline, world.now)
    record = {name: value for name, value in extras.items() if name[0] != "@"}
    record |= {
        "state": "scheduled" if at is not None and at > world.now else "ready",
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
    if "key" in record:
        record["tied"] = "1"
    orders = {name: value for name, value in extras.items() if name[0] == "@"}
    return Plan(job, record, orders, at, deadline)


def _admitted(call: Call, plan: Plan, all_or_none: bool) -> bool:
    """The predicted start of a job that asks for it; False when that is too late for it."""
    world, wants = call.world, plan.orders.get("@admit")
    if wants is None:
        return True
    start, mean = max(plan.at or 0, world.now), world.hash("averages").get("*")
    # Slots are those of the last pass of the reaper; after a minute nobody knows.
    counted = world.now - int(world.meta.get("reaped_ms", 0)) < 60_000
    slots = int(world.meta.get("slots", 0)) if counted else 0
    if start == world.now and mean and slots > 0:
        start += math.floor(_ahead(world, call, plan) * float(mean) / slots)
    if wants == "reject" and plan.deadline is not None and start >= plan.deadline:
        if all_or_none:
            raise Refused("LATE", plan.job.id, str(start), str(plan.deadline))
        call.keys.forget(plan.job.id)
        call.odd.append((plan.job.id, f"LATE {start}"))
        return False
    call.odd.append((plan.job.id, f"START {start}"))
    return True


def _ahead(world: World, call: Call, plan: Plan) -> int:
    """Ready jobs of its class that go before it, by its rank."""
    shares = Shares(world)
    for other in call.fresh:
        if other.at is not None and other.at > world.now:
            continue
        late = (other.job.id, "LATE") in [(i, word[:4]) for i, word in call.odd]
        if late:
            continue
        rank = shares.rank(dict(other.record), other.deadline, world.now)
        if other is plan:
            break
    return sum(score <= rank for score in world.ready(plan.job.job_class).values())


def _make_room(
    world: World, served: set[str], waiting: int, new: int, max_jobs: int, replaced: list[str]
) -> list[tuple[str, str, str]]:
    """A full queue refuses, or drops the oldest of its least urgent jobs."""
    most = int(world.meta.get("max_jobs", max_jobs))
    over = waiting - len(replaced) + new - most
    if over <= 0:
        return []
    dropped = []
    if world.meta.get("on_full") == "drop_oldest":
        dropped = lowest(world, served, over, replaced)
    if len(dropped) < over:
        raise Refused("FULL", waiting, most, world.meta.get("on_full", "reject"))
    return [(job_id, "expired", "dropped") for job_id in dropped]


def _end_waiting(world: World, ends: list[tuple[str, str, str]]) -> dict[str, float]:
    """Jobs that make room for others end, and let go of what they have; what groups get back."""
    if not ends:
        return {}
    ties = Ties(world)
    for job_id, _, _ in ends:
        ties.note(job_id, ends=True)
    ties.plan()
    for job_id, state, reason in ends:
        leave_home(world, job_id)
        world.end(job_id, state, KEPT_MS, reason=reason)
        world.announce(world.jobs[job_id], job_id, state, reason)
        world.count(state, 1)
    world.last_until("done", KEPT_MS)
    ties.settle()
    return ties.owed
