"""Workers: what these scripts do, said in plain Python, one function per script, on a World.

Each takes the arguments of its namesake in taskq.commands and gives the reply that command parses,
or raises its error. Written from the promises in the scripts' headers, not from their code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taskq.commands import Beat, Failure, Measure
from tests.model.rules_limits import Ties
from tests.model.world import DEAD_KEEP_MS, Record, World

#: What every worker of the model says it holds, bytes.
RSS = 12_345_678
#: How many jobs every worker of the model says it can run at once.
SLOTS = 3


def owns(job: Record, token: str, worker: str) -> bool:
    return job.get("token") == token and job.get("worker") == worker


def heartbeat(
    world: World,
    worker: str,
    ttl_ms: int,
    told: int = 0,
    measures: Sequence[Measure] = (),
    every_ms: int = 0,
) -> Beat:
    lapsed = worker not in world.alive
    world.alive[worker] = str(world.now)
    world.expiry[f"alive:{worker}"] = world.now + ttl_ms
    world.holders.add(worker)
    world.suspects.pop(worker, None)
    if f" told={told} " not in world.vitals.get(worker, ""):
        _measure(world, measures)
    words = f" told={told}" if told else ""
    world.vitals[worker] = f"rss={RSS} slots={SLOTS}{words} beat_ms={world.now}"
    held = world.index(f"running:{worker}")
    asked = world.cancels.get(worker, set())
    asked.intersection_update(held)
    silent = _look_around(world, every_ms)
    return Beat(world.now, lapsed, len(held), sorted(asked), silent, len(world.classes))


def pass_due(world: World, every_ms: int) -> bool:
    """Has nobody looked at the workers for so long?"""
    last = int(world.meta.get("reaped_ms", -(10**15)))
    return world.now < last or world.now - last >= every_ms


def _look_around(world: World, every_ms: int) -> int:
    """Suspects those that are silent, and says how many; a pass is noted when there are none."""
    if not every_ms or not pass_due(world, every_ms):
        return 0
    silent = world.holders - world.alive.keys()
    for worker in silent:
        world.suspects.setdefault(worker, str(world.now))
    if not silent:
        world.meta["reaped_ms"] = str(world.now)
        world.meta["slots"] = str(SLOTS * len(world.holders & world.vitals.keys()))
    return len(silent)


def _measure(world: World, measures: Sequence[Measure]) -> None:
    """Moving averages of run times, each run weighing a tenth; and how jobs stood to their
    deadlines.
    """
    averages, slacks = world.hash("averages"), world.hash("slacks")
    runs = {one.task: (one.runs, one.ms) for one in measures if one.runs}
    if runs:
        runs["*"] = (sum(n for n, _ in runs.values()), sum(ms for _, ms in runs.values()))
    first = "*" not in averages
    for task, (count, ms) in runs.items():
        mean = ms / count
        old = float(averages.get(task, mean))
        averages[task] = f"{old + (mean - old) * (1 - 0.9**count):.3f}"
    if runs and first and float(averages["*"]) > 0:
        world.meta["unit_ms"] = averages["*"]
    for one in measures:
        if not one.starts and not one.late:
            continue
        had = {"jobs": 0, "sum_ms": 0, "least_ms": round(one.least_ms), "late": 0}
        for word in slacks.get(one.task, "").split():
            name, _, number = word.partition("=")
            had[name] = int(number)
        slacks[one.task] = (
            f"jobs={had['jobs'] + one.starts} sum_ms={had['sum_ms'] + round(one.slack_ms)}"
            f" least_ms={min(had['least_ms'], round(one.least_ms))} late={had['late'] + one.late}"
        )


def retire(world: World, worker: str) -> int:
    held = len(world.index(f"running:{worker}"))
    if not held:
        if worker in world.alive:
            world.drop(f"alive:{worker}")
        world.cancels.pop(worker, None)
        world.holders.discard(worker)
        world.suspects.pop(worker, None)
        world.vitals.pop(worker, None)
    return held


def fail(
    world: World, worker: str, failures: Sequence[Failure], dead_max: int, keep_ms: int
) -> dict[str, str]:
    words: dict[str, str] = {}
    did: dict[str, tuple[str, Failure]] = {}
    ties = Ties(world)
    for item in failures:
        job = world.jobs.get(item.id)
        if item.id in did:
            words[item.id] = "ALREADY" if item.token == did[item.id][1].token else "STALE"
        elif job is None:
            words[item.id] = "GONE"
        elif not owns(job, item.token, worker):
            words[item.id] = "STALE"
        elif job["state"] != "running":
            again = job["state"] in ("retry", "dead", "cancelled")
            words[item.id] = "ALREADY" if again else "STALE"
        else:
            word = "DEAD" if item.after_ms is None else "RETRY"
            word = words[item.id] = "CANCELLED" if "cancel" in job else word
            did[item.id] = (word, item)
            ties.note(item.id, ends=word != "RETRY")
    ties.plan()
    due: dict[str, int] = {}
    for job_id, (word, item) in did.items():
        job = world.jobs[job_id]
        del world.index(f"running:{worker}")[job_id]
        fields = {"reason": item.reason, "error": item.error, "traceback": item.traceback}
        fields["attempt"] = str(int(job.get("attempt", 0)) + 1)
        if word == "CANCELLED":
            world.end(job_id, "cancelled", keep_ms, **fields)
            world.announce(job, job_id, "cancelled")
        elif word == "DEAD":
            world.end(job_id, "dead", DEAD_KEEP_MS, **fields)
            world.announce(job, job_id, "dead", f"{item.reason}\n{item.error}")
        else:
            job.update(state="retry", **fields)
            due[job_id] = world.now + (item.after_ms or 0)
    words_done = [word for word, _ in did.values()]
    dead, cancelled = words_done.count("DEAD"), words_done.count("CANCELLED")
    world.add_due("retry", due)
    if dead:
        world.trim("dead", DEAD_KEEP_MS, dead_max, 2 * dead + 10)
    if cancelled:
        world.last_until("done", keep_ms)
    ties.settle()
    world.count("failed", len(did) - cancelled)
    world.count("retried", len(due))
    world.count("dead", dead)
    world.count("cancelled", cancelled)
    return words


def release(
    world: World, worker: str, jobs: Iterable[tuple[str, str, str]], keep_ms: int
) -> dict[str, str]:
    words: dict[str, str] = {}
    did: dict[str, str] = {}
    ties = Ties(world)
    for job_id, token, job_class in jobs:
        job = world.jobs.get(job_id)
        if job_id in did:
            words[job_id] = "STALE"
        elif job is None:
            words[job_id] = "GONE"
        elif job["state"] != "running" or not owns(job, token, worker):
            words[job_id] = "STALE"
        else:
            words[job_id] = "CANCELLED" if "cancel" in job else "READY"
            did[job_id] = job_class
            ties.note(job_id, ends="cancel" in job, ran="cancel" in job)
    ties.plan()
    back: list[str] = []
    for job_id, job_class in did.items():
        job = world.jobs[job_id]
        del world.index(f"running:{worker}")[job_id]
        if "cancel" in job:
            world.end(job_id, "cancelled", keep_ms)
            world.announce(job, job_id, "cancelled")
            continue
        job["state"] = "ready"
        job_class = job_class or job.get("class", "")
        if job_class:
            job["class"] = job_class
            world.know_class(job_class)
        world.ready(job_class)[job_id] = float(job["rank"])
        back.append(job_class)
    cancelled = len(did) - len(back)
    if cancelled:
        world.last_until("done", keep_ms)
    ties.settle()
    world.wake_each(back)
    world.count("released", len(back))
    world.count("cancelled", cancelled)
    return words


def progress(world: World, job_id: str, token: str, worker: str, fraction: float, note: str) -> str:
    job = world.jobs.get(job_id)
    if job is None:
        return "GONE"
    if job["state"] != "running" or not owns(job, token, worker):
        return "STALE"
    job.update(progress=f"{fraction:.3f}", note=note)
    return "OK"


def held(world: World, worker: str) -> tuple[int, list[Record], list[str]]:
    ids = [job_id for _, job_id in world.listed(f"running:{worker}")]
    mine = [job_id for job_id in ids if world.jobs.get(job_id, {}).get("worker") == worker]
    return len(ids), [{**world.jobs[job_id], "id": job_id} for job_id in mine], ids
