"""Limits, and whatever else a job lets go of: places, its unique key, its group's account.

A job runs when it has a place under all of its limits, and is parked beside the first that has
none. A place that comes free wakes the best job parked there; so does time, for rates.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import NamedTuple

from taskq.rank import BAND, cost_of
from tests.model.world import ENDED, SHARES_TTL_MS, Record, World, of_class

#: Jobs that promote takes from beside limits in one call.
MOST_WOKEN = 100


class Bound(NamedTuple):
    """A limit: places, and the time between two starts, us."""

    places: int | None = None
    every: int | None = None
    burst: int = 0


def bound_of(world: World, name: str) -> Bound | None:
    """The limit of that name; None when there is none (any more). `key:` limits are built in."""
    words = world.hash("limits").get(name)
    if words is None:
        return Bound(1) if name.startswith("key:") else None
    parts = dict(word.split("=") for word in words.split())
    every = int(parts["every_us"]) if "every_us" in parts else None
    places = int(parts["concurrency"]) if "concurrency" in parts else None
    return Bound(places, every, int(parts.get("burst_us", 0)))


def limits_of(world: World, job: Record) -> dict[str, str]:
    """Instance to name of all limits a job is under: the queue's, its task's, its group's, its
    own.
    """
    found: dict[str, str] = {}
    on = ["queue", f"task.{job['task']}"]
    if "group" in job:
        on.append(f"group.{job['group']}")
    for scope in on:
        for name, words in world.hash("limits").items():
            if f"on={scope}" in words.split():
                found.setdefault(name, name)
    for word in job.get("limits", "").split():
        name, _, instance = word.rpartition("|")
        found.setdefault(instance, name or instance)
    return found


class Book:
    """The places given away in one call. `ties`: what the same call lets go."""

    def __init__(self, world: World, ties: Ties) -> None:
        self.world, self.ties = world, ties
        self.granted: Counter[str] = Counter()

    def blocker(self, job: Record) -> tuple[str, float] | None:
        """The first instance without room, and from when it may have some, ms."""
        world = self.world
        for instance, name in limits_of(world, job).items():
            bound = bound_of(world, name)
            if bound is None:
                continue
            taken = len(world.holding.get(instance, ())) - self.ties.freed[instance]
            if bound.places is not None and taken >= bound.places:
                return instance, math.inf
            earliest = world.rates.get(instance, 0) - bound.burst
            if bound.every and world.now_us < earliest:
                return instance, math.ceil(earliest / 1000)
        return None

    def grant(self, job_id: str) -> None:
        """A place under each."""
        world, job = self.world, self.world.jobs[job_id]
        holds = []
        for instance, name in limits_of(world, job).items():
            bound = bound_of(world, name)
            if bound is None:
                continue
            if bound.places is not None:
                holds.append(instance)
                world.holding.setdefault(instance, set()).add(job_id)
                # The place that it was woken for is not one of those that come free now.
                self.granted[instance] += job.get("awaits") != instance
            if bound.every:
                arrival = max(world.now_us, world.rates.get(instance, 0)) + bound.every
                world.rates[instance] = arrival
                left = math.ceil((arrival - world.now_us) / 1000)
                world.expiry[f"rate:{instance}"] = world.now + left
        if holds:
            job.setdefault("tied", "holds")
            job["holds"] = " ".join(holds)
        job.pop("awaits", None)


def park(world: World, job_id: str, rank: float, instance: str, due: float) -> None:
    """A job waits beside the limit that blocks it, at its rank."""
    job, timers = world.jobs[job_id], world.index("timers")
    job.update(state="blocked", rank=f"{rank:.17g}", blocked_by=instance, awaits=instance, tied="1")
    world.index("blocked")[job_id] = rank
    world.index(f"parked:{instance}")[job_id] = rank
    if due < math.inf:
        timers[f"limit:{instance}"] = due
    else:
        timers.setdefault(f"limit:{instance}", math.inf)
    note_blocked(world)


def note_blocked(world: World) -> None:
    world.meta["blocked"] = str(len(world.index("blocked")))
    world.note_timer()


def unpark(world: World, wakes: list[tuple[str, str]], again: set[str]) -> None:
    """Jobs come back to ready, at their rank. `again`: limits to look at once more at once."""
    classes = []
    later = set()
    for job_id, instance in wakes:
        rank = world.index(f"parked:{instance}").pop(job_id)
        job = world.jobs.get(job_id, {})
        if job.get("state") == "blocked" and job.get("blocked_by") == instance:
            del job["blocked_by"], world.index("blocked")[job_id]
            job["state"] = "ready"
            job_class = job.get("class", "")
            if is_outdated(world.meta.get("policy", "strict"), rank):
                world.index(of_class("turned", job_class))[job_id] = rank
                world.index("timers")["turn"] = world.now
                world.meta["turning"] = "1"
                job_class = ""
            else:
                world.ready(job_class)[job_id] = rank
            classes.append(job_class)
            if job_class:
                later.add(instance)
    for _, instance in wakes:
        if not world.index(f"parked:{instance}"):
            world.index("timers").pop(f"limit:{instance}", None)
            again.discard(instance)
            later.discard(instance)
    for instance in later:
        timers = world.index("timers")
        at = timers.get(f"limit:{instance}")
        timers[f"limit:{instance}"] = world.now + 1000 if at is None else min(at, world.now + 1000)
    if later and "" not in classes:
        classes.append("")
    for instance in again:
        world.index("timers")[f"limit:{instance}"] = world.now
    world.wake_each([*classes, *[""][: len(again)]])
    note_blocked(world)


def is_outdated(policy: str, rank: float) -> bool:
    """A rank of an older policy that would come after all of this one's."""
    if policy == "aging":
        return rank >= BAND
    return policy == "fair" and rank % BAND >= 10**12


