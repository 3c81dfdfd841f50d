"""Faults of worker processes: killed at any moment, frozen, starved of files and memory."""

from __future__ import annotations

import resource
import signal
import time

import pytest

from tests.chaos.bed import Bed
from tests.chaos.conftest import MakeBed
from tests.chaos.points import FAILPOINTS, POINT
from tests.helpers import last, wait_until


def test_without_faults_every_job_runs_once(bed: Bed) -> None:
    """No fault. H1, H4: nothing is lost and nothing runs twice, over all kinds of tasks."""
    bed.worker()
    bed.worker(processes=2)
    bed.produce("quick", count=200)
    bed.produce("sleeper", 0.2, count=20)
    bed.produce("thread_sleeper", 0.2, count=10)
    bed.produce("process_sleeper", 0.2, count=4)
    bed.produce("fails", 2, count=5)
    bed.produce("cruncher", 50, count=5)
    bed.produce("writer", 0.1, count=10)
    producer = bed.producer(rate=100, seconds=1.0, mix="quick*3,sleeper:0.05")
    assert producer.wait(15) == 0
    bed.settle()

    verdict = bed.verdict()

    assert len(verdict.ok) >= 254 + 90
    assert dict(verdict.reasons) == {"failed": 10}


def test_a_killed_worker_s_jobs_run_again_within_12_s_at_the_default_settings(
    make_bed: MakeBed,
) -> None:
    """SIGKILL at the defaults. P4, H1: its jobs run elsewhere in less than 12 s, charged a crash
    and no attempt.
    """
    bed = make_bed(heartbeat=None, heartbeat_ttl=None, grace=None, block=None, socket_timeout=None)
    first = bed.worker()
    jobs = bed.produce("sleeper", 30.0, 0.1, count=10)
    for job in jobs:
        bed.wait_start(job)
    bed.worker()

    killed = time.monotonic()
    first.kill()
    again = [bed.wait_start(job, 2)["at"] for job in jobs]
    bed.settle()

    verdict = bed.verdict()
    recovery = max(again) - killed
    assert recovery < 12
    records = bed.records()
    assert {(records[job].crashes, records[job].attempt) for job in jobs} == {(1, 0)}
    bed.record(
        fault="a worker is killed, default settings",
        injected="SIGKILL while 10 jobs run",
        invariant="P4 H1 H4",
        observed="all 10 run again on another worker; one crash each, no attempt",
        recovery_s=recovery,
        duplicates=verdict.duplicates,
    )


def test_jobs_of_a_killed_worker_of_all_kinds_are_run_by_others(bed: Bed) -> None:
    """SIGKILL with coroutines, threads and processes at work. H1, H4: each runs twice, no more."""
    first = bed.worker()
    jobs = [
        *bed.produce("sleeper", 30.0, 0.1, count=20),
        *bed.produce("thread_sleeper", 30.0, 0.1, count=5),
        *bed.produce("process_sleeper", 30.0, 0.1, count=2),
    ]
    for job in jobs:
        bed.wait_start(job)

    first.kill()
    bed.worker()
    bed.settle()

    verdict = bed.verdict()
    assert verdict.duplicates == len(jobs)
    assert {record.crashes for record in bed.records().values()} == {1}
    bed.record(
        fault="a worker is killed",
        injected="SIGKILL while coroutines, threads and processes run; heartbeat 0.2 s",
        invariant="H1 H4",
        observed="every job runs once more elsewhere; task processes die with their worker",
        recovery_s=verdict.longest_recovery,
        duplicates=verdict.duplicates,
    )


@pytest.mark.parametrize(
    ("point", "runs"), [("before_start", 1), ("after_claim", 1), ("after_ack", 1)]
)
def test_a_worker_killed_between_two_steps_loses_and_repeats_nothing(
    bed: Bed, point: str, runs: int
) -> None:
    """SIGKILL between claim and start, or after an ack was carried out and before its reply. H1,
    H5: the job ends once; what was acknowledged does not run again.
    """
    first = bed.worker("-c", "1", app=FAILPOINTS, env={POINT: point})
    (job,) = bed.produce("quick")
    assert first.wait() == -signal.SIGKILL
    bed.worker()

    bed.settle()

    verdict = bed.verdict()
    assert len(verdict.runs[job]) == runs
    assert bed.records()[job].attempt == 0
    bed.record(
        fault=f"a worker is killed {point.replace('_', ' ')}",
        injected="SIGKILL at a fail point",
        invariant="H1 H5",
        observed="the job ends once; it runs once",
        duplicates=verdict.duplicates,
    )


