"""Faults of worker processes: killed, frozen, replaced, starved."""

from __future__ import annotations

from tests.chaos.bed import Bed


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