def leave_home(world: World, job_id: str) -> None:
    """A live job leaves the index it is in."""
    job = world.jobs[job_id]
    state, suffix = job["state"], f":{job['class']}" if "class" in job else ""
    if state == "running":
        del world.index(f"running:{job['worker']}")[job_id]
    elif state == "ready":
        home = f"ready{suffix}" if job_id in world.index(f"ready{suffix}") else f"turned{suffix}"
        del world.index(home)[job_id]
    else:
        del world.index(state)[job_id]
    if state == "blocked":
        leave_parked(world, job_id)


def leave_parked(world: World, job_id: str) -> None:
    """It waits for its limit no more; a limit that blocks nobody needs no timer."""
    instance = world.jobs[job_id]["blocked_by"]
    del world.index(f"parked:{instance}")[job_id]
    if not world.index(f"parked:{instance}"):
        del world.index("timers")[f"limit:{instance}"]
    note_blocked(world)


class Ties:
    """What the jobs that end, or go back, in one call let go. First note them as they were, then
    plan, then change them, then settle.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.freed: Counter[str] = Counter()
        """Places that running jobs had."""
        self.woken: Counter[str] = Counter()
        """Places that jobs were woken for and will not take."""
        self.held: list[str] = []
        self.locks: list[str] = []
        self.owed: dict[str, float] = {}
        self.wakes: list[tuple[str, str]] = []
        self.again: set[str] = set()

    def note(self, job_id: str, *, ends: bool, ran: bool = True) -> None:
        """`ends`: for good. `ran`: not given back, as if it never had."""
        world, job = self.world, self.world.jobs[job_id]
        if job["state"] == "running":
            self.freed.update(job.get("holds", "").split())
            self.held.append(job_id)
        elif job["state"] == "ready" and "awaits" in job:
            self.woken[job["awaits"]] += 1
        self._note_charge(job_id, ran=ran)
        key = job.get("key", "")
        if ends and key and world.locks.get(key) == job_id and f"unique:{key}" not in world.expiry:
            self.locks.append(key)

    def _note_charge(self, job_id: str, *, ran: bool) -> None:
        """The group was charged an estimate; the run took longer, or not so long, or never was.
        Not `ran`: that is settled when it has run again.
        """
        world, job = self.world, self.world.jobs[job_id]
        if "charged" not in job:
            return
        spent = 0.0
        if job["state"] == "running":
            took = world.now - int(job["started_ms"])
            if took < 0 or not ran or "unit_ms" not in world.meta:
                return
            spent = cost_of(took, float(world.meta["unit_ms"]))
        elif job["state"] not in ("ready", "blocked"):
            return
        group = job.get("group", "")
        weight = float(world.hash("weights").get(group, 1))
        owed = (spent - float(job["charged"])) / weight
        self.owed[group] = self.owed.get(group, 0) + owed

    def plan(self, granted: Counter[str] | None = None) -> None:
        """Whom the places wake that this call does not give away again."""
        places = self.freed + self.woken
        places.subtract(granted or {})
        for instance, free in places.items():
            if free <= 0:
                continue
            parked = self.world.listed(f"parked:{instance}")[:free]
            self.wakes += [(job_id, instance) for _, job_id in parked]
            for _, job_id in parked:
                if self.world.jobs.get(job_id, {}).get("blocked_by") != instance:
                    self.again.add(instance)

    def settle(self) -> None:
        world = self.world
        for job_id in self.held:
            if world.jobs.get(job_id, {"state": "dead"})["state"] not in ENDED:
                world.jobs[job_id].pop("holds", None)
        for instance in self.freed:
            world.holding[instance].difference_update(self.held)
        for key in self.locks:
            del world.locks[key]
        shares = world.index("shares")
        for group, owed in self.owed.items():
            if group in shares:
                shares[group] += owed
            elif owed > 0:
                shares[group] = float(world.meta.get("vtime", 0)) + owed
                world.expiry["shares"] = world.now + SHARES_TTL_MS
        if self.wakes:
            unpark(world, self.wakes, self.again)


def limits_due(world: World) -> None:
    """Time came for limits: as many jobs come back as may start now, and the next time is noted."""
    due = [(at, member) for at, member in world.listed("timers")[:100] if at <= world.now]
    wakes: list[tuple[str, str]] = []
    for _, member in due:
        kind, _, instance = member.partition(":")
        if kind != "limit":
            continue
        parked = [job_id for _, job_id in world.listed(f"parked:{instance}")]
        if not parked:
            del world.index("timers")[member]
            continue
        room, again = _room_now(world, instance, parked)
        if room > MOST_WOKEN - len(wakes):
            room, again = MOST_WOKEN - len(wakes), world.now
        wakes += [(job_id, instance) for job_id in parked[:room]]
        world.index("timers")[member] = again
    if wakes:
        unpark(world, wakes, set())


def _room_now(world: World, instance: str, parked: list[str]) -> tuple[int, float]:
    """How many of the parked jobs may come, and when to look again."""
    names = limits_of(world, world.jobs.get(parked[0], {"task": ""}))
    bound = bound_of(world, names[instance]) if instance in names else None
    if bound is None:
        return len(parked), world.now
    room, again = len(parked), math.inf
    if bound.places is not None:
        room = min(room, max(0, bound.places - len(world.holding.get(instance, ()))))
    if bound.every:
        first = max(world.now_us, world.rates.get(instance, 0)) - bound.burst
        starts = 0 if world.now_us < first else (world.now_us - first) // bound.every + 1
        if starts <= room:
            room, again = starts, math.ceil((first + starts * bound.every) / 1000)
    return room, again


def limit(
    world: World,
    definitions: Record,
    *,
    gently: bool = False,
    again: bool = False,
    strike: str = "",
) -> tuple[int, int]:
    """Write limits ('' removes one); what waits for one that changed is looked at now."""
    limits, timers, woken = world.hash("limits"), world.index("timers"), set()
    changed = 0
    for name, words in definitions.items():
        if gently and "by=hand" in limits.get(name, "").split():
            continue
        same = limits.get(name, "") == words
        changed += not same
        if not same or again:
            woken |= {member for member in timers if _is_of(member, name)}
        limits[name] = words
        if not words:
            del limits[name]
    if changed:
        world.meta.pop("limited", None)
        scopes = [(on_of(words), name) for name, words in limits.items()]
        if limits:
            parts = ["1", *(f"{on}={name}" for on, name in scopes if on != "job")]
            world.meta["limited"] = " ".join(parts)
    if strike:
        struck = [task for task in world.meta.pop("struck", "").split() if task != strike[1:]]
        struck += [strike[1:]] if strike[0] == "+" else []
        if struck:
            world.meta["struck"] = f" {' '.join(struck)} "
    # A template's instances only when they are not due yet; of one by name, the time is set anew.
    for member in woken:
        timers[member] = world.now
    if woken:
        world.note_timer()
        world.wake_up(len(woken))
    return changed, -1


def on_of(words: str) -> str:
    return dict(word.split("=") for word in words.split()).get("on", "job")


def _is_of(member: str, name: str) -> bool:
    """Is that the timer of an instance of that limit?"""
    pattern = re.sub(r"\\\{.*?\\\}", ".+", re.escape(name))
    return re.fullmatch(f"limit:{pattern}", member) is not None
