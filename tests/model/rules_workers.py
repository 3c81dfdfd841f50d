"""Workers: what these scripts do, said in plain Python, one function per script, on a World.

Each takes the arguments of its namesake in taskq.commands and gives the reply that command parses,
or raises its error. Written from the promises in the scripts' headers, not from their code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taskq.commands import Ack, Beat, Claims, Failure
from tests.model.world import DEAD_KEEP_MS, Record, World

#: What every worker of the model says it holds, bytes.
RSS = 12_345_678
#: How many jobs every worker of the model says it can run at once.
SLOTS = 3


def owns(job: Record, token: str, worker: str) -> bool:
    return job.get("token") == token and job.get("worker") == worker


def heartbeat(world: World, worker: str, ttl_ms: int) -> Beat:
    lapsed = worker not in world.alive
    world.alive[worker] = str(world.now)
    world.expiry[f"alive:{worker}"] = world.now + ttl_ms
    world.holders.add(worker)
    world.suspects.pop(worker, None)
    world.vitals[worker] = f"rss={RSS} slots={SLOTS} beat_ms={world.now}"
    held = world.index(f"running:{worker}")
    asked = world.cancels.get(worker, set())
    asked.intersection_update(held)
    return Beat(world.now, lapsed, len(held), sorted(asked))


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


def claim(
    world: World, worker: str, keep_ms: int, limit: int, slots: dict[str, int], look: int
) -> Claims:
    refused = _may_not_claim(world, worker)
    if refused:
        return Claims(refused, world.now, world.next_due(), False, {}, [])
    due = world.next_due()
    jobs, left = _take(world, worker, keep_ms, limit, slots, look)
    return Claims("OK", world.now, due, bool(left), {}, jobs, left)  # type: ignore[arg-type]


def ack(
    world: World,
    worker: str,
    acks: Sequence[Ack],
    keep_ms: int,
    done_max: int,
    limit: int,
    slots: dict[str, int],
    look: int,
) -> Claims:
    odd: dict[str, str] = {}
    counted: dict[str, Ack] = {}
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
        else:
            odd[item.id] = "ALREADY" if job["state"] == "completed" else "STALE"
    due, refused = world.next_due(), _may_not_claim(world, worker, limit)
    claims = limit and not refused
    jobs, left = _take(world, worker, keep_ms, limit, slots, look) if claims else ([], ())
    for item in counted.values():
        job = world.jobs[item.id]
        del world.index(f"running:{worker}")[item.id]
        result = {"result": item.result.decode()} if item.result else {}
        world.end(item.id, "completed", item.keep_ms, **result)
        world.announce(job, item.id, "completed", item.result.decode())
    world.count("completed", len(counted))
    if any(item.keep_ms > 0 for item in counted.values()):
        world.trim("done", keep_ms, done_max, 2 * len(acks) + 10)
    word = refused or "OK"
    return Claims(word, world.now, due, bool(left), odd, jobs, left)  # type: ignore[arg-type]


def _may_not_claim(world: World, worker: str, limit: int = 1) -> str:
    if worker not in world.alive:
        return "LAPSED"
    return "PAUSED" if limit and "paused" in world.meta else ""


def _take(
    world: World, worker: str, keep_ms: int, limit: int, slots: dict[str, int], look: int
) -> tuple[list[Record], tuple[float, ...]]:
    """The best ready jobs of the classes a worker serves, within its slots; ranks of the best that
    wait on. An entry that was no job to run counts as one that waits, when nothing else does.
    """
    best: list[tuple[float, str, str]] = []
    left: list[float] = []
    for job_class, room in slots.items():
        most, waiting = min(room, limit), world.ready(job_class)
        here = sorted((rank, job_id, job_class) for job_id, rank in waiting.items())
        best += here[:most]
        left += [rank for rank, _, _ in here[most:]] if most > 0 else []
    best.sort()
    left = sorted([*left, *(rank for rank, _, _ in best[limit:])])
    jobs, expired = [], 0
    for rank, job_id, job_class in best[:limit]:
        del world.ready(job_class)[job_id]
        job = world.jobs.get(job_id, {})
        if job.get("state") != "ready":
            left = left or [rank]
        elif (
            int(job.get("deadline_ms", world.now + 1)) <= world.now and job.get("on_miss") != "run"
        ):
            world.end(job_id, "expired", keep_ms, reason="deadline")
            world.announce(job, job_id, "expired")
            expired, left = expired + 1, left or [rank]
        else:
            had = int(job.get("token", 0))
            token = str(world.now_us if had < world.now_us else had + 1 + world.now_us % 1_000_000)
            jobs.append({**job, "id": job_id, "token": token})
            job.update(state="running", token=token, worker=worker)
            job.update(rank=str(rank), started_ms=str(world.now))
            world.index(f"running:{worker}")[job_id] = world.now
    world.stats["claimed"] += len(jobs)
    if expired:
        world.last_until("done", keep_ms)
    world.count("expired", expired)
    for_others = any(min(room, limit) < 1 and world.ready(name) for name, room in slots.items())
    if left or for_others:
        world.wake_up(1)
    return jobs, tuple(left[:look])


def fail(
    world: World, worker: str, failures: Sequence[Failure], dead_max: int, keep_ms: int
) -> dict[str, str]:
    words: dict[str, str] = {}
    did: dict[str, str] = {}
    tokens: dict[str, str] = {}
    due: dict[str, int] = {}
    for item in failures:
        job = world.jobs.get(item.id)
        if item.id in did:
            words[item.id] = "ALREADY" if item.token == tokens[item.id] else "STALE"
        elif job is None:
            words[item.id] = "GONE"
        elif not owns(job, item.token, worker):
            words[item.id] = "STALE"
        elif job["state"] != "running":
            again = job["state"] in ("retry", "dead", "cancelled")
            words[item.id] = "ALREADY" if again else "STALE"
        else:
            del world.index(f"running:{worker}")[item.id]
            fields = {"reason": item.reason, "error": item.error, "traceback": item.traceback}
            fields["attempt"] = str(int(job.get("attempt", 0)) + 1)
            if "cancel" in job:
                word = "CANCELLED"
                world.end(item.id, "cancelled", keep_ms, **fields)
                world.announce(job, item.id, "cancelled")
            elif item.after_ms is None:
                word = "DEAD"
                world.end(item.id, "dead", DEAD_KEEP_MS, **fields)
                world.announce(job, item.id, "dead", f"{item.reason}\n{item.error}")
            else:
                word = "RETRY"
                job.update(state="retry", **fields)
                due[item.id] = world.now + item.after_ms
            words[item.id] = did[item.id] = word
            tokens[item.id] = item.token
    words_done = list(did.values())
    dead, cancelled = words_done.count("DEAD"), words_done.count("CANCELLED")
    world.add_due("retry", due)
    if dead:
        world.trim("dead", DEAD_KEEP_MS, dead_max, 2 * dead + 10)
    if cancelled:
        world.last_until("done", keep_ms)
    world.count("failed", len(did) - cancelled)
    world.count("retried", len(due))
    world.count("dead", dead)
    world.count("cancelled", cancelled)
    return words


def release(
    world: World, worker: str, jobs: Iterable[tuple[str, str, str]], keep_ms: int
) -> dict[str, str]:
    words: dict[str, str] = {}
    released = cancelled = 0
    for job_id, token, job_class in jobs:
        job = world.jobs.get(job_id)
        if words.get(job_id) in ("READY", "CANCELLED"):
            words[job_id] = "STALE"
        elif job is None:
            words[job_id] = "GONE"
        elif job["state"] != "running" or not owns(job, token, worker):
            words[job_id] = "STALE"
        else:
            del world.index(f"running:{worker}")[job_id]
            if "cancel" in job:
                words[job_id] = "CANCELLED"
                cancelled += 1
                world.end(job_id, "cancelled", keep_ms)
                world.announce(job, job_id, "cancelled")
                continue
            words[job_id] = "READY"
            released += 1
            job["state"] = "ready"
            job_class = job_class or job.get("class", "")
            if job_class:
                job["class"] = job_class
                world.classes.add(job_class)
            world.ready(job_class)[job_id] = int(job["rank"])
    if cancelled:
        world.last_until("done", keep_ms)
    world.wake_up(released)
    world.count("released", released)
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
