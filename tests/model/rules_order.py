"""Order: the policy `fair`, the settings of a queue, and what becomes of ready jobs when the policy
changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskq.errors import StoreUnavailable
from taskq.rank import BAND, FairBook, charge_for
from tests.model.world import SHARES_TTL_MS, Record, World, of_class

#: Jobs that promote ranks anew in one call.
MOST_TURNED = 100


class Shares:
    """The account of each group, in one call: whose turn it is. Nothing when the policy is not
    fair.
    """

    def __init__(self, world: World) -> None:
        self.world, self.fair = world, world.meta.get("policy") == "fair"
        weights = {group: float(weight) for group, weight in world.hash("weights").items()}
        vtime = float(world.meta.get("vtime", 0))
        self.book = FairBook(weights, dict(world.index("shares")), vtime)
        self.groups: list[str] = []

    def rank(self, job: Record, deadline: int | None, at: float) -> float:
        """A job becomes ready: its rank. Its group is charged."""
        start = 0.0
        if self.fair:
            averages = {task: float(ms) for task, ms in self.world.hash("averages").items()}
            group = job.get("group", "")
            unit = self.world.meta.get("unit_ms")
            charge = charge_for(averages, job["task"], None if unit is None else float(unit))
            turn = self.book.enter(group, charge)
            job.update(charged=f"{turn.charged:.17g}", tied="1")
            self.groups.append(group)
            start = turn.start
        return self.world.rank(int(job.get("priority", 5)), deadline, at, start)

    def close(self, owed: dict[str, float] | None = None) -> None:
        """Groups that are behind the virtual time need not be remembered. `owed`: by jobs that
        ended in the same call.
        """
        shares, groups = self.world.index("shares"), dict.fromkeys(self.groups)
        for finish, group in self.world.listed("shares")[: 2 * len(groups)]:
            if finish <= self.book.vtime:
                del shares[group]
        if groups:
            self.world.expiry["shares"] = self.world.now + SHARES_TTL_MS
        for group in groups:
            shares[group] = self.book.finish[group] + (owed or {}).get(group, 0)


def advance(world: World, last: float) -> None:
    """A fair queue's virtual time is where the last job that was taken began; it never goes
    back.
    """
    start = last % BAND
    if world.meta.get("policy") == "fair" and start > float(world.meta.get("vtime", 0)):
        world.meta["vtime"] = f"{start:.17g}"


def configure(world: World, settings: dict[str, str]) -> int:
    names = ["", *world.classes]
    turns = "policy" in settings and settings["policy"] != world.meta.get("policy", "")
    if turns and any(world.index(of_class("turned", name)) for name in names):
        raise StoreUnavailable("turning")
    changed = 0
    for name, value in settings.items():
        kind, _, group = name.partition(":")
        there, field = (world.hash("weights"), group) if kind == "weight" else (world.meta, name)
        changed += there.get(field, "") != value
        there[field] = value
        if value == "":
            del there[field]
    if turns and any(world.ready(name) for name in names):
        for name in names:
            world.index(of_class("turned", name)).update(world.ready(name))
            world.ready(name).clear()
        world.meta["turning"] = "1"
        world.set_timer("turn", world.now)
        world.wake_up(1)
    return changed


def turn(world: World, shares: Shares, classes: Sequence[str]) -> list[str]:
    """Jobs with a rank of an older policy get one of the new, so many a call; the classes of those
    that moved. `classes`: in the order in which they are gone through.
    """
    moved, seen = [], 0
    for name in ("", *classes):
        turned = world.index(of_class("turned", name))
        for _, job_id in world.listed(of_class("turned", name))[: MOST_TURNED - seen]:
            del turned[job_id]
            seen += 1
            job = world.jobs.get(job_id, {})
            if job.get("state") == "ready":
                deadline = int(job["deadline_ms"]) if "deadline_ms" in job else None
                rank = shares.rank(job, deadline, int(job["enqueued_ms"]))
                world.ready(name)[job_id] = rank
                moved.append(name)
    if not any(world.index(of_class("turned", name)) for name in ("", *classes)):
        del world.index("timers")["turn"], world.meta["turning"]
    return moved


def lowest(world: World, classes: set[str], wanted: int, gone: Sequence[str]) -> list[str]:
    """The oldest ready jobs of the lowest bands, for a full queue to drop."""
    found = []
    for name in classes:
        found += [
            (-min(9, rank // BAND), name, rank, job_id)
            for job_id, rank in world.ready(name).items()
            if job_id not in gone and world.jobs.get(job_id, {}).get("state") == "ready"
        ]
    return [job_id for *_, job_id in sorted(found)[:wanted]]
