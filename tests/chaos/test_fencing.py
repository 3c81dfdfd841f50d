"""Workers that cannot renew: they stop their tasks before anyone else may start them, and come back
under a new id by themselves.
"""

from __future__ import annotations

from tests.chaos.bed import Bed, BedWorker
from tests.chaos.stage import STEADY, Stage, consuming_again, given_to, now
from tests.helpers import wait_until

#: Every setting that FAST shortens is at its default: the figures are those of the docs.
DEFAULTS: dict[str, object] = dict.fromkeys(
    ("heartbeat", "heartbeat_ttl", "grace", "block", "socket_timeout", "connect_timeout")
)


def started_by(bed: Bed, worker: BedWorker, after: float) -> float | None:
    """Seconds from `after` to the next start on this worker; None while there is none."""
    times = [e["at"] - after for e in bed.starts() if e["pid"] == worker.pid and e["at"] > after]
    return min(times) if times else None


def consuming_itself_again(bed: Bed, worker: BedWorker, healed: float) -> float:
    """Send jobs until one starts on this very worker; seconds from `healed` to its start."""
    producer = bed.producer(rate=50, seconds=30.0, mix="quick")
    took = wait_until(lambda: started_by(bed, worker, healed), 30, "this worker consumes again")
    producer.terminate()
    producer.wait(10)
    assert took is not None
    return took


def all_started_again(bed: Bed, jobs: list[str], timeout: float) -> float:
    """Wait until each of these jobs has a second run; when the last of these began."""
    return max(bed.wait_start(job, count=2, timeout=timeout)["at"] for job in jobs)


def test_a_partition_longer_than_the_lease_at_default_settings(stage: Stage) -> None:
    """Fault: a worker is cut off, both ways, silently, for longer than its lease, at the DEFAULT
    settings. H7: coroutines and processes of user code have stopped before the other worker starts
    the same jobs (overlapping = 0). P4: they start there in < 12 s. After
    healing the worker consumes again in < 5 s, under a new id.
    """
    net, server = stage.served_network()
    bed = stage.bed(server, **DEFAULTS)
    place = net.join()
    ours = bed.worker(netns=place.name, url=server.tcp_url)
    jobs = bed.produce("sleeper", 30.0, count=4)
    jobs += bed.produce("process_sleeper", 30.0, count=2)
    for job in jobs:
        first = bed.wait_start(job)
    other = bed.worker()

    cut = now()
    place.cut()
    took_over = all_started_again(bed, jobs, timeout=20) - cut
    bed.declare("partition", ours.pid, since=cut, until=now())
    place.heal()
    healed = now()
    back = consuming_itself_again(bed, ours, healed)
    for job in jobs:  # the rest of their thirty seconds shows nothing more
        bed.app.job(job).cancel_sync()
    bed.settle()

    verdict = bed.verdict()
    assert took_over < 15  # < 12 s, and what a busy machine adds
    assert back < 5
    assert ours.alive
    assert other.alive
    again = next(e for e in bed.starts() if e["pid"] == ours.pid and e["at"] > healed)
    assert again["worker"] != first["worker"], "it goes on under the id that was reaped"
    stopped = [run.until - cut for job in jobs for run in verdict.runs[job][:1]]
    bed.record(
        fault="a worker is partitioned from the server, both ways, longer than its lease",
        injected=f"{healed - cut:.1f} s at the default settings",
        invariant="H7, P4, P5",
        observed=f"its code had stopped after {max(stopped):.1f} s, the other worker began after"
        f" {took_over:.1f} s; overlapping 0; healed, it consumed again after {back:.1f} s",
        recovery_s=back,
        duplicates=verdict.duplicates,
    )


def test_a_worker_that_only_loses_replies_gives_its_jobs_up(stage: Stage) -> None:
    """Fault: for longer than the lease, the server hears a worker that does not hear the server.
    H7: it stops its tasks; H10: it does not keep its leases alive meanwhile, so others run them.
    """
    net, server = stage.served_network()
    bed = stage.bed(server, **STEADY, socket_timeout=0.5)
    place = net.join()
    ours = bed.worker(netns=place.name, url=server.tcp_url)
    bed.worker()
    jobs = given_to(bed, ours, "sleeper", 3.5, count=4)

    cut = now()
    place.cut(requests=False)
    took_over = all_started_again(bed, jobs, timeout=20) - cut
    bed.declare("replies lost", ours.pid, since=cut, until=now())
    place.heal()
    healed = now()
    back = consuming_itself_again(bed, ours, healed)
    bed.settle()

    verdict = bed.verdict()
    assert back < 5
    bed.record(
        fault="a worker hears nothing while the server hears it, longer than its lease",
        injected=f"{healed - cut:.1f} s; TTL 0.9 s, grace 0.5 s",
        invariant="H7, H10",
        observed=f"its jobs ran elsewhere after {took_over:.1f} s; overlapping 0",
        recovery_s=back,
        duplicates=verdict.duplicates,
    )


