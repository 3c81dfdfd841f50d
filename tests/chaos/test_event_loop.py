"""Faults of tasks that keep the event loop, or the whole interpreter, to themselves."""

from __future__ import annotations

import pytest

from tests.chaos.bed import Bed
from tests.helpers import last, wait_until


def test_a_blocked_event_loop_keeps_the_leases_of_all_its_jobs(bed: Bed) -> None:
    """time.sleep for three lease times in a coroutine. P4, H4: the heart beats on; neither the
    blocker nor its neighbours are taken away.
    """
    bed.worker(timeout=30)
    neighbours = bed.produce("sleeper", 0.3, count=10)
    for job in neighbours:
        bed.wait_start(job)
    blocker = bed.one("blocker", 3.3)
    bed.wait_start(blocker)
    bed.worker()
    bed.settle()

    verdict = bed.verdict()
    assert verdict.duplicates == 0
    assert {record.crashes for record in bed.records().values()} == {0}
    bed.record(
        fault="a coroutine blocks the event loop for longer than the lease",
        injected="time.sleep(3.3) in a coroutine, TTL and grace 1.1 s",
        invariant="P4 H4",
        observed="the heart beats on its own thread: no lease is lost, no job repeated",
        duplicates=0,
    )


def test_a_task_that_blocks_the_event_loop_is_named_with_its_stack_and_counted(bed: Bed) -> None:
    """time.sleep in a coroutine for longer than `block_warn`. A warning names the job, the task and
    the line; the roster counts it.
    """
    worker = bed.worker(block_warn=0.3)
    blocker = bed.one("blocker", 1.5)
    line = bed.wait_log(worker, f"by job {blocker} (blocker)")
    bed.settle()

    bed.verdict()
    assert "event loop blocked for" in line
    assert "time.sleep(seconds)" in worker.log
    wait_until(lambda: any(w.get("blocks", "0") != "0" for w in bed.roster().values()))
    bed.record(
        fault="a coroutine blocks the event loop",
        injected="time.sleep(1.5), block_warn 0.3 s",
        invariant="issue: blocked loop",
        observed="named in a warning with job, task and stack; counted in the roster",
        duplicates=0,
    )


def test_a_call_that_holds_the_interpreter_s_lock_is_taken_over_once(bed: Bed) -> None:
    """A C call that keeps the GIL for three lease times: not even the heart can beat. H4, T3: the
    job runs once more elsewhere, and the first report is stale.
    """
    held = bed.worker()
    job = bed.one("gil_holder", 4)
    with bed.fault("interpreter held", held.pid):
        bed.wait_start(job)
        other = bed.worker()
        second = bed.wait_start(job, 2)
        wait_until(lambda: len(bed.events("end", job)) == 2 or not held.alive)
        after = bed.produce("quick", count=5)
        bed.settle()

    verdict = bed.verdict()
    record = bed.records()[job]
    assert len(verdict.runs[job]) == 2
    assert record.worker.startswith(other.name)
    assert (record.crashes, record.attempt) == (1, 0)
    assert set(after) <= set(verdict.ok)
    # Blocked beyond its lease, it may end rather than go on; not in any other way.
    assert held.popen.poll() in (None, 70), held.log
    bed.record(
        fault="a C function keeps the interpreter's lock for longer than the lease",
        injected="sleep(4) through ctypes.PyDLL, TTL and grace 1.1 s",
        invariant="H4 T3",
        observed="runs once more elsewhere, the late report is stale; the worker goes on, or ends"
        " with 70. The two runs overlap: a process that cannot run cannot fence itself",
        recovery_s=second["at"] - bed.starts(job)[0]["at"],
        duplicates=verdict.duplicates,
    )


def test_an_endless_loop_is_interrupted_at_its_hard_deadline(bed: Bed) -> None:
    """A loop in Python that never waits. P7, H4: past timeout + 5 s it is interrupted and fails
    with TaskTimeout, an attempt and no crash; neighbours are not charged and the worker lives.
    """
    worker = bed.worker()
    neighbours = bed.produce("sleeper", 0.5, count=5)
    for job in neighbours:
        bed.wait_start(job)
    endless = bed.one("endless", timeout=0.5, retries=0)
    bed.wait_start(endless)
    bed.settle(30)

    verdict = bed.verdict()
    records = bed.records()
    assert records[endless].state == "dead"
    assert "TaskTimeout" in records[endless].error
    assert (records[endless].attempt, records[endless].crashes) == (1, 0)
    assert {(records[job].state, records[job].crashes) for job in neighbours} == {("completed", 0)}
    assert worker.alive
    run = verdict.runs[endless][0]
    bed.record(
        fault="an endless loop in a coroutine",
        injected="while True without await, timeout 0.5 s",
        invariant="P7 H4",
        observed="interrupted at its hard deadline: TaskTimeout, one attempt, no crash; neighbours"
        " and worker live",
        recovery_s=run.until - run.began,
        duplicates=verdict.duplicates,
    )