def test_a_worker_frozen_beyond_its_lease_finds_its_reports_refused(bed: Bed) -> None:
    """SIGSTOP for longer than TTL and grace, then SIGCONT. T3, H5: another worker has run the job;
    the late report changes not one byte of its record.
    """
    frozen = bed.worker()
    (job,) = bed.produce("sleeper", 1.0)
    bed.wait_start(job)
    with bed.fault("frozen", frozen.pid):
        frozen.freeze()
        other = bed.worker()
        second = bed.wait_start(job, 2)
        bed.settle()
        before = bed.client.dump(f"chaos:{{default}}:job:{job}")
        frozen.thaw()
        told = bed.wait_event("told", job)
        (after,) = bed.produce("quick", count=1)
        bed.settle()

    verdict = bed.verdict()
    assert bed.client.dump(f"chaos:{{default}}:job:{job}") == before
    assert bed.records()[job].worker.startswith(other.name)
    assert told["pid"] == frozen.pid
    assert frozen.alive
    assert after in verdict.ok
    bed.record(
        fault="a worker stands still for longer than its lease",
        injected="SIGSTOP for 60 s scaled down: TTL 0.8 s, grace 0.3 s; then SIGCONT",
        invariant="T3 H5",
        observed="another worker runs the job to its end; the frozen one's run is stopped, its"
        " record unchanged byte for byte",
        recovery_s=second["at"] - bed.starts(job)[0]["at"],
        duplicates=verdict.duplicates,
    )


def test_a_report_that_comes_right_after_a_long_freeze_is_stale(bed: Bed) -> None:
    """SIGSTOP on a thread whose work is over the moment it goes on. T3, H6: its acknowledgement is
    refused, and so is its write to a store that looks at tokens.
    """
    frozen = bed.worker()
    (job,) = bed.produce("stubborn_writer", 0.5)
    bed.wait_start(job)
    with bed.fault("frozen", frozen.pid):
        frozen.freeze()
        bed.worker()
        bed.wait_start(job, 2)
        bed.settle()
        frozen.thaw()
        wait_until(lambda: len(bed.events("sink", job)) == 2)
        wait_until(lambda: len(bed.events("end", job)) == 2)
        bed.produce("quick", count=5)
        bed.settle()

    verdict = bed.verdict()
    assert [event["accepted"] for event in bed.events("sink", job)] == [True, False]
    bed.record(
        fault="a run wakes up after its lease is gone and writes outside",
        injected="SIGSTOP for longer than the lease on a thread that does not look",
        invariant="T3 H6",
        observed="Redis refuses its report, the fenced store its smaller token",
        duplicates=verdict.duplicates,
    )


def test_a_freeze_shorter_than_the_lease_costs_nothing(bed: Bed) -> None:
    """SIGSTOP for less than TTL and grace. P4, H4: one run of each job."""
    frozen = bed.worker(heartbeat_ttl=2.0, grace=1.0)
    bed.worker(heartbeat_ttl=2.0, grace=1.0)
    jobs = bed.produce("sleeper", 1.5, count=20)
    for job in jobs:
        bed.wait_start(job)

    frozen.freeze()
    last(1.0)
    frozen.thaw()
    bed.settle()

    verdict = bed.verdict()
    assert verdict.duplicates == 0
    bed.record(
        fault="a worker stands still for less than its lease",
        injected="SIGSTOP for 1 s, TTL 2 s",
        invariant="P4 H4",
        observed="nothing is taken from it",
        duplicates=0,
    )


def test_two_workers_of_one_name_never_share_an_id(bed: Bed) -> None:
    """Equal names on one host. T3: ids differ, and each acknowledges only what it holds."""
    bed.worker("-c", "2", name="twin")
    bed.worker("-c", "2", name="twin", wait=False)
    wait_until(lambda: len(bed.roster()) == 2, 20)
    jobs = bed.produce("sleeper", 0.1, count=40)
    bed.settle()

    verdict = bed.verdict()
    workers = {run.worker for job in jobs for run in verdict.runs[job]}
    assert workers == set(bed.roster())
    assert verdict.duplicates == 0
    bed.record(
        fault="two workers are given the same name",
        injected="--name twin, twice",
        invariant="T3 H4",
        observed="two ids; 40 jobs, each run and acknowledged by one of them",
        duplicates=0,
    )


def test_few_file_descriptors_cost_no_job(bed: Bed) -> None:
    """`ulimit -n 40` under work that opens files. H1: tasks may fail for want of files and are
    tried again; nothing is lost and the worker lives or says why it cannot.
    """

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    starved = bed.worker(preexec=few)
    bed.produce("writer", 0.01, count=150)
    bed.produce("thread_sleeper", 0.05, count=40)
    bed.settle()

    verdict = bed.verdict()
    assert starved.alive
    assert len(verdict.ok) == 190
    bed.record(
        fault="a worker has few file descriptors",
        injected="RLIMIT_NOFILE 40",
        invariant="H1",
        observed="every job ends; the worker lives",
        duplicates=verdict.duplicates,
    )


def test_a_task_that_runs_out_of_address_space_fails_alone(bed: Bed) -> None:
    """RLIMIT_AS. H1: a MemoryError in one task is its own failure; neighbours and worker live."""

    def narrow() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    worker = bed.worker(preexec=narrow, retries=1)
    neighbours = bed.produce("sleeper", 1.0, count=10)
    hog = bed.one("hog", 2000)
    bed.settle()

    bed.verdict()
    records = bed.records()
    assert (records[hog].state, records[hog].attempt, records[hog].crashes) == ("dead", 2, 0)
    assert "MemoryError" in records[hog].error
    assert {records[job].state for job in neighbours} == {"completed"}
    assert worker.alive
    bed.record(
        fault="a task asks for more memory than the process may have",
        injected="RLIMIT_AS 1 GiB, a task that wants 2 GiB",
        invariant="H1 H4",
        observed="MemoryError, tried again, then dead; the worker and 10 neighbours live",
        duplicates=0,
    )
