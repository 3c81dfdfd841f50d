"""Faults of clocks: of workers and producers, and of the server."""

from __future__ import annotations

import pytest

from tests.chaos.bed import Bed
from tests.chaos.other_builds import CLOCK, skewed_build
from tests.chaos.points import FAILPOINTS, SKEW
from tests.helpers import last, wait_until

HOUR = 3600


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_worker_s_wrong_clock_changes_nothing(bed: Bed, hours: int) -> None:
    """A worker an hour early or late beside a right one. H4, H11, S7: delays last what they should,
    leases hold, a killed worker is recovered as ever.
    """
    skewed = {SKEW: str(hours * HOUR)}
    wrong = bed.worker(app=FAILPOINTS, env=skewed)
    delayed = bed.produce("quick", count=20, delay=0.7)
    running = bed.produce("sleeper", 30.0, 0.1, count=5)
    failing = bed.produce("fails", 1, count=5)
    for job in running:
        bed.wait_start(job)
    bed.worker(app=FAILPOINTS, env={SKEW: str(-hours * HOUR)})
    wait_until(lambda: all(bed.starts(job) for job in delayed))
    wrong.kill()
    bed.settle()

    verdict = bed.verdict()
    tried = {event["job"]: event["at"] for event in bed.events("tried")}
    waits = [verdict.runs[job][0].began - tried[job] for job in delayed]
    assert min(waits) >= 0.65
    assert max(waits) < 3
    assert {len(verdict.runs[job]) for job in [*running, *failing]} == {2}
    assert verdict.longest_recovery < 5
    bed.record(
        fault=f"a worker's clock is an hour {'fast' if hours > 0 else 'slow'}",
        injected="time.time moved, another worker's the other way; then SIGKILL of one",
        invariant="H4 H11 S7",
        observed="delays, retries, leases and recovery as ever: the server's clock counts",
        recovery_s=verdict.longest_recovery,
        duplicates=verdict.duplicates,
    )


def test_the_order_of_jobs_does_not_depend_on_anybody_s_clock(bed: Bed) -> None:
    """Two producers an hour apart, a worker on a third clock. H8, H9: jobs start by priority, then
    in the order in which the server got them.
    """
    expected: dict[int, list[str]] = {}
    for number in range(30):
        priority = number % 3 + 4
        expected.setdefault(priority, []).append(bed.one("quick", priority=priority))
        last(0.002)  # an own millisecond each, so that the server can tell them apart
    bed.worker("-c", "1", app=FAILPOINTS, env={SKEW: str(-HOUR)})
    bed.settle()

    bed.verdict()
    started = [event["job"] for event in bed.starts()]
    assert started == [job for priority in (6, 5, 4) for job in expected[priority]]
    bed.record(
        fault="the worker's clock is an hour slow",
        injected="30 jobs of three priorities, one slot",
        invariant="H8 H9",
        observed="started by priority, then first come, first served",
        duplicates=0,
    )


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_step_of_the_server_s_clock_kills_no_healthy_worker(bed: Bed, hours: int) -> None:
    """TIME as the scripts see it jumps an hour while jobs run. S4, H4, P6: suspicion starts anew,
    tokens go on growing, and recovery of a really dead worker still works.
    """
    build = skewed_build(bed.folder)
    environment = {"PYTHONPATH": str(build)}
    bed.worker(cwd=build, env=environment)
    doomed = bed.worker("-c", "5", cwd=build, env=environment)
    jobs = bed.produce("sleeper", 2.0, count=20)
    for job in jobs:
        bed.wait_start(job)

    bed.client.set(CLOCK, hours * HOUR)
    bed.settle()
    calm = bed.verdict()
    assert calm.duplicates == 0
    assert {record.crashes for record in bed.records().values()} == {0}

    later = bed.produce("sleeper", 30.0, 0.1, count=60)
    wait_until(lambda: any(event["pid"] == doomed.pid for event in bed.starts()))
    doomed.kill()
    wait_until(lambda: bed.events("died"))
    taken = {event["job"] for event in bed.starts() if event["pid"] == doomed.pid}
    for job in taken & set(later):
        bed.wait_start(job, 2)
    bed.record(
        fault=f"the server's clock steps an hour {'forward' if hours > 0 else 'back'}",
        injected="a test build of the scripts whose clock reads a key; 20 jobs run",
        invariant="S4 H4 P6",
        observed="no healthy worker is suspected; a killed one is still recovered",
        duplicates=0,
    )