@pytest.mark.timeout(90)
def test_a_blocking_call_nobody_can_interrupt_costs_the_process_and_nothing_else(bed: Bed) -> None:
    """time.sleep far beyond the hard deadline: an exception cannot reach it. P7: 10 s past its
    timeout the worker reports it failed, gives its neighbours back unpunished and ends with 70.
    """
    worker = bed.worker()
    neighbours = bed.produce("sleeper", 1.0, count=5)
    for job in neighbours:
        bed.wait_start(job)
    stuck = bed.one("blocker", 60, timeout=0.5, retries=0)
    bed.wait_start(stuck)
    code = worker.wait(40)
    bed.worker()
    bed.settle(30)

    verdict = bed.verdict()
    records = bed.records()
    assert code == 70
    assert (records[stuck].state, records[stuck].attempt, records[stuck].crashes) == ("dead", 1, 0)
    assert "TaskTimeout" in records[stuck].error
    assert {(records[job].state, records[job].crashes) for job in neighbours} == {("completed", 0)}
    bed.record(
        fault="a coroutine is stuck in a call that no exception reaches",
        injected="time.sleep(60), timeout 0.5 s",
        invariant="P7",
        observed="the worker reports it failed, releases its neighbours and ends with code 70",
        duplicates=verdict.duplicates,
    )


def test_a_task_that_swallows_its_cancellation_does_not_keep_its_slot(bed: Bed) -> None:
    """CancelledError caught and ignored. H10: at the hard limit the run is reported and its slot is
    free again, with one slot in all.
    """
    worker = bed.worker("-c", "1")
    swallower = bed.one("swallower", 20.0, timeout=0.5, retries=0)
    bed.wait_start(swallower)
    after = bed.produce("quick", count=3)
    bed.settle(20)

    verdict = bed.verdict()
    records = bed.records()
    assert records[swallower].state == "dead"
    assert (records[swallower].attempt, records[swallower].crashes) == (1, 0)
    assert set(after) <= set(verdict.ok)
    assert worker.alive
    freed = bed.starts(after[0])[0]["at"] - bed.starts(swallower)[0]["at"]
    bed.record(
        fault="a coroutine swallows its cancellation",
        injected="except CancelledError: go on; timeout 0.5 s, one slot",
        invariant="H10",
        observed="reported at timeout + 5 s, its slot serves others while it goes on",
        recovery_s=freed,
        duplicates=0,
    )


def test_threads_that_never_end_do_not_use_up_the_worker(bed: Bed) -> None:
    """Threads stuck far beyond their timeout, twice as many as there are slots. H10: all are given
    up, and the worker runs on.
    """
    worker = bed.worker("-c", "3")
    stuck = bed.produce("stubborn_writer", 40.0, count=6, timeout=0.3, retries=0)
    after = bed.produce("thread_sleeper", 0.1, count=3)
    bed.settle(20)

    verdict = bed.verdict()
    records = bed.records()
    assert {(records[job].state, records[job].attempt) for job in stuck} == {("dead", 1)}
    assert set(after) <= set(verdict.ok)
    assert worker.alive
    bed.record(
        fault="threads that never end",
        injected="6 threads sleep 40 s past a timeout of 0.3 s, 3 slots",
        invariant="H10",
        observed="all six are given up at their timeout, three others run at once",
        duplicates=0,
    )


def test_many_short_blocks_do_not_cost_a_lease(bed: Bed) -> None:
    """Coroutines that block for a moment each, all the time. H4: no lease is lost."""
    bed.worker()
    bed.produce("blocker", 0.05, count=60)
    bed.produce("sleeper", 1.0, count=20)
    last(0.5)
    bed.worker()
    bed.settle()

    verdict = bed.verdict()
    assert verdict.duplicates == 0
    bed.record(
        fault="coroutines that block for a moment, again and again",
        injected="60 times time.sleep(0.05) beside 20 sleepers",
        invariant="H4",
        observed="every job runs once",
        duplicates=0,
    )
