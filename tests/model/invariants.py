"""What must hold of any look, or of any two looks with one call between them, by the promises about
limits, unique keys, timers, cost and fairness; model or not.

No Hypothesis here and no rules of single scripts.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from tests.model.rules_claim import OVERTAKEN_MS, Wish, cost_of
from tests.model.snapshot import Snapshot
from tests.model.world import ENDED, Record, of_class

_WAITING = ("scheduled", "ready", "blocked", "retry")


def check_features(before: Snapshot, now: Snapshot, now_ms: int, tampered: Collection[str]) -> None:
    """`tampered`: ids whose keys were damaged by hand on purpose."""
    _check_timers(now)
    if tampered:
        return
    _check_holders(before, now)
    _check_parked(now)
    _check_free(now, now_ms)
    _check_keys(before, now)
    _check_time(before, now)


def _check_timers(now: Snapshot) -> None:
    """Claims know the first timer from meta, and enqueue the number of blocked jobs."""
    meta = now.hash("meta")
    first = min(now.index("timers").values(), default=math.inf)
    noted = float(meta.get("timer_ms", math.inf))
    assert noted == first, f"the first timer is due at {first}, meta says {noted}"
    assert int(meta.get("blocked", 0)) == len(now.index("blocked")), "blocked jobs miscounted"
    if now.hash("limits"):
        assert meta.get("limited", "").startswith("1"), "there are limits, meta does not say so"


def _check_holders(before: Snapshot, now: Snapshot) -> None:
    """Who holds a limit runs, and says so; none is given more places than it has."""
    holding: dict[str, set[str]] = {}
    jobs = {job_id: job for job_id, job in now.jobs().items() if job["state"] not in ENDED}
    for job_id, job in jobs.items():
        assert "holds" not in job or job["state"] == "running", f"{job_id} holds and does not run"
        for instance in job.get("holds", "").split():
            holding.setdefault(instance, set()).add(job_id)
    listed = {
        name.removeprefix("holding:"): set(now.members(name))
        for name in now.keys
        if name.startswith("holding:")
    }
    assert listed == holding, f"holders are {listed}, jobs hold {holding}"
    for instance, ids in holding.items():
        for job_id in ids - before.members(f"holding:{instance}"):
            places = places_of(now, jobs[job_id], instance)
            assert len(ids) <= places, f"{instance} has {places} places, {ids} run"


def name_of(job: Record, instance: str) -> str:
    """The limit that an instance is one of."""
    for word in job.get("limits", "").split():
        name, _, made = word.rpartition("|")
        if made == instance and name:
            return name
    return instance


def words_of(now: Snapshot, job: Record, instance: str) -> dict[str, str]:
    """The definition of the limit that an instance is one of; nothing when there is none."""
    name = name_of(job, instance)
    words = now.hash("limits").get(name)
    if words is None:
        return {"concurrency": "1"} if name.startswith("key:") else {}
    return dict(word.split("=") for word in words.split())


def places_of(now: Snapshot, job: Record, instance: str) -> float:
    return float(words_of(now, job, instance).get("concurrency", math.inf))


def _check_parked(now: Snapshot) -> None:
    """A blocked job is beside the limit that blocks it, at its rank, and something will wake it."""
    blocked, timers = now.index("blocked"), now.index("timers")
    for job_id, job in now.jobs().items():
        if job["state"] == "blocked":
            instance = job["blocked_by"]
            rank = now.index(f"parked:{instance}").get(job_id)
            assert rank == blocked.get(job_id) == float(job["rank"]), f"{job_id}: {job}"
            assert f"limit:{instance}" in timers, f"nothing wakes {job_id}"
        else:
            assert "blocked_by" not in job or job["state"] in ENDED, f"{job_id}: {job}"
            assert job_id not in blocked, f"{job_id} is {job['state']}"
    listed = [i for name in now.keys if name.startswith("parked:") for i in now.index(name)]
    assert sorted(listed) == sorted(blocked), f"parked {listed}, blocked {blocked}"
    for member in timers:
        kind, _, instance = member.partition(":")
        assert kind != "limit" or now.index(f"parked:{instance}"), f"{member} is due for nobody"


def _check_free(now: Snapshot, now_ms: int) -> None:
    """No job is parked while its limit is free: somebody else was woken for the place, or a time
    is set at which it is looked at.
    """
    jobs = now.jobs()
    woken: dict[str, int] = {}
    for job in jobs.values():
        if job["state"] == "ready" and "awaits" in job:
            woken[job["awaits"]] = woken.get(job["awaits"], 0) + 1
    for member, due in now.index("timers").items():
        kind, _, instance = member.partition(":")
        if kind != "limit" or due <= now_ms:
            continue
        best = min((rank, job_id) for job_id, rank in now.index(f"parked:{instance}").items())[1]
        words = words_of(now, jobs[best], instance)
        free = float(words.get("concurrency", math.inf)) - len(now.members(f"holding:{instance}"))
        if "every_us" in words and due < math.inf:
            arrival = int(str(now.keys.get(f"rate:{instance}", 0)))
            start = math.ceil((arrival - int(words.get("burst_us", 0))) / 1000)
            # Not at the time itself: it was looked at then, and more come later.
            assert due <= max(start, now_ms) + int(words["every_us"]) / 1000 + 1, f"{member} {due}"
            continue
        assert free <= woken.get(instance, 0), (
            f"{instance} has {free} places, {best} is parked, {woken.get(instance, 0)} come"
        )


def _check_keys(before: Snapshot, now: Snapshot) -> None:
    """A lock without a time is that of a live job; nobody comes beside the job that has it."""
    jobs, old = now.jobs(), before.jobs()
    for name in now.keys:
        kind, _, key = name.partition(":")
        if kind != "unique":
            continue
        owner = str(now.keys[name])
        job = jobs.get(owner)
        if name not in now.ttl:
            assert job is not None, f"the lock {key} outlived {owner}"
            assert job["state"] not in ENDED, f"the lock {key} outlived {owner}: {job}"
            assert job.get("key") == key, f"{owner} has the lock {key}: {job}"
        had = str(before.keys.get(name, ""))
        if had and had != owner and old.get(had, {}).get("state") in _WAITING:
            assert jobs.get(had, {}).get("state", "cancelled") in ENDED, f"{key}: {had}, {owner}"


def _check_time(before: Snapshot, now: Snapshot) -> None:
    """Virtual time goes on."""
    if before.keys:
        was, vtime = (float(look.hash("meta").get("vtime", 0)) for look in (before, now))
        assert vtime >= was, f"virtual time went from {was} to {vtime}"


def check_claims(before: Snapshot, now: Snapshot, claims: Any, wish: Wish) -> None:
    """What must hold of any claim: nothing granted that was due to expire or while paused, in the
    order of rank, no more than asked for, and nothing better left behind that was free to go.
    """
    word, now_ms, granted = claims[0], claims[1], claims[5]
    assert not granted or (word == "OK" and "paused" not in now.hash("meta"))
    for job in granted:
        if job.get("on_miss") != "run":
            assert int(job.get("deadline_ms", now_ms + 1)) > now_ms, f"{job['id']} is too late"
    places = {job["id"]: (job.get("class", ""), cost_of(job, wish)) for job in granted}
    taken: list[tuple[float, str]] = []
    for job_id, (job_class, _) in places.items():
        taken.append((before.index(of_class("ready", job_class))[job_id], job_id))
    parked = now.index("blocked").keys() - before.index("blocked").keys()
    # Where jobs were parked, classes are read once more, further down.
    for job_class in wish.slots if parked else [None]:
        those = [one for one in taken if job_class in (None, places[one[1]][0])]
        assert those == sorted(those), "not in the order of rank"
    assert sum(cost for _, cost in places.values()) <= wish.limit, "they cost too much"
    for job_class, room in wish.slots.items() if word == "OK" else ():
        assert sum(name == job_class for name, _ in places.values()) <= room
        if not parked:
            _check_left(
                before, now, wish, job_class, {one: places[one[1]] for one in taken}, now_ms
            )


def _check_left(
    before: Snapshot,
    now: Snapshot,
    wish: Wish,
    job_class: str,
    taken: dict[tuple[float, str], tuple[str, int]],
    now_ms: int,
) -> None:
    """Whoever was left in a ready set had no slot, did not fit, or was too far down to be seen."""
    name = of_class("ready", job_class)
    was = sorted((rank, job_id) for job_id, rank in before.index(name).items())
    most = min(wish.slots[job_class], wish.limit)
    left = [one for one in was[: most + wish.look] if one[1] in now.index(name)]
    for one in left if most > 0 else ():
        ahead = [place for other, place in taken.items() if other < one]
        free = wish.limit - sum(cost for _, cost in ahead)
        room = wish.slots[job_class] - sum(where == job_class for where, _ in ahead)
        fits = cost_of(now.hash(f"job:{one[1]}"), wish) <= free
        if room > 0 and fits:
            assert _waited_for(now, wish, one, free, now_ms), (
                f"{one} was left, {free} slots were free"
            )


def _waited_for(now: Snapshot, wish: Wish, one: tuple[float, str], free: int, now_ms: int) -> bool:
    """A better job that costs more than is free was passed for long enough."""
    for job_class in wish.slots:
        for job_id, rank in now.index(of_class("ready", job_class)).items():
            job = now.hash(f"job:{job_id}")
            if (rank, job_id) < one and cost_of(job, wish) > free:
                return int(job["enqueued_ms"]) + OVERTAKEN_MS <= now_ms
    return False