def test_every_kind_of_task_is_stopped_and_the_late_report_refused(stage: Stage) -> None:
    """Fault: a partition longer than the lease. H7 for coroutines, threads that look and processes;
    a thread that does not look runs on, what a fenced store takes of it is never older than what it
    has (H6), and its late report changes nothing (H5).
    """
    net, server = stage.served_network()
    bed = stage.bed(server, **STEADY, socket_timeout=0.5, process_slots=6)
    place = net.join()
    ours = bed.worker(netns=place.name, url=server.tcp_url)
    bed.worker()
    deaf = given_to(bed, ours, "stubborn_writer", 4.0, count=2)
    jobs = given_to(bed, ours, "process_sleeper", 3.0, count=2)
    jobs += given_to(bed, ours, "thread_sleeper", 3.0, count=2)
    jobs += given_to(bed, ours, "sleeper", 3.0, count=3)

    with bed.fault("partition", ours.pid):
        place.cut()
        all_started_again(bed, jobs + deaf, timeout=20)
        place.heal()
    took = consuming_again(bed, now(), within=5)
    bed.settle()

    verdict = bed.verdict(allow=["overlapping"])
    assert set(verdict.overlapping) <= set(deaf), verdict.violations()
    assert all(record.state == "completed" for record in bed.records().values())
    bed.record(
        fault="a partition longer than the lease, over coroutines, threads and processes",
        injected="TTL 0.9 s, grace 0.5 s",
        invariant="H5, H6, H7",
        observed=f"all that can be stopped had stopped; {len(verdict.overlapping)} of 2 threads"
        " that do not look ran on beside the next run; no result and no write of theirs counted"
        " after the next",
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_a_worker_told_to_continue_keeps_its_tasks(stage: Stage) -> None:
    """Fault: the same partition with isolation=continue, for jobs that must not be interrupted. The
    runs go on, others may run them too; what comes late is refused (H5), nothing is lost (H1).
    """
    net, server = stage.served_network()
    bed = stage.bed(server, **STEADY, socket_timeout=0.5)
    place = net.join()
    ours = bed.worker(netns=place.name, url=server.tcp_url, isolation="continue")
    bed.worker()
    jobs = given_to(bed, ours, "sleeper", 3.0, count=3)

    with bed.fault("partition", ours.pid):
        place.cut()
        all_started_again(bed, jobs, timeout=20)
        place.heal()
    took = consuming_again(bed, now(), within=5)
    bed.settle()

    verdict = bed.verdict(allow=["overlapping"])
    assert set(verdict.overlapping) <= set(jobs)
    bed.record(
        fault="a partition longer than the lease with isolation=continue",
        injected="TTL 0.9 s, grace 0.5 s",
        invariant="H1, H5",
        observed=f"{len(verdict.overlapping)} of 3 jobs ran twice at once, as asked for; nothing"
        " lost, late reports refused",
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_a_worker_whose_user_is_deleted_says_so_and_another_takes_over(stage: Stage) -> None:
    """Fault: ACL DELUSER of the worker's user in the middle of a job. It says why (WRONGPASS), its
    lease runs out, another worker runs the job; given its user back, it works again by itself.
    """
    server = stage.server()
    bed = stage.bed(server)
    make = ("ACL", "SETUSER", "blue", "on", ">secret", "~*", "&*", "+@all")
    bed.client.execute_command(*make)
    ours = bed.worker(url=server.url.replace("unix://", "unix://blue:secret@"))
    other = bed.worker()
    (job,) = given_to(bed, ours, "sleeper", 3.0, count=1)

    deleted = now()
    with bed.fault("user deleted", ours.pid):
        bed.client.execute_command("ACL", "DELUSER", "blue")
        bed.wait_log(ours, "check user name and password")
        second = bed.wait_start(job, count=2)
        bed.settle()
        other.stop()
        assert other.wait() == 0
        bed.client.execute_command(*make)
    took = consuming_again(bed, now(), within=15)
    bed.settle()

    assert ours.alive
    assert "secret" not in ours.log
    verdict = bed.verdict()
    bed.record(
        fault="ACL DELUSER of a worker's user",
        injected="in the middle of a job, until another worker had done it",
        invariant="H1, R12",
        observed=f"said in the log; the job ran elsewhere after {second['at'] - deleted:.1f} s",
        recovery_s=took,
        duplicates=verdict.duplicates,
    )
