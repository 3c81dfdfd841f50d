"""Deploys: workers that are stopped, replaced, started together, and of two versions."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil

from tests.chaos.bed import Bed
from tests.chaos.other_builds import next_version
from tests.helpers import wait_until


def test_sigterm_lets_jobs_end_and_claims_nothing_more(bed: Bed) -> None:
    """SIGTERM with jobs shorter than the drain time. H13: they complete, nothing is claimed after
    the signal, exit code 0.
    """
    worker = bed.worker("-c", "10")
    running = bed.produce("sleeper", 1.0, count=10)
    waiting = bed.produce("quick", count=20)
    for job in running:
        bed.wait_start(job)
    signalled = time.monotonic()
    worker.stop()
    assert worker.wait() == 0
    drained = time.monotonic() - signalled
    records = bed.records()
    assert {records[job].state for job in running} == {"completed"}
    assert {records[job].state for job in waiting} == {"ready"}
    bed.worker()
    bed.settle()

    verdict = bed.verdict()
    assert verdict.duplicates == 0
    bed.record(
        fault="a worker is told to stop",
        injected="SIGTERM while 10 jobs of 1 s run and 20 wait",
        invariant="H13",
        observed="the 10 complete, none of the 20 is claimed, exit code 0",
        recovery_s=drained,
        duplicates=0,
    )


def test_jobs_longer_than_the_drain_are_given_back_unpunished(bed: Bed) -> None:
    """SIGTERM with a drain shorter than the jobs. H13, P7: given back, no attempt, no crash, exit
    code 0; they run elsewhere at once.
    """
    worker = bed.worker(drain=0.5)
    jobs = [
        *bed.produce("sleeper", 30.0, 0.1, count=10),
        *bed.produce("process_sleeper", 2.0, count=2),
    ]
    for job in jobs:
        bed.wait_start(job)
    other = bed.worker()
    worker.stop()
    assert worker.wait() == 0
    bed.settle()

    verdict = bed.verdict()
    records = bed.records()
    assert {(records[j].attempt, records[j].crashes) for j in jobs} == {(0, 0)}
    assert all(records[job].worker.startswith(other.name) for job in jobs)
    bed.record(
        fault="a worker is stopped before its jobs can end",
        injected="SIGTERM, drain 0.5 s, jobs of 30 s in coroutines and of 2 s in processes",
        invariant="H13 P7",
        observed="given back without attempt or crash, run elsewhere at once",
        duplicates=verdict.duplicates,
    )


def test_a_second_sigterm_gives_everything_back_at_once(bed: Bed) -> None:
    """SIGTERM twice. H13: no waiting; jobs are given back unpunished, exit code 143."""
    worker = bed.worker(drain=60)
    jobs = bed.produce("sleeper", 30.0, 0.1, count=10)
    for job in jobs:
        bed.wait_start(job)
    worker.stop()
    bed.wait_log(worker, "draining")
    signalled = time.monotonic()
    worker.stop()
    code = worker.wait()
    took = time.monotonic() - signalled
    assert code == 128 + signal.SIGTERM
    assert took < 5
    bed.worker()
    bed.settle()

    verdict = bed.verdict()
    records = bed.records()
    assert {(records[job].attempt, records[job].crashes) for job in jobs} == {(0, 0)}
    bed.record(
        fault="a worker is told to stop twice",
        injected="SIGTERM, SIGTERM; drain 60 s",
        invariant="H13 P7",
        observed="ends at once with 143; its jobs are given back unpunished",
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_a_rolling_deploy_under_load_loses_repeats_and_charges_nothing(bed: Bed) -> None:
    """Both workers replaced one after the other while jobs come in. H1, P7: no crash, no attempt,
    and nothing runs twice, for every job is shorter than the drain.
    """
    old = [bed.worker(), bed.worker()]
    producer = bed.producer(rate=150, seconds=6, mix="quick*4,sleeper:0.1*2,thread_sleeper:0.1")
    for worker in old:
        bed.worker()
        worker.stop()
        assert worker.wait() == 0
    assert producer.wait(30) == 0
    bed.settle()

    verdict = bed.verdict()
    records = bed.records()
    assert len(verdict.ok) > 700
    assert verdict.duplicates == 0
    assert {(record.attempt, record.crashes) for record in records.values()} == {(0, 0)}
    bed.record(
        fault="a rolling deploy",
        injected="two workers replaced one by one at 150 jobs/s",
        invariant="H1 P7",
        observed=f"{len(verdict.ok)} jobs, each run once, none charged",
        duplicates=0,
    )


def test_eight_workers_that_start_at_once_on_an_empty_server_work(bed: Bed) -> None:
    """Eight boots at the same moment. H4: eight ids, no error, every job once."""
    jobs = bed.produce("sleeper", 0.2, count=60)
    workers = [bed.worker("-c", "4", wait=False) for _ in range(8)]
    for worker in workers:
        bed.wait_up(worker, timeout=50)
    bed.settle()

    verdict = bed.verdict()
    assert verdict.duplicates == 0
    assert len(verdict.ok) == len(jobs)
    assert len(bed.roster()) == 8
    for worker in workers:
        assert " error " not in worker.log
        assert " warning " not in worker.log
    bed.record(
        fault="eight workers start at once on an empty server",
        injected="no scripts loaded, 60 jobs waiting",
        invariant="H4",
        observed="eight on the roster, no error in any log, every job once",
        duplicates=0,
    )


def test_two_versions_of_the_scripts_work_side_by_side(bed: Bed) -> None:
    """Workers of two versions, the script cache emptied between. H1, H4, H5."""
    build = next_version(bed.folder)
    bed.worker("-c", "3")
    bed.worker("-c", "3", cwd=build, env={"PYTHONPATH": str(build)})
    producer = bed.producer(rate=100, seconds=2, mix="quick,sleeper:0.1*2,fails:1")
    bed.wait_event("end")
    bed.client.script_flush()
    assert producer.wait(20) == 0
    bed.settle()

    verdict = bed.verdict()
    by_worker = {run.worker[:2] for runs in verdict.runs.values() for run in runs}
    assert by_worker == {"w1", "w2"}
    assert set(verdict.reasons) == {"failed"}
    loaded: int = bed.client.info("memory")["number_of_cached_scripts"]  # type: ignore[index]
    bed.record(
        fault="workers of two versions side by side",
        injected="scripts that differ in every SHA; SCRIPT FLUSH between",
        invariant="H1 H4 H5",
        observed=f"both work; {loaded} scripts in the server's cache; no extra runs",
        duplicates=0,
    )


def test_a_task_only_new_workers_know_waits_for_them(bed: Bed) -> None:
    """A producer that is ahead of its workers. P9, H1: old workers hand the job on unpunished."""
    old = bed.worker()
    newer = bed.folder / "newer.py"
    newer.write_text(
        "from tests.chaos.tasks import app, living\n"
        "from taskq import Context\n"
        "@app.task\n"
        "async def brand_new(ctx: Context, mark: str) -> str:\n"
        "    with living(ctx, mark) as life:\n"
        "        return life.end('done')\n"
    )
    jobs = bed.produce("brand_new", count=20)
    bed.wait_log(old, "no task 'brand_new' here")
    bed.worker(app="newer:app", cwd=bed.folder)
    bed.settle()

    verdict = bed.verdict()
    records = bed.records()
    assert {(records[job].attempt, records[job].crashes) for job in jobs} == {(0, 0)}
    assert all(verdict.runs[job][0].worker.startswith("w2") for job in jobs)
    bed.record(
        fault="a producer is deployed before its workers",
        injected="20 jobs of a task that the first worker does not know",
        invariant="P9 H1",
        observed="handed on without a charge, run by the worker that knows it",
        duplicates=0,
    )


def test_a_killed_supervisor_s_children_drain_and_end(bed: Bed) -> None:
    """SIGKILL of the supervisor. H1, H4: its children notice, let their jobs end and go."""
    supervisor = bed.worker(processes=2)
    jobs = bed.produce("sleeper", 1.0, count=20)
    for job in jobs:
        bed.wait_start(job)
    children = [psutil.Process(pid) for pid in supervisor.children()]
    supervisor.kill()
    gone, alive = psutil.wait_procs(children, timeout=15)
    assert (len(gone), alive) == (2, [])
    bed.settle()

    verdict = bed.verdict()
    assert verdict.duplicates == 0
    bed.record(
        fault="a supervisor is killed",
        injected="SIGKILL of the parent of two workers with 20 jobs",
        invariant="H1 H4",
        observed="its children notice, drain and end; no job is repeated",
        duplicates=0,
    )


def test_children_that_keep_dying_are_restarted_with_growing_pauses(bed: Bed) -> None:
    """A worker that dies at every start. No restart storm: the pauses double, with jitter; a good
    version is taken up without touching the supervisor.
    """
    (bed.folder / "broken.py").write_text(
        "import os, pathlib\n"
        "from tests.chaos.tasks import app\n"
        "@app.lifespan\n"
        "async def broken(app):\n"
        "    if not pathlib.Path('mended').exists(): os._exit(9)\n"
        "    yield\n"
    )
    job = bed.one("quick")
    # One place in which to die: a supervisor is made for two.
    supervisor = bed.worker(app="broken:app", cwd=bed.folder, processes=2, wait=False)
    wait_until(lambda: len(_pauses(supervisor.log)) >= 6, 30)
    pauses = _pauses(supervisor.log)
    Path(bed.folder, "mended").touch()
    bed.wait_up(supervisor, 2)
    bed.settle()

    bed.verdict()
    assert bed.records()[job].state == "completed"
    first, later = pauses[:2], pauses[4:6]
    assert max(first) <= 0.5
    assert min(later) >= 1.0
    bed.record(
        fault="workers die at every start",
        injected="os._exit in the app's lifespan, under a supervisor",
        invariant="no restart storm",
        observed=f"pauses grow ({', '.join(f'{p:g}' for p in pauses[:6])} s for two places); a"
        " mended app is taken up by itself",
        duplicates=0,
    )


def _pauses(log: str) -> list[float]:
    return [float(line.rpartition("again in ")[2].split()[0]) for line in _restarts(log)]


def _restarts(log: str) -> list[str]:
    return [line for line in log.splitlines() if "again in" in line]
