"""A server that answers and refuses: no memory, no disk, no room, no rights."""

from __future__ import annotations

import contextlib

import pytest
import redis

from taskq.errors import StoreUnavailable
from tests.chaos.ledger import Event
from tests.chaos.stage import (
    LONG,
    STEADY,
    Stage,
    consuming_again,
    crashes,
    ended_well,
    in_words,
    now,
)
from tests.helpers import last, wait_until


def test_a_full_server_refuses_new_jobs_and_lets_the_old_ones_end(stage: Stage) -> None:
    """Fault: maxmemory is reached (noeviction). Enqueues are refused and leave nothing; ack, fail,
    heartbeat and promote still work; with memory again all goes on. P6.
    """
    server = stage.server()
    bed = stage.bed(server, **STEADY)
    bed.worker()
    running = bed.produce("sleeper", 1.0, count=5)
    waiting = bed.produce("quick", count=20, delay=0.7) + bed.produce("fails", 1, count=5)
    bed.wait_start(running[0])

    with bed.fault("out of memory"):
        bed.client.config_set("maxmemory", 1)
        refused = bed.produce("quick", count=2)
        bed.settle()  # all that was there before ends on the full server
        bed.client.config_set("maxmemory", 0)
    took = consuming_again(bed, now(), within=5)
    bed.settle()

    verdict = bed.verdict()
    assert not set(refused) & (set(bed.records()) | set(verdict.runs)), "refused, yet there"
    assert not {e["job"] for e in bed.events("returned")} & set(refused)
    assert set(running + waiting) <= set(verdict.ok)
    assert crashes(bed) == 0
    bed.record(
        fault="the server is out of memory (noeviction)",
        injected="maxmemory below what is used, until all waiting jobs had ended",
        invariant="P6, T1",
        observed=f"2 enqueues refused, no trace of them; {len(running + waiting)} jobs ended",
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_memory_above_the_watermark_turns_producers_away_in_time(stage: Stage) -> None:
    """Fault: memory is nearly used up. Enqueues raise QueueFull with the figures before the server
    has to refuse writes; what is there goes on; with memory again enqueues pass. T1, P6.
    """
    server = stage.server()
    bed = stage.bed(server, **STEADY)
    bed.worker()
    running = bed.produce("sleeper", 1.5, count=5)
    bed.wait_start(running[0])
    used: int = bed.client.info("memory")["used_memory"]

    bed.client.config_set("maxmemory", int(used * 1.08))

    def refusals() -> list[Event]:
        bed.one("quick")
        return bed.events("refused")

    text = wait_until(refusals, 10, "QueueFull")[0]["error"]
    bed.client.config_set("maxmemory", 0)
    took = consuming_again(bed, now(), within=5)
    bed.settle()

    assert text.startswith("QueueFull")
    assert "maxmemory" in text
    verdict = bed.verdict()
    assert set(running) <= set(verdict.ok)
    bed.record(
        fault="memory above the watermark",
        injected="93 % of maxmemory is used, the watermark is 90 %",
        invariant="T1, P6",
        observed="enqueue raised QueueFull with the figures; running jobs ended",
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_may_drop_keys_is_refused_at_the_start(stage: Stage, policy: str) -> None:
    """Fault: an eviction policy that would drop jobs or heartbeats. The worker refuses to start and
    says how to mend it.
    """
    bed = stage.bed(stage.server(words=("--maxmemory-policy", policy)))

    worker = bed.worker(wait=False)

    assert worker.wait() == 78
    assert f"maxmemory-policy {policy}" in worker.log
    assert "noeviction" in worker.log
    bed.record(
        fault=f"maxmemory-policy {policy}",
        injected="at the start of a worker",
        invariant="H1",
        observed="the worker exits with code 78 and names the remedy",
    )


def test_a_full_disk_heals_by_itself_with_everysec(stage: Stage) -> None:
    """Fault: the disk of the AOF (everysec) is full: every write is refused with MISCONF. P6: no
    attempt, no exit; when there is room again work resumes. H1.
    """
    server, disk = stage.server_on_disk("redis", megabytes=16)
    assert disk is not None
    bed = stage.bed(server, **STEADY)
    bed.worker()
    producer = bed.producer(rate=50, seconds=4.0, mix="quick*3,sleeper:0.3")
    last(0.5)

    with bed.fault("disk full"):
        disk.fill()
        wait_until(lambda: refuses_writes(bed.client), 20, "MISCONF")
        last(1.0)
        disk.clear()
        wait_until(lambda: not refuses_writes(bed.client), 20, "writes again")
    took = consuming_again(bed, now(), within=5)
    producer.wait(30)
    ended_well(bed)

    verdict = bed.verdict()
    bed.record(
        fault="the AOF's disk is full, everysec",
        injected="until 1 s after the first MISCONF",
        invariant="H1, P6",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def refuses_writes(client: redis.Redis) -> bool:
    with contextlib.suppress(redis.exceptions.ResponseError):
        client.set("probe", "x" * 1000, px=1000)
        return False
    return True


def test_a_full_disk_with_always_ends_the_server_and_loses_nothing(stage: Stage) -> None:
    """Fault: the disk of the AOF (always) is full: the server exits at the first failed write. H1:
    all that was acknowledged is there when it is started with room again. P6.
    """
    server, disk = stage.server_on_disk("redis", sync="always", megabytes=16)
    assert disk is not None
    bed = stage.bed(server, **STEADY)
    bed.worker()
    producer = bed.producer(rate=50, seconds=3.0, mix="quick*3,sleeper:0.3")
    last(0.5)

    with bed.fault("disk full"):
        disk.fill()
        code = server.wait()
        disk.clear()
        server.start()
    took = consuming_again(bed, now(), within=5)
    producer.wait(30)
    ended_well(bed)

    verdict = bed.verdict()
    assert code == 1
    bed.record(
        fault="the AOF's disk is full, always",
        injected="the server exits by itself and is started with room again",
        invariant="H1, P6",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_no_more_clients_are_let_in(stage: Stage) -> None:
    """Fault: maxclients is reached while the worker has lost its connections. It waits, unpunished,
    and goes on when there is room. A producer is told in one line. P6.
    """
    bed = stage.bed(stage.server(), **STEADY)
    worker = bed.worker()
    old = bed.one("sleeper", LONG + 1)
    bed.wait_start(old)

    with bed.fault("maxclients"):
        bed.client.config_set("maxclients", 1)
        bed.client.client_kill_filter(_type="normal", skipme=True)
        app = bed.new_app()
        with pytest.raises(StoreUnavailable) as caught:
            app.named("quick").enqueue_sync("x")
        app.close_sync()
        last(LONG)
        bed.client.config_set("maxclients", 1000)
    took = consuming_again(bed, now(), within=5)
    ended_well(bed)

    assert "\n" not in str(caught.value)
    assert worker.alive
    verdict = bed.verdict()
    bed.record(
        fault="maxclients reached, all connections lost",
        injected=f"{LONG:g} s",
        invariant="P6",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=verdict.duplicates,
    )
