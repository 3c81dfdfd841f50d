"""Claim and ack: who gets which jobs, said in plain Python on a World.

Each takes the arguments of its namesake in taskq.commands and gives the reply that command parses.
Written from the promises in the scripts' headers, not from their code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from taskq.commands import Ack, Claims
from tests.model.rules_limits import Book, Ties, park
from tests.model.rules_order import advance
from tests.model.rules_workers import owns
from tests.model.world import Record, World, of_class

#: So many more are looked at where jobs were parked.
DEEP = 100
#: A job that costs more than is free is passed by others for so long, ms.
OVERTAKEN_MS = 5_000


class Wish(NamedTuple):
    """What a worker can take. `slots`: per class; `look`: of how many jobs left behind it wants
    the rank; `room`: all slots it has, None: it does not say.
    """

    keep_ms: int
    limit: int
    slots: dict[str, int]
    look: int = 1
    room: int | None = None


def cost_of(job: Record, wish: Wish) -> int:
    """Slots that a job takes of a worker; one that costs more than it has takes all."""
    return max(1, min(int(job.get("cost", 1)), wish.room or wish.limit))


def claim(world: World, worker: str, wish: Wish) -> Claims:
    refused, due = _may_not_claim(world, worker), world.next_due()
    if refused:
        return Claims(refused, world.now, due, False, {}, [])
    take = Take(world, wish, Ties(world))
    take.look()
    take.ties.plan()
    take.write(worker)
    take.ties.settle()
    take.pass_on()
    due = world.next_due() if take.parks else due
    ranks = tuple(take.left[: wish.look])
    return Claims("OK", world.now, due, bool(ranks), {}, take.jobs, ranks)  # type: ignore[arg-type]


def ack(world: World, worker: str, acks: Sequence[Ack], done_max: int, wish: Wish) -> Claims:
    odd: dict[str, str] = {}
    counted: dict[str, Ack] = {}
    ties = Ties(world)
    for item in acks:
        job = world.jobs.get(item.id)
        if item.id in counted:
            odd[item.id] = "ALREADY" if item.token == counted[item.id].token else "STALE"
        elif job is None:
            odd[item.id] = "GONE"
        elif not owns(job, item.token, worker):
            odd[item.id] = "STALE"
        elif job["state"] == "running":
            counted[item.id] = item
            ties.note(item.id, ends=True)
        else:
            odd[item.id] = "ALREADY" if job["state"] == "completed" else "STALE"
    due, refused = world.next_due(), _may_not_claim(world, worker, wish.limit)
    take = Take(world, wish, ties)
    if wish.limit and not refused:
        take.look()
    ties.plan(take.book.granted)
    take.write(worker)
    for item in counted.values():
        job = world.jobs[item.id]
        del world.index(f"running:{worker}")[item.id]
        result = {"result": item.result.decode()} if item.result else {}
        world.end(item.id, "completed", item.keep_ms, **result)
        world.announce(job, item.id, "completed", item.result.decode())
    world.count("completed", len(counted))
    if any(item.keep_ms > 0 for item in counted.values()):
        world.trim("done", wish.keep_ms, done_max, 2 * len(acks) + 10)
    ties.settle()
    take.pass_on()
    due = world.next_due() if take.parks else due
    word, ranks = refused or "OK", tuple(take.left[: wish.look])
    return Claims(word, world.now, due, bool(ranks), odd, take.jobs, ranks)  # type: ignore[arg-type]


def _may_not_claim(world: World, worker: str, limit: int = 1) -> str:
    if worker not in world.alive:
        return "LAPSED"
    return "PAUSED" if limit and "paused" in world.meta else ""


class Take:
    """The best ready jobs of the classes a worker serves, within its slots. look, then write."""

    def __init__(self, world: World, wish: Wish, ties: Ties) -> None:
        self.world, self.wish, self.ties = world, wish, ties
        self.book = Book(world, ties)
        self.jobs: list[Record] = []
        self.granted: list[tuple[float, str]] = []
        self.missed: list[str] = []
        self.parks: list[tuple[str, float, str, float]] = []
        self.left: list[float] = []
        """Ranks of those left behind for want of slots, best first."""
        self.behind: set[str] = set()
        """Classes that others may find jobs of."""
        self.gone: list[tuple[float, str]] = []
        """(rank, class) of entries that left without being granted."""
        self.free, self.deeper = 0, False
        self.room: dict[str, int] = {}
        self.lists: dict[str, list[tuple[float, str]]] = {}

    def look(self) -> None:
        """Decide about candidates, best rank first. Entries leave the ready sets here."""
        world, wish = self.world, self.wish
        for job_class, slots in wish.slots.items():
            self.room[job_class] = min(slots, wish.limit)
            self.lists[job_class] = world.listed(of_class("ready", job_class))
            if self.room[job_class] <= 0 and self.lists[job_class]:
                self.behind.add(job_class)
        self.free = wish.limit
        self._look_at(self._read(wish.look))
        if self.parks and self.free > 0:
            # A backlog that a limit blocks must not use up the claim.
            self._look_at(self._read(max(0, DEEP - wish.limit)))
        if self.gone and self.deeper and not self.left:
            # What has taken a candidate's place was not looked at: there may be more.
            self.left.append(self.gone[0][0])
            self.behind.add(self.gone[0][1])

    def _read(self, more: int) -> list[tuple[float, str, str]]:
        """The next of each class: as many as it may give, and `more`."""
        found, self.deeper = [], False
        for job_class, room in self.room.items():
            if room > 0:
                self.deeper |= len(self.lists[job_class]) >= room + more
                part, rest = self.lists[job_class][: room + more], self.lists[job_class]
                self.lists[job_class] = rest[room + more :]
                found += [(rank, job_id, job_class) for rank, job_id in part]
        return sorted(found)

    def _look_at(self, candidates: list[tuple[float, str, str]]) -> None:
        for rank, job_id, job_class in candidates:
            cost, stays = 0, self.free <= 0 or self.room[job_class] <= 0
            job = self.world.jobs.get(job_id, {})
            if not stays and self._may_run(job):
                cost = cost_of(job, self.wish)
                stays = cost > self.free
                if stays and int(job["enqueued_ms"]) + OVERTAKEN_MS <= self.world.now:
                    self.free = 0  # it has been passed long enough
            if stays:
                self.left.append(rank)
                self.behind.add(job_class)
                continue
            del self.world.ready(job_class)[job_id]
            if self._goes(job_id, job, rank):
                self.free, self.room[job_class] = self.free - cost, self.room[job_class] - 1
            else:
                self.gone.append((rank, job_class))

    def _may_run(self, job: Record) -> bool:
        too_late = int(job.get("deadline_ms", self.world.now + 1)) <= self.world.now
        return job.get("state") == "ready" and (not too_late or job.get("on_miss") == "run")

    def _goes(self, job_id: str, job: Record, rank: float) -> bool:
        """Is it granted? Else it missed its deadline, a limit blocks it, or it is no such job."""
        if job.get("state") != "ready":
            return False
        if not self._may_run(job):
            self.missed.append(job_id)
            self.ties.note(job_id, ends=True)
            return False
        blocker = self.book.blocker(job)
        if blocker is not None:
            self.parks.append((job_id, rank, *blocker))
            if "awaits" in job and job["awaits"] != blocker[0]:
                self.ties.woken[job["awaits"]] += 1
            return False
        now_us, had = self.world.now_us, int(job.get("token", 0))
        token = str(now_us if had < now_us else had + 1 + now_us % 1_000_000)
        told = {name: value for name, value in job.items() if name != "state"}
        self.jobs.append({**told, "id": job_id, "token": token})
        self.granted.append((rank, job_id))
        self.book.grant(job_id)
        job.update(state="running", token=token)
        return True

    def write(self, worker: str) -> None:
        world, keep_ms = self.world, self.wish.keep_ms
        for (rank, job_id), granted in zip(self.granted, self.jobs, strict=True):
            job = world.jobs[job_id]
            job.update(token=granted["token"], worker=worker, rank=f"{rank:.17g}")
            job.update(started_ms=str(world.now))
            world.index(f"running:{worker}")[job_id] = world.now
        world.stats["claimed"] += len(self.jobs)
        for job_id in self.missed:
            job = world.jobs[job_id]
            field = f"{job['task']}:expired"
            world.hash("slacks")[field] = str(int(world.hash("slacks").get(field, 0)) + 1)
            world.end(job_id, "expired", keep_ms, reason="deadline")
            world.announce(job, job_id, "expired")
        if self.missed:
            world.last_until("done", keep_ms)
        world.count("expired", len(self.missed))
        for parked in self.parks:
            park(world, *parked)
        if any(due < math.inf for *_, due in self.parks):
            world.wake_up(1)  # who parked them may be full when their time comes

    def pass_on(self) -> None:
        """Others hear of what is left, and a fair queue's time goes on."""
        if self.granted:
            advance(self.world, self.granted[-1][0])
        self.world.wake_each(self.behind)
