"""Workers that make room for new ones: after so many jobs, or above so much memory."""

from __future__ import annotations

from tests.chaos.bed import Bed
from tests.helpers import wait_until


def test_workers_recycled_by_job_count_lose_repeat_and_charge_nothing(bed: Bed) -> None:
    """recycle_jobs under load. P7, H1: several processes serve, each job runs once, uncharged."""
    supervisor = bed.worker(processes=2, recycle_jobs=150)
    producer = bed.producer(rate=150, seconds=6, mix="quick*4,sleeper:0.2")
    assert producer.wait(30) == 0
    bed.settle()

    verdict = bed.verdict()
    records = bed.records()
    pids = {event["pid"] for event in bed.starts()}
    assert len(pids) >= 4
    assert verdict.duplicates == 0
    assert {(record.attempt, record.crashes) for record in records.values()} == {(0, 0)}
    assert "makes room for a new one: it has run" in supervisor.log
    assert "again in" not in supervisor.log
    bed.record(
        fault="workers are recycled after so many jobs",
        injected="recycle_jobs 150 at 150 jobs/s, two processes",
        invariant="P7 H1",
        observed=f"{len(pids)} processes served {len(verdict.ok)} jobs, each once, none charged",
        duplicates=0,
    )


def test_a_worker_that_leaks_is_recycled_by_its_memory(bed: Bed) -> None:
    """recycle_rss with a task that leaks. P7, H1: the process is replaced before it is killed."""
    supervisor = bed.worker(processes=2, recycle_rss=150)
    neighbours = bed.produce("sleeper", 1.5, count=20)
    leaks = bed.produce("leaker", 30, count=12)
    bed.wait_log(supervisor, "makes room for a new one: it holds")
    bed.settle()
    after = bed.produce("quick", count=20)
    bed.settle()

    verdict = bed.verdict()
    records = bed.records()
    assert verdict.duplicates == 0
    assert {(records[j].state, records[j].crashes) for j in [*neighbours, *leaks, *after]} == {
        ("completed", 0)
    }
    bed.record(
        fault="a task leaks memory",
        injected="30 MiB a job, recycle_rss 150 MiB",
        invariant="P7 H1",
        observed="the process drains and is replaced; nothing is lost, repeated or charged",
        duplicates=0,
    )


def test_a_worker_alone_that_shall_recycle_is_followed_by_another(bed: Bed) -> None:
    """recycle_jobs with one process: it is looked after, though nobody asked for several."""
    worker = bed.worker(recycle_jobs=5)
    for number in range(1, 4):
        bed.produce("quick", count=5)
        bed.settle()
        wait_until(lambda number=number: worker.log.count("makes room for a new one") == number)

    verdict = bed.verdict()
    assert verdict.duplicates == 0
    assert len({event["pid"] for event in bed.starts()}) >= 3
    assert worker.alive
    bed.record(
        fault="a worker alone is recycled",
        injected="recycle_jobs 5, one process",
        invariant="P7 H1",
        observed="another process follows each time; nothing is repeated or charged",
        duplicates=0,
    )
