"""Faults of sheer numbers: bursts, storms, full queues, many idle workers, a large purge."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from taskq import QueueFull
from tests.chaos.bed import ROOT, Bed
from tests.helpers import last, wait_until

#: Keys of bounded size that stay while a queue has workers, by the first part of their name.
_LASTING = (
    *("meta", "stats", "classes", "wake", "vitals", "holders", "alive:", "averages", "slacks"),
    *("workers", "worker:", "queues"),
)


def test_a_worker_killed_in_a_burst_loses_nothing(bed: Bed) -> None:
    """500 jobs a second, one of two workers killed. H1, H4, P4."""
    doomed = bed.worker()
    bed.worker()
    producer = bed.producer(rate=500, seconds=3, mix="quick*20,sleeper:0.2")
    wait_until(lambda: len(bed.events("end")) > 500, 20)
    doomed.kill()
    assert producer.wait(20) == 0
    bed.settle()

    verdict = bed.verdict()
    assert len(verdict.ok) > 1300
    bed.record(
        fault="a worker is killed in a burst",
        injected="SIGKILL at 500 jobs/s",
        invariant="H1 H4 P4",
        observed=f"{len(verdict.ok)} jobs, 0 lost",
        recovery_s=verdict.longest_recovery,
        duplicates=verdict.duplicates,
    )


def test_a_retry_storm_is_spread_by_jitter(bed: Bed) -> None:
    """400 jobs fail at the same moment. Their second runs do not come together."""
    bed.worker("-c", "400")
    jobs = bed.produce("storm", count=400, retries=1)
    bed.settle()

    verdict = bed.verdict()
    assert {len(verdict.runs[job]) for job in jobs} == {2}
    delays = [two.began - one.until for one, two in verdict.runs.values()]
    slices = [sum(n / 10 <= d < (n + 1) / 10 for d in delays) for n in range(12)]
    assert max(slices) < 400 / 4
    assert max(delays) - min(delays) > 0.7
    bed.record(
        fault="all jobs fail at once",
        injected="400 jobs, default backoff (first pause up to 1 s)",
        invariant="no synchronised burst",
        observed=f"second runs spread over {max(delays):.1f} s, at most {max(slices)} in 0.1 s",
        duplicates=400,
    )


def test_a_full_queue_refuses_with_figures_and_takes_jobs_again(bed: Bed) -> None:
    """max_jobs. T1: QueueFull writes nothing; after draining the queue takes jobs again."""
    app = bed.new_app(max_jobs=50)
    bed.clean_up.callback(app.close_sync)
    bed.app = app
    first = bed.produce("quick", count=60)
    with pytest.raises(QueueFull) as caught:
        app.named("quick").enqueue_sync("x")
    assert "50" in str(caught.value)
    assert len(bed.events("refused")) == 10
    bed.worker()
    bed.settle()
    bed.produce("quick", count=10)
    bed.settle()

    verdict = bed.verdict()
    assert len(verdict.ok) == 60
    assert not set(first[50:]) & set(verdict.runs)
    bed.record(
        fault="a queue is full",
        injected="max_jobs 50, 60 enqueues without a worker",
        invariant="T1",
        observed="10 are refused with the figures and leave no trace; after draining it goes on",
        duplicates=0,
    )


def test_one_job_for_many_idle_workers_runs_once(bed: Bed) -> None:
    """Ten idle workers. H4, and no stampede: one run, and few calls."""
    for worker in [
        bed.worker(wait=False, heartbeat=1, heartbeat_ttl=4, grace=2) for _ in range(10)
    ]:
        bed.wait_up(worker, timeout=50)
    last(0.5)
    before = _scripts_run(bed)
    job = bed.one("quick")
    bed.settle()
    last(0.5)
    ran = _scripts_run(bed) - before

    verdict = bed.verdict()
    assert len(verdict.runs[job]) == 1
    # Heartbeats and reaping go on meanwhile: ten workers, a beat a second each.
    assert ran < 60
    bed.record(
        fault="one job for ten idle workers",
        injected="one enqueue",
        invariant="H4",
        observed="one run; the others are not woken",
        duplicates=0,
    )


def _scripts_run(bed: Bed) -> int:
    stats: Any = bed.client.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))


def test_a_large_purge_does_not_block_the_server(bed: Bed) -> None:
    """30,000 jobs purged. Another client's PING stays quick, and nothing of them is left."""
    calls = bed.app.named("quick")
    bed.app.enqueue_many_sync([calls.s(f"m{number}") for number in range(30_000)])
    slowest = [0.0]
    done = threading.Event()

    def ping() -> None:
        client = bed.server.client()
        while not done.wait(0.002):
            before = time.perf_counter()
            client.ping()
            slowest.append(time.perf_counter() - before)
        client.close()

    pinger = threading.Thread(target=ping)
    pinger.start()
    try:
        purged = subprocess.run(
            [sys.executable, "-m", "taskq", "queue", "purge", "default", "ready", "--yes"],
            cwd=ROOT,
            env=bed.environment(),
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    finally:
        done.set()
        pinger.join()

    assert purged.returncode == 0, purged.stderr
    assert "30,000" in purged.stdout or "30000" in purged.stdout
    assert bed.records() == {}
    ordered = sorted(slowest)
    assert ordered[int(len(ordered) * 0.99)] < 0.1
    bed.record(
        fault="30,000 jobs are purged",
        injected="taskq queue purge",
        invariant="bounded scripts",
        observed=f"PING of another client: p99 {ordered[int(len(ordered) * 0.99)] * 1000:.1f} ms",
        duplicates=0,
    )


def test_the_keyspace_is_empty_again_after_load_and_retention(bed: Bed) -> None:
    """3,000 jobs whose results are kept for a second. P8, S10: what is left is small and fixed."""
    bed.settings["result_ttl"] = 1.0
    bed.worker()
    producer = bed.producer(rate=1000, seconds=3, mix="quick")
    assert producer.wait(30) == 0
    ended = len(bed.events("returned"))
    wait_until(lambda: len(bed.events("end")) >= ended, 30)
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not _rest(bed), 15)
    assert _rest(bed)[:10] == []

    size = len(bed.client.keys("*"))  # not DBSIZE: that counts expired ones
    assert size < 20
    bed.record(
        fault="many jobs come and go",
        injected=f"{ended:,} jobs, result_ttl 1 s",
        invariant="P8 S10",
        observed=f"{size} keys are left, all of fixed size",
        duplicates=0,
    )


def _rest(bed: Bed) -> list[str]:
    """Keys that must not stay."""
    keys: Any = bed.client.keys("chaos:*")
    names = [key.decode().partition("}:")[2] or key.decode()[len("chaos:") :] for key in keys]
    return [name for name in names if not name.startswith(_LASTING)]
