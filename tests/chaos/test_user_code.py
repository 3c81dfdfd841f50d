"""Faults of user code: it ends its process, raises what it must not, or eats its surroundings."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.bed import Bed
from tests.helpers import wait_until


@pytest.mark.parametrize("task", ["exits", "segfault"])
def test_a_task_that_ends_its_worker_three_times_is_dead_and_its_neighbours_live(
    bed: Bed, task: str
) -> None:
    """os._exit or a segmentation fault in a coroutine. P7, S11: dead with reason `worker_lost` at
    the third crash, with the last worker named; all neighbours complete.
    """
    supervisor = bed.worker(processes=2)
    neighbours = bed.produce("sleeper", 0.3, count=8)
    killer = bed.one(task)
    bed.settle(50)

    verdict = bed.verdict()
    records = bed.records()
    runs = verdict.runs[killer]
    assert len(runs) == 3
    assert (records[killer].state, records[killer].reason) == ("dead", "worker_lost")
    assert (records[killer].crashes, records[killer].attempt) == (3, 0)
    assert runs[-1].worker in records[killer].error
    assert "crash 3" in records[killer].error
    assert {records[job].state for job in neighbours} == {"completed"}
    assert supervisor.alive
    bed.record(
        fault="a task kills its worker" + (" (os._exit)" if task == "exits" else " (SIGSEGV)"),
        injected="in a coroutine beside 8 neighbours, under a supervisor",
        invariant="P7 S11",
        observed="dead (worker_lost) at the third crash; all neighbours complete",
        recovery_s=verdict.longest_recovery,
        duplicates=verdict.duplicates,
    )


def test_a_dead_poison_tells_the_signal_and_the_memory(bed: Bed) -> None:
    """SIGSEGV three times under a supervisor. Issue: the dead job names the last worker, the signal
    that ended it and the memory it had.
    """
    bed.worker(processes=1)
    bed.worker(processes=2)
    killer = bed.one("segfault")
    bed.settle(50)

    bed.verdict()
    error = bed.records()[killer].error
    assert "WorkerLost" in error
    assert re.search(r"\d+ MB", error), error
    bed.record(
        fault="a poison job is looked at afterwards",
        injected="SIGSEGV three times",
        invariant="issue: poison",
        observed="its error names the worker, the crash and the memory at the last heartbeat",
        duplicates=2,
    )


def test_a_supervisor_s_child_that_dies_gives_its_jobs_back_at_once(bed: Bed) -> None:
    """SIGKILL of a supervisor's child, default heartbeats. P4: proof of death needs no silence: its
    jobs are back long before TTL and grace (8.5 s) are over, and know what killed it.
    """
    bed.settings |= {"heartbeat": None, "heartbeat_ttl": None, "grace": None}
    supervisor = bed.worker(processes=2)
    jobs = bed.produce("sleeper", 30.0, 0.1, count=20)
    for job in jobs:
        bed.wait_start(job)
    victim = bed.starts(jobs[0])[0]["pid"]
    held = {event["job"] for event in bed.starts() if event["pid"] == victim}
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    back = max(bed.wait_start(job, 2)["at"] for job in held) - killed
    os.kill(supervisor.children()[-1], signal.SIGKILL)  # so that the rest need not take 30 s
    for pid in {event["pid"] for event in bed.starts()} & set(supervisor.children()):
        os.kill(pid, signal.SIGKILL)
    bed.settle(50)

    verdict = bed.verdict()
    assert back < 4
    bed.record(
        fault="a supervisor sees its child die",
        injected="SIGKILL of one of two workers, default settings",
        invariant="P4",
        observed=f"the supervisor's word is proof: {len(held)} jobs run again without waiting for"
        " silence",
        recovery_s=back,
        duplicates=verdict.duplicates,
    )


def test_a_task_process_that_dies_is_its_own_failure(bed: Bed) -> None:
    """os._exit in a process of `executor="process"`. P7: the worker and its other slots live; the
    job fails by attempts, not by crashes.
    """
    worker = bed.worker(process_slots=2)
    neighbours = bed.produce("process_sleeper", 0.5, count=4)
    killer = bed.one("process_exits", retries=1, backoff=0.05)
    bed.settle()

    verdict = bed.verdict()
    record = bed.records()[killer]
    assert (record.state, record.attempt, record.crashes) == ("dead", 2, 0)
    assert "died" in record.error
    assert set(neighbours) <= set(verdict.ok)
    assert worker.alive
    bed.record(
        fault="a task kills its own process",
        injected='os._exit with executor="process"',
        invariant="P7",
        observed="fails by attempts with ProcessDied; the worker and its other slots live",
        duplicates=verdict.duplicates,
    )


#: What no task should raise.
WRONG = (
    "SystemExit",
    "KeyboardInterrupt",
    "GeneratorExit",
    "CancelledError",
    "StopIteration",
    "MemoryError",
    "RecursionError",
)


def test_exceptions_no_task_should_raise_fail_the_job_alone(bed: Bed) -> None:
    """SystemExit and its like out of a task. H1: the job fails, the worker lives, others run."""
    worker = bed.worker()
    neighbours = bed.produce("sleeper", 0.3, count=5)
    for job in neighbours:
        bed.wait_start(job)
    jobs = {kind: bed.one("raises", kind, retries=0) for kind in WRONG}
    after = bed.produce("quick", count=5)
    bed.settle()

    verdict = bed.verdict()
    records = bed.records()
    for kind, job in jobs.items():
        found = (records[job].state, records[job].attempt, records[job].crashes)
        assert found == ("dead", 1, 0), kind
        assert kind in records[job].error or kind == "StopIteration"
    assert set(neighbours + after) <= set(verdict.ok)
    assert verdict.duplicates == 0
    assert worker.alive
    bed.record(
        fault="tasks raise what no task should",
        injected=", ".join(WRONG),
        invariant="H1",
        observed="each job is dead with its error; the worker and its other jobs live",
        duplicates=0,
    )


def test_a_task_that_cancels_itself_or_leaves_orphans_sticks_nowhere(bed: Bed) -> None:
    """A task that cancels its own asyncio task, tasks that leave coroutines behind, some failing.
    H1: no job is stuck, the worker goes on.
    """
    worker = bed.worker()
    cancelled = bed.one("self_canceller", retries=0)
    orphans = bed.produce("orphan_maker", 6, count=10)
    bed.settle()
    after = bed.produce("quick", count=5)
    bed.settle()

    verdict = bed.verdict()
    assert bed.records()[cancelled].state == "dead"
    assert set(orphans + after) <= set(verdict.ok)
    assert worker.alive
    bed.record(
        fault="a task cancels itself; tasks leave coroutines behind",
        injected="current_task().cancel(); 60 orphans, 30 of which fail",
        invariant="H1",
        observed="it is dead with CancelledError, the others complete, the worker lives",
        duplicates=0,
    )


@pytest.mark.parametrize("what", ["close", "stop"])
def test_a_task_that_lays_hands_on_the_event_loop_is_no_stuck_job(bed: Bed, what: str) -> None:
    """loop.close() or loop.stop() in a task. P7, H1: the job ends (dead if it takes its worker
    along), all others complete.
    """
    supervisor = bed.worker(processes=2)
    neighbours = bed.produce("sleeper", 0.3, count=5)
    for job in neighbours:
        bed.wait_start(job)
    closer = bed.one("loop_closer", what, retries=0)
    bed.settle(50)
    after = bed.produce("quick", count=5)
    bed.settle(50)

    verdict = bed.verdict()
    records = bed.records()
    assert records[closer].state in ("completed", "dead")
    assert {records[job].state for job in neighbours + after} == {"completed"}
    assert supervisor.alive
    bed.record(
        fault=f"a task calls {what}() of the event loop",
        injected="in a coroutine beside 5 neighbours, under a supervisor",
        invariant="P7 H1",
        observed=f"the job is {records[closer].state} after {records[closer].crashes} crashes; all"
        " others complete",
        duplicates=verdict.duplicates,
    )


def test_results_nobody_can_send_are_the_job_s_own_failure(bed: Bed) -> None:
    """A result that is too large. H1: dead with `bad_result`, or tried again; never stuck."""
    worker = bed.worker(max_result=1024)
    jobs = bed.produce("bragger", 4096, count=3, retries=0)
    bed.settle()

    bed.verdict()
    assert {bed.records()[job].state for job in jobs} == {"dead"}
    assert worker.alive
    bed.record(
        fault="a result is larger than allowed",
        injected="4 KiB at max_result 1 KiB",
        invariant="H1",
        observed="dead with the reason; nothing is stuck",
        duplicates=0,
    )


@contextlib.contextmanager
def memory_limit(name: str, mebibytes: int) -> Iterator[Path]:
    """A control group with a limit on memory, of either version; its file of processes."""
    first, second = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    try:
        if (first / "memory.limit_in_bytes").exists():
            group, limit = first / name, "memory.limit_in_bytes"
        else:
            group, limit = second / name, "memory.max"
            if "memory" not in (second / "cgroup.subtree_control").read_text():
                (second / "cgroup.subtree_control").write_text("+memory")
        group.mkdir()
    except OSError as error:
        message = f"no control group with a memory limit can be made here ({error}): run as root"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    try:
        (group / limit).write_text(str(mebibytes << 20))
        for swap in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
            with contextlib.suppress(OSError):
                if (group / swap).exists():
                    (group / swap).write_text(str(mebibytes << 20 if "memsw" in swap else 0))
        yield group / "cgroup.procs"
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text().strip())
        group.rmdir()


def test_a_worker_the_kernel_kills_for_its_memory_is_recovered(bed: Bed) -> None:
    """A memory limit of a control group. P4, P7: the kernel kills the worker; the hog runs again
    elsewhere and completes where there is room, its neighbours too.
    """
    with memory_limit(f"taskq-chaos-{os.getpid()}", 150) as group:
        # Ended before the group is removed, whatever happens.
        confined = bed.worker(preexec=lambda: group.write_text(str(os.getpid())))
        try:
            hog = bed.one("hog", 300)
            neighbours = bed.produce("sleeper", 1.0, 0.1, count=10)
            assert confined.wait(20) == -signal.SIGKILL
        finally:
            confined.kill()
    bed.worker()
    bed.settle()

    verdict = bed.verdict()
    records = bed.records()
    assert (records[hog].state, records[hog].crashes) == ("completed", 1)
    assert {records[job].state for job in neighbours} == {"completed"}
    bed.record(
        fault="the kernel kills a worker for its memory",
        injected="a control group of 150 MiB, a task that takes 300 MiB",
        invariant="P4 P7",
        observed="its jobs run again elsewhere, one crash each",
        recovery_s=verdict.longest_recovery,
        duplicates=verdict.duplicates,
    )
