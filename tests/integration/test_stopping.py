"""Worker processes that are told to stop, and workers that are killed: what becomes of their
jobs.
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from taskq import JobInfo, TaskQ
from taskq.keys import QueueKeys
from tests.helpers import wait_until
from tests.integration.workers import quick, worker_process
from tests.servers import Server

pytestmark = pytest.mark.parametrize("server", ["valkey"], indirect=True)


@pytest.fixture
def producer(server: Server, namespace: str) -> Iterator[TaskQ]:
    """An app without tasks: it sends by name and looks."""
    app = TaskQ(server.url, **quick(namespace))
    yield app
    app.close_sync()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the tasks write what they do."""
    return tmp_path / "log"


def infos(producer: TaskQ, jobs: list[Any]) -> list[JobInfo]:
    return [job.info_sync() for job in jobs]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_jobs_end_and_takes_no_new_ones(
    server: Server, namespace: str, producer: TaskQ, log: Path, number: signal.Signals
) -> None:
    with worker_process(server, namespace, concurrency=2) as worker:
        jobs = [producer.enqueue_sync("note", str(log), str(n), 0.7) for n in range(4)]
        worker.lines(log, 2)

        worker.send(number)

        assert worker.wait() == 0
    running, waiting = infos(producer, jobs[:2]), infos(producer, jobs[2:])
    assert [info.state for info in running] == ["completed", "completed"]
    assert [info.state for info in waiting] == ["ready", "ready"]
    assert Counter(log.read_text().splitlines())["start 2"] == 0
    for job in jobs[2:]:
        job.cancel_sync()


@pytest.mark.parametrize("task", ["note", "note_on_thread"])
def test_past_the_drain_time_jobs_are_given_back_unpunished(
    server: Server, namespace: str, producer: TaskQ, log: Path, task: str
) -> None:
    with worker_process(server, namespace, drain=0.3) as worker:
        job = producer.enqueue_sync(task, str(log), "long", 8.0)
        worker.lines(log, 1)
        rank = job.info_sync().rank
        began = time.monotonic()

        worker.send(signal.SIGTERM)

        assert worker.wait() == 0
        assert time.monotonic() - began < 4
    info = job.info_sync()
    assert (info.state, info.attempt, info.crashes, info.rank) == ("ready", 0, 0, rank)
    job.cancel_sync()


def test_a_second_signal_stops_at_once(
    server: Server, namespace: str, producer: TaskQ, log: Path
) -> None:
    with worker_process(server, namespace, drain=30.0) as worker:
        job = producer.enqueue_sync("note", str(log), "long", 60.0)
        worker.lines(log, 1)
        worker.send(signal.SIGTERM)
        wait_until(lambda: "drain" in worker.log)
        began = time.monotonic()

        worker.send(signal.SIGTERM)

        worker.wait()
        assert time.monotonic() - began < 3
    info = job.info_sync()
    assert (info.state, info.attempt, info.crashes) == ("ready", 0, 0)
    job.cancel_sync()


def test_a_worker_that_stops_leaves_the_roster_and_no_key_of_its_own(
    server: Server, namespace: str, producer: TaskQ, log: Path, raw: redis.Redis
) -> None:
    keys = QueueKeys(namespace, "default")
    with worker_process(server, namespace) as worker:
        producer.enqueue_sync("note", str(log), "one").result_sync(timeout=15)
        assert raw.zcard(f"{namespace}:workers") == 1
        assert raw.scard(keys.holders) == 1

        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    assert raw.zcard(f"{namespace}:workers") == 0
    assert raw.scard(keys.holders) == 0
    assert not [*raw.scan_iter(f"{namespace}:*:alive:*"), *raw.scan_iter(f"{namespace}:worker:*")]


def test_a_killed_workers_jobs_are_all_completed_by_another_and_only_the_running_ran_twice(
    server: Server, namespace: str, producer: TaskQ, log: Path, raw: redis.Redis
) -> None:
    settings = {"concurrency": 10, "heartbeat": 2.0, "heartbeat_ttl": 6.0, "grace": 2.5}
    with worker_process(server, namespace, **settings) as first:
        jobs = [producer.enqueue_sync("note", str(log), str(n), 0.02) for n in range(500)]
        first.lines(log, 300)

        first.send(signal.SIGKILL)
        first.wait()
    killed = time.monotonic()
    holders: Any = raw.smembers(QueueKeys(namespace, "default").holders)
    (worker,) = holders
    running = QueueKeys(namespace, "default").running(worker.decode())
    held = {item.decode() for item in raw.zrange(running, 0, -1)}  # type: ignore[union-attr]
    assert 1 <= len(held) <= 10

    with worker_process(server, namespace, **settings) as second:
        for job in jobs:
            job.result_sync(timeout=20)
        took = time.monotonic() - killed
        second.send(signal.SIGTERM)
        assert second.wait() == 0

    print(json.dumps({"killed worker held": len(held), "all done after s": round(took, 1)}))
    assert took < 15
    starts = Counter(line for line in log.read_text().splitlines() if line.startswith("start"))
    assert set(starts) == {f"start {n}" for n in range(500)}
    twice = {jobs[int(line.split()[1])].id for line, count in starts.items() if count == 2}
    assert max(starts.values()) <= 2
    assert twice <= held
    crashed = [
        job.id for job, info in zip(jobs, infos(producer, jobs), strict=True) if info.crashes
    ]
    assert set(crashed) == held
    assert all(info.attempt == 0 for info in infos(producer, jobs))


QUICK_DEATH = {"heartbeat": 0.2, "heartbeat_ttl": 0.7, "grace": 0.3}


def crash_three_workers(server: Server, namespace: str) -> None:
    for _ in range(3):
        with worker_process(server, namespace, **QUICK_DEATH) as worker:
            assert worker.wait() == 7, worker.log


def test_a_job_that_kills_its_worker_three_times_is_dead(
    server: Server, namespace: str, producer: TaskQ, log: Path
) -> None:
    job = producer.enqueue_sync("crash", str(log))

    crash_three_workers(server, namespace)

    with worker_process(server, namespace, **QUICK_DEATH) as last:
        wait_until(lambda: job.info_sync().state == "dead", timeout=15)
        last.send(signal.SIGTERM)
        assert last.wait() == 0
    info = job.info_sync()
    assert (info.reason, info.crashes, info.attempt) == ("worker_lost", 3, 0)
    assert log.read_text().count("crash") == 3


def test_jobs_that_ran_beside_one_that_kills_workers_are_not_given_up(
    server: Server, namespace: str, producer: TaskQ, log: Path
) -> None:
    killer = producer.enqueue_sync("crash", str(log))
    neighbour = producer.enqueue_sync("note", str(log), "fine", 0.5)

    crash_three_workers(server, namespace)

    with worker_process(server, namespace, **QUICK_DEATH) as last:
        wait_until(lambda: killer.info_sync().state == "dead", timeout=15)
        wait_until(lambda: neighbour.info_sync().state.ended, timeout=15)
        last.send(signal.SIGTERM)
        assert last.wait() == 0
        assert neighbour.result_sync(timeout=15) == "fine"
