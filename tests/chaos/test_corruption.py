"""Somebody's hands in the data: records deleted, overwritten, listed twice, flipped, restored from
yesterday. Workers live through all of it, other jobs flow, and `taskq doctor --repair` mends.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

from taskq.keys import QueueKeys
from tests.chaos.bed import Bed
from tests.chaos.look import look
from tests.chaos.stage import STEADY, Stage, consuming_again, in_words, now, rolled_back
from tests.helpers import last, wait_until


def keys_of(bed: Bed) -> QueueKeys:
    return QueueKeys(bed.namespace, "default")


def doctor(bed: Bed, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report of `taskq doctor --json`."""
    done = subprocess.run(
        [sys.executable, "-m", "taskq", "doctor", "--json", *words],
        env=bed.environment(),
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def mended(bed: Bed) -> str:
    """Repair until doctor is content; what the first look had found, in short."""
    code, report = doctor(bed)
    found = json.dumps(report)
    assert code == 1, f"doctor saw nothing: {found[:1000]}"
    code, report = doctor(bed, "--repair", "--yes")
    assert code == 0, json.dumps(report)[:3000]
    code, report = doctor(bed)
    assert code == 0, json.dumps(report)[:3000]
    return found


def destroy(bed: Bed, keys: list[str]) -> None:
    """DEL all of these keys, and SET a string in the place of every other."""
    for place, key in enumerate(keys):
        bed.client.delete(key)
        if place % 2:
            bed.client.set(key, "something else")


def others_flow(bed: Bed) -> None:
    """Jobs nobody touched run at once, and every worker is alive."""
    consuming_again(bed, now(), within=5)
    assert all(worker.alive for worker in bed.workers)


def test_records_of_waiting_jobs_are_destroyed(stage: Stage) -> None:
    """Fault: DEL of waiting jobs' hashes, or SET over them. H1 for all others, S2: their ids leave
    the indexes (deleted) or are set aside (overwritten); no crash loop; no such job runs.
    """
    bed = stage.bed(stage.server())
    keys = keys_of(bed)
    victims = bed.produce("quick", count=4) + bed.produce("quick", count=4, delay=1.0)
    fine = bed.produce("quick", count=10)
    destroy(bed, [keys.job(job) for job in victims])

    bed.worker()
    others_flow(bed)
    last(1.2)  # the delayed ones are due
    mended(bed)
    bed.settle()

    verdict = bed.verdict(allow=["lost", "unexpected", "homes"])
    assert set(verdict.lost) <= set(victims)
    assert set(fine) <= set(verdict.ok)
    assert not set(verdict.runs) & set(victims)
    assert doctor(bed)[0] == 0
    bed.record(
        fault="hashes of waiting jobs are deleted, or overwritten",
        injected="8 of 18 jobs",
        invariant="S2, T9",
        observed="the others ran; no crash loop; nothing of them is left in an index",
    )


def test_records_of_running_jobs_are_destroyed(stage: Stage) -> None:
    """Fault: DEL of running jobs' hashes, or SET over them. Their acks write nothing (GONE), and
    those acknowledged in the same call count all the same.
    """
    bed = stage.bed(stage.server())
    keys = keys_of(bed)
    bed.worker()
    victims = bed.produce("sleeper", 1.0, count=4)
    fine = bed.produce("sleeper", 1.0, count=5)
    for job in victims + fine:
        bed.wait_start(job)
    destroy(bed, [keys.job(job) for job in victims])

    wait_until(lambda: all(bed.events("end", job) for job in victims + fine), 20, "all ends")
    others_flow(bed)
    found = mended(bed)
    bed.settle()

    verdict = bed.verdict(allow=["lost", "homes", "unexpected"])
    assert set(verdict.lost) <= set(victims)
    assert set(fine) <= set(verdict.ok)
    assert verdict.duplicates == 0
    assert found
    bed.record(
        fault="hashes of running jobs are deleted, or overwritten",
        injected="4 of 9 jobs",
        invariant="S2, T3",
        observed="late acks wrote nothing, neighbours' acks counted, doctor mended the index",
        duplicates=0,
    )


def test_running_jobs_are_listed_a_second_time(stage: Stage) -> None:
    """Fault: ZADD of running jobs into other indexes by hand. S3: no second lease, one run each."""
    bed = stage.bed(stage.server(), **STEADY)
    keys = keys_of(bed)
    bed.worker()
    bed.worker()
    jobs = bed.produce("sleeper", 2.0, count=8)
    for job in jobs:
        bed.wait_start(job)

    for place, index in enumerate(("ready", "scheduled", "retry", "running:nobody-1")):
        bed.client.zadd(keys.prefix + index, dict.fromkeys(jobs[2 * place : 2 * place + 2], 1))
    bed.client.sadd(keys.holders, "nobody-1")
    others_flow(bed)
    bed.settle()
    if doctor(bed)[0]:
        mended(bed)

    verdict = bed.verdict()
    assert verdict.duplicates == 0, verdict.summary()
    bed.record(
        fault="running jobs are put into ready, scheduled, retry and another worker's list",
        injected="2 jobs each, by ZADD",
        invariant="S2, S3",
        observed=in_words(verdict),
        duplicates=0,
    )


def test_waiting_jobs_are_listed_twice(stage: Stage) -> None:
    """Fault: ready jobs are put into scheduled and retry, due at once. S2: each runs once."""
    bed = stage.bed(stage.server())
    keys = keys_of(bed)
    jobs = bed.produce("quick", count=20)
    for index in (keys.scheduled, keys.retry):
        bed.client.zadd(index, dict.fromkeys(jobs, 1))

    bed.worker()
    bed.worker()
    others_flow(bed)
    bed.settle()
    if doctor(bed)[0]:
        mended(bed)

    verdict = bed.verdict()
    assert verdict.duplicates == 0
    bed.record(
        fault="ready jobs are put into scheduled and retry by hand",
        injected="20 jobs",
        invariant="S2",
        observed=in_words(verdict),
        duplicates=0,
    )


def test_whole_indexes_are_destroyed(stage: Stage) -> None:
    """Fault: DEL of every index that lists jobs, or SET over it, in a queue at work. H1: the hashes
    are still there; `doctor --repair` puts every one back where it belongs. None is lost.
    """
    bed = stage.bed(stage.server(), **STEADY)
    keys = keys_of(bed)
    worker = bed.worker()
    bed.worker()
    running = bed.produce("sleeper", 2.0, count=4)
    for job in running:
        bed.wait_start(job)
    bed.client.hset(keys.meta, "paused", "1")
    waiting = bed.produce("quick", count=10)
    waiting += bed.produce("quick", count=10, delay=0.5)
    holders = [key.decode() for key in bed.client.keys(keys.prefix + "running:*")]

    destroy(bed, [keys.ready, keys.scheduled, *sorted(holders)])
    bed.client.hdel(keys.meta, "paused")
    last(0.5)
    mended(bed)
    bed.settle()
    others_flow(bed)
    bed.settle()

    verdict = bed.verdict()
    assert set(running + waiting) <= set(verdict.ok)
    assert worker.alive
    bed.record(
        fault="every index of a queue is deleted, or overwritten, while it works",
        injected="ready, scheduled and running, 24 jobs in them",
        invariant="H1, S2",
        observed=f"`doctor --repair` put them back: {in_words(verdict)}",
        duplicates=verdict.duplicates,
    )


def test_a_workers_list_is_deleted_and_then_the_worker_dies(stage: Stage) -> None:
    """Fault: DEL of running:<worker>, then SIGKILL of that worker: nothing tells the reaper what it
    held. `doctor --repair` finds the jobs (running, in no index) and they run elsewhere. H1.
    """
    bed = stage.bed(stage.server())
    keys = keys_of(bed)
    doomed = bed.worker()
    jobs = bed.produce("sleeper", 1.0, count=4)
    for job in jobs:
        bed.wait_start(job)
    for key in bed.client.keys(keys.prefix + "running:*"):
        bed.client.delete(key)
    doomed.kill()
    bed.worker()
    wait_until(lambda: bed.client.scard(keys.holders) == 1, 20, "the dead worker is reaped")

    mended(bed)
    bed.settle()

    verdict = bed.verdict()
    assert set(jobs) <= set(verdict.ok)
    bed.record(
        fault="a worker's list of running jobs is deleted, and the worker killed",
        injected="4 running jobs that no index names",
        invariant="H1, S2",
        observed="`doctor --repair` found them, and they ran elsewhere",
        duplicates=verdict.duplicates,
    )


def test_every_bit_of_a_payload_is_flipped_once(stage: Stage) -> None:
    """Fault: one flipped bit in a stored payload, every bit in turn. No worker dies; what cannot be
    read any more is dead and never run; a flip inside a value is not noticed: that needs signed
    payloads, and its share is counted here.
    """
    bed = stage.bed(stage.server())
    keys = keys_of(bed)
    model = bed.one("fails", 0)
    payload: bytes = bed.client.hget(keys.job(model), "payload")  # type: ignore[assignment]
    flipped: dict[str, bytes] = {}
    for bit in range(len(payload) * 8):
        job = bed.one("fails", 0)
        broken = bytearray(bed.client.hget(keys.job(job), "payload"))  # type: ignore[arg-type]
        broken[bit // 8] ^= 1 << bit % 8
        bed.client.hset(keys.job(job), "payload", bytes(broken))
        flipped[job] = bytes(broken)

    worker = bed.worker()
    bed.settle(60)
    others_flow(bed)

    records = look(bed.client, bed.namespace)
    dead = {job: records[job] for job in flipped if records[job].state == "dead"}
    ran = [job for job in flipped if bed.starts(job)]
    assert worker.alive
    assert "Traceback" not in worker.log
    reasons = {record.reason for job, record in dead.items() if job not in ran}
    assert reasons <= {"bad_payload", "failed"}, reasons
    # Nothing but its own task ran, and each at most as often as its retries allow.
    assert len(dead) + sum(records[job].state == "completed" for job in flipped) == len(flipped)
    bed.record(
        fault="a bit of a stored payload is flipped",
        injected=f"each of {len(flipped)} bits once",
        invariant="P9, S2",
        observed=f"{len(flipped) - len(ran)} unreadable: dead, not run; {len(ran)} ran with another"
        " value: unsigned payloads cannot show it; no worker died",
    )


def test_yesterdays_data_are_restored(stage: Stage) -> None:
    """Fault: the server is put back to a copy of its data from before. What had ended since runs
    again (not promised otherwise); S2 holds, tokens still grow (S4), late acks are refused (H5).
    """
    server = stage.server()
    bed = stage.bed(server, **STEADY)
    jobs = bed.produce("quick", count=20) + bed.produce("fails", 1, count=5)
    server.stop()
    copy = server.folder / "copy"
    shutil.copytree(server.data, copy)
    server.start()
    worker = bed.worker()
    bed.settle()
    first = bed.records()
    later = bed.produce("sleeper", 2.0, count=3)
    for job in later:
        bed.wait_start(job)

    with bed.fault("data of yesterday"):
        server.stop()
        shutil.rmtree(server.data)
        shutil.copytree(copy, server.data)
        server.start()
    bed.settle()
    took = consuming_again(bed, now(), within=5)
    wait_until(lambda: all(bed.events("end", job) for job in later), 20, "the old runs are over")
    bed.settle()

    verdict = rolled_back(bed)
    assert worker.alive
    assert set(verdict.lost) == set(later)
    second = bed.records()
    assert all(second[job].token > first[job].token for job in jobs)
    assert doctor(bed)[0] == 0
    bed.record(
        fault="yesterday's copy of the data is restored",
        injected=f"{len(jobs)} jobs had ended since, {len(later)} were enqueued since",
        invariant="S2, S4, H5",
        observed=f"those {len(jobs)} ran again under greater tokens, the {len(later)} are gone"
        " (not promised otherwise); no late ack counted",
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_nonsense_in_the_fields_of_jobs(stage: Stage) -> None:
    """Fault: fields of waiting jobs hold what no script wrote. No worker dies, no queue stands
    still, others flow; the jobs end, one way or the other.
    """
    bed = stage.bed(stage.server())
    keys = keys_of(bed)
    nonsense = ["", "x", "-1", "nan", "inf", "1e999", "\0", "9" * 400, b"\xff\xfe"]
    names = ["attempt", "crashes", "deadline_ms", "priority", "rank", "timeout_ms", "token"]
    names += ["retries", "headers", "class", "result_ttl_ms", "enqueued_ms", "task", "on_miss"]
    spoiled = {}
    for name in names:
        for value in nonsense:
            job = bed.one("quick")
            bed.client.hset(keys.job(job), name, value)
            spoiled[job] = name
    fine = bed.produce("quick", count=20)

    worker = bed.worker()
    wait_until(lambda: all(bed.starts(job) for job in fine), 30, "the others run")
    others_flow(bed)

    def open_ones() -> dict[str, bytes]:
        states = {job: bed.client.hget(keys.job(job), "state") for job in spoiled}
        return {j: s for j, s in states.items() if s in (b"ready", b"running", b"retry")}

    # A task with a name that may be one waits for a worker that knows it; all else ends.
    wait_until(lambda: {spoiled[job] for job in open_ones()} <= {"task"}, 20, "they end")
    assert worker.alive
    bed.record(
        fault="nonsense in every field of waiting jobs",
        injected=f"{len(names)} fields, {len(nonsense)} values",
        invariant="S2, S7",
        observed="no worker died, no queue stood still, every job ended",
    )
