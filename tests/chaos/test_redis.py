"""Outages of the server: killed, frozen, restarted, emptied, loading, busy, read-only, cut off."""

from __future__ import annotations

import asyncio

import pytest
import redis

from tests.chaos.stage import LONG, STEADY, Stage, consuming_again, ended_well, in_words, now
from tests.helpers import last


def test_the_server_is_killed_and_comes_back_after_every_heartbeat_has_run_out(
    stage: Stage,
) -> None:
    """Fault: SIGKILL of the server (AOF), down longer than TTL and grace. H1: nothing that returned
    is lost. P6: no crash, no attempt, no exit: all heartbeats are gone, and nobody is reaped.
    """
    server = stage.server()
    bed = stage.bed(server, **STEADY)
    bed.worker()
    bed.worker()
    slow = bed.produce("sleeper", LONG, count=10)
    bed.produce("sleeper", 0.3, count=20, delay=LONG / 2)
    producer = bed.producer(rate=100, seconds=1.5, mix="quick*5,sleeper:0.1")
    for job in slow:
        bed.wait_start(job)
    last(0.7)  # in the middle of the producer's traffic

    with bed.fault("server down"):
        server.kill()
        last(LONG)
        server.start()
    healed = now()
    took = consuming_again(bed, healed, within=5)
    producer.wait(20)
    ended_well(bed)

    verdict = bed.verdict()
    bed.record(
        fault="SIGKILL of the server, AOF everysec, down longer than the heartbeats live",
        injected=f"{LONG:g} s, heartbeats of {STEADY['heartbeat_ttl']} s, under load",
        invariant="H1, P6",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_the_server_is_frozen_longer_than_heartbeats_live(stage: Stage) -> None:
    """Fault: SIGSTOP of the server for longer than TTL and grace. P6: nobody is reaped, no worker
    exits, and all goes on.
    """
    server = stage.server()
    bed = stage.bed(server, **STEADY)
    bed.worker()
    bed.worker()
    for job in bed.produce("sleeper", LONG, count=6):
        bed.wait_start(job)
    bed.producer(rate=100, seconds=1.0, mix="quick")
    last(0.3)

    with bed.fault("server frozen"):
        server.freeze()
        last(LONG)
        server.thaw()
    took = consuming_again(bed, now(), within=5)
    ended_well(bed)

    verdict = bed.verdict()
    bed.record(
        fault="SIGSTOP of the server",
        injected=f"{LONG:g} s, heartbeats of {STEADY['heartbeat_ttl']} s",
        invariant="P6",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_client_pause_longer_than_heartbeats_live(stage: Stage) -> None:
    """Fault: CLIENT PAUSE ALL for longer than TTL and grace: time goes on and nothing is written.
    P6.
    """
    server = stage.server()
    bed = stage.bed(server, **STEADY)
    bed.worker()
    bed.worker()
    for job in bed.produce("sleeper", LONG, count=6):
        bed.wait_start(job)

    with bed.fault("clients paused"):
        bed.client.execute_command("CLIENT", "PAUSE", int(LONG * 1000), "ALL")
        last(LONG)
    took = consuming_again(bed, now(), within=5)
    ended_well(bed)

    verdict = bed.verdict()
    bed.record(
        fault="CLIENT PAUSE ALL",
        injected=f"{LONG:g} s, heartbeats of {STEADY['heartbeat_ttl']} s",
        invariant="P6",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_quick_restarts_under_load_lose_nothing_and_repeat_nothing(stage: Stage) -> None:
    """Fault: the server is killed and started again three times within its heartbeats' life. H1,
    H4: nothing lost, and no job runs twice, for no lease was ever in doubt.
    """
    server = stage.server()
    bed = stage.bed(server, heartbeat=0.3, heartbeat_ttl=10.0, grace=2.0)
    bed.worker()
    bed.worker()
    producer = bed.producer(rate=150, seconds=3.0, mix="quick*9,sleeper:0.2")

    for _ in range(3):
        last(0.8)
        with bed.fault("server restart"):
            server.kill()
            server.start()
    assert producer.wait(30) == 0
    ended_well(bed)

    verdict = bed.verdict()
    assert verdict.duplicates == 0, verdict.summary()
    bed.record(
        fault="three quick restarts of the server (SIGKILL, AOF everysec)",
        injected="3 in 3 s under 150 jobs/s",
        invariant="H1, H4",
        observed=in_words(verdict),
        duplicates=0,
    )


def test_a_restart_with_empty_data_resurrects_nothing_and_work_goes_on(stage: Stage) -> None:
    """Fault: the server comes back without any data. Late acks write nothing (GONE), nothing is
    resurrected (H2), workers live and take what is enqueued anew.
    """
    server = stage.server()
    bed = stage.bed(server, **STEADY)
    bed.worker()
    old = bed.produce("sleeper", 1.5, count=5)
    old += bed.produce("sleeper", 0.1, count=5, delay=60)
    bed.wait_start(old[0])
    last(0.2)

    with bed.fault("data gone"):
        server.kill()
        server.empty()
        server.start()
    took = consuming_again(bed, now(), within=5)
    last(2.0)  # the old runs end in this time, and report
    bed.settle()

    assert not set(old) & set(bed.records()), "a job of the lost data is back"
    assert all(worker.alive for worker in bed.workers)
    verdict = bed.verdict(allow=["lost"])
    assert set(verdict.lost) == set(old)
    bed.record(
        fault="the server restarts with empty data",
        injected=f"{len(old)} jobs known before",
        invariant="H2, S2",
        observed=f"those {len(old)} are gone with the data; none resurrected; new jobs run",
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_flushall_in_the_middle_of_work(stage: Stage) -> None:
    """Fault: FLUSHALL while jobs run. As a restart with empty data: nothing comes back, no worker
    exits, new jobs run.
    """
    bed = stage.bed(stage.server(), **STEADY)
    bed.worker()
    old = bed.produce("sleeper", 1.0, count=5) + bed.produce("quick", count=3, delay=60)
    bed.wait_start(old[0])

    with bed.fault("data gone"):
        bed.client.flushall()
    took = consuming_again(bed, now(), within=5)
    last(1.2)
    bed.settle()

    assert not set(old) & set(bed.records()), "a flushed job is back"
    assert all(worker.alive for worker in bed.workers)
    verdict = bed.verdict(allow=["lost"])
    assert set(verdict.lost) == set(old)
    bed.record(
        fault="FLUSHALL while jobs run",
        injected=f"{len(old)} jobs known before",
        invariant="H2, S2",
        observed="none resurrected; new jobs run",
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_scripts_are_flushed_again_and_again_under_traffic(stage: Stage) -> None:
    """Fault: SCRIPT FLUSH every 100 ms. H1, H4: it heals within the call; each job runs once."""
    bed = stage.bed(stage.server())
    bed.worker()
    bed.worker()
    producer = bed.producer(rate=200, seconds=2.0, mix="quick*9,fails:1")

    flushes = 0
    while producer.poll() is None:
        bed.client.script_flush()
        flushes += 1
        last(0.1)
    bed.settle()

    verdict = bed.verdict()
    assert flushes >= 15
    assert set(verdict.reasons) <= {"failed"}
    assert not bed.events("refused")
    assert not bed.events("unknown")
    bed.record(
        fault="SCRIPT FLUSH under traffic",
        injected=f"{flushes} times in 2 s, 200 jobs/s",
        invariant="H1, H4",
        observed=in_words(verdict),
        duplicates=0,
    )


def test_every_connection_is_killed_twice_a_second(stage: Stage) -> None:
    """Fault: CLIENT KILL of all clients every 500 ms. H1 to H5: no reply reaches the wrong caller
    (results carry mark and token), nothing is lost, nothing runs twice.
    """
    bed = stage.bed(stage.server(), heartbeat=0.3, heartbeat_ttl=6.0, grace=2.0)
    bed.worker()
    bed.worker()
    producer = bed.producer(rate=200, seconds=4.0, mix="quick*9,sleeper:0.2")

    kills = 0
    while producer.poll() is None:
        last(0.5)
        for kind in ("normal", "pubsub"):
            kills += bed.client.client_kill_filter(_type=kind, skipme=True)
    ended_well(bed)

    verdict = bed.verdict()
    assert kills > 20
    assert verdict.duplicates == 0, verdict.summary()
    bed.record(
        fault="CLIENT KILL of every connection, twice a second",
        injected=f"{kills} connections in 4 s, 200 jobs/s",
        invariant="H1-H5",
        observed=in_words(verdict),
        duplicates=0,
    )


def test_a_script_that_blocks_the_server(stage: Stage) -> None:
    """Fault: somebody's endless script: every call is answered BUSY. P6: waited out, no crash."""
    server = stage.server(words=("--busy-reply-threshold", "100"))
    bed = stage.bed(server, **STEADY)
    bed.worker()
    bed.worker()
    for job in bed.produce("sleeper", LONG, count=4):
        bed.wait_start(job)

    with bed.fault("busy script"):
        blocker = server.client(timeout=30)
        connection = blocker.connection_pool.get_connection()
        connection.send_command("EVAL", "while true do end", 0)
        last(LONG)
        bed.client.script_kill()
        with pytest.raises(redis.ResponseError, match="killed by user"):
            connection.read_response()
        blocker.close()
    took = consuming_again(bed, now(), within=5)
    ended_well(bed)

    verdict = bed.verdict()
    bed.record(
        fault="an endless script of somebody else (BUSY)",
        injected=f"{LONG:g} s",
        invariant="P6",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_a_server_that_takes_long_to_load(stage: Stage) -> None:
    """Fault: after a restart the server loads for seconds (LOADING). P6, H1."""
    server = stage.server()
    bed = stage.bed(server, **STEADY)
    bed.worker()
    slow = bed.produce("sleeper", LONG, count=4)
    bed.produce("quick", count=30, delay=2.0)
    bed.wait_start(slow[-1])
    for number in range(40):
        bed.client.set(f"ballast:{number}", "x")

    down = now()
    with bed.fault("server loads"):
        server.kill()
        # Microseconds for every command of the AOF.
        server.start("--key-load-delay", "25000")
        loaded = now() - down
    assert loaded > LONG / 2
    took = consuming_again(bed, now(), within=5)
    ended_well(bed)

    verdict = bed.verdict()
    bed.record(
        fault="the server takes seconds to load (LOADING)",
        injected=f"{loaded:.1f} s until it answered",
        invariant="P6, H1",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_the_server_becomes_a_replica_for_a_while(stage: Stage) -> None:
    """Fault: REPLICAOF somebody who is not there: READONLY for every write. P6: waited out."""
    bed = stage.bed(stage.server(), **STEADY)
    bed.worker()
    bed.worker()
    for job in bed.produce("sleeper", LONG, count=4):
        bed.wait_start(job)

    with bed.fault("read only"):
        bed.client.replicaof("127.0.0.1", "1")
        last(LONG)
        bed.client.replicaof("NO", "ONE")
    took = consuming_again(bed, now(), within=5)
    ended_well(bed)

    verdict = bed.verdict()
    bed.record(
        fault="the server is read-only (demoted to a replica)",
        injected=f"{LONG:g} s",
        invariant="P6",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_workers_told_to_continue_ride_over_an_outage_without_repeating_anything(
    stage: Stage,
) -> None:
    """Fault: SIGKILL of the server, down longer than TTL and grace, isolation=continue. H4: no mass
    reclaim and no self-fencing: each job that ran through the outage ran exactly once.
    """
    server = stage.server()
    bed = stage.bed(server, **STEADY, isolation="continue")
    bed.worker()
    bed.worker()
    jobs = bed.produce("sleeper", LONG, count=10)
    jobs += bed.produce("sleeper", LONG / 2, count=10)  # over before the server is back
    for job in jobs:
        bed.wait_start(job)

    with bed.fault("server down"):
        server.kill()
        last(LONG)
        server.start()
    took = consuming_again(bed, now(), within=5)
    ended_well(bed)

    verdict = bed.verdict()
    assert verdict.duplicates == 0, verdict.summary()
    bed.record(
        fault="SIGKILL of the server, longer than heartbeats live, isolation=continue",
        injected=f"{LONG:g} s, heartbeats of {STEADY['heartbeat_ttl']} s, 20 jobs in hand",
        invariant="H4, P6",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=0,
    )


def test_a_worker_is_told_to_stop_while_the_server_is_away(stage: Stage) -> None:
    """Fault: SIGTERM while the server is down, with jobs in hand. The worker ends in bounded time
    with code 0; the jobs run elsewhere when the server is back. H1, H13.
    """
    server = stage.server()
    bed = stage.bed(server, **STEADY, drain=1.0)
    leaving = bed.worker()
    jobs = bed.produce("sleeper", 1.5, count=4) + bed.produce("sleeper", 0.3, count=2)
    for job in jobs:
        bed.wait_start(job)

    down = now()
    with bed.fault("server down", leaving.pid):
        server.kill()
        leaving.stop()
        code = leaving.wait(20)
        ended = now() - down
        server.start()
    bed.worker()
    bed.settle()

    verdict = bed.verdict()
    assert code == 0, leaving.log
    assert ended < 10
    assert set(jobs) <= set(verdict.ok)
    bed.record(
        fault="SIGTERM of a worker while the server is down",
        injected="6 jobs in hand, drain 1 s",
        invariant="H1, H13",
        observed=f"it ended with code 0 after {ended:.1f} s; {in_words(verdict)}",
        duplicates=verdict.duplicates,
    )


@pytest.mark.parametrize("blocking", [False, True])
async def test_callers_that_wait_for_results_hear_of_them_after_a_restart(
    stage: Stage, blocking: bool
) -> None:
    """Fault: the server is killed and started again while callers wait for results, and the
    announcements are lost with the connections. Each hears its result all the same.
    """
    server = stage.server()
    bed = stage.bed(server, heartbeat=0.3, heartbeat_ttl=8.0, grace=2.0)
    await asyncio.to_thread(bed.worker)
    app = bed.new_app()
    ids = await asyncio.to_thread(bed.produce, "sleeper", 1.5, count=3)  # a thread each
    await asyncio.to_thread(bed.wait_start, ids[-1])
    jobs = [app.job(job) for job in ids]
    waits = [
        asyncio.to_thread(job.result_sync, 20) if blocking else job.result(timeout=20)
        for job in jobs
    ]
    waiting = asyncio.gather(*waits)
    await asyncio.to_thread(last, 0.3)

    with bed.fault("server restart"):
        server.kill()
        await asyncio.to_thread(last, 1.6)  # the runs end meanwhile
        await asyncio.to_thread(server.start)
    healed = now()
    values = await waiting
    took = now() - healed
    await app.close()
    app.close_sync()

    marks = {event["job"]: event["mark"] for event in bed.events("tried")}
    assert [value.split()[0] for value in values] == [marks[job] for job in ids]
    assert took < 5
    verdict = await asyncio.to_thread(bed.verdict)
    bed.record(
        fault="the server restarts while callers wait for results"
        + (" (blocking)" if blocking else ""),
        injected="SIGKILL, 1.6 s; the runs ended while it was down",
        invariant="P2",
        observed=f"all {len(ids)} callers got their own result",
        recovery_s=took,
        duplicates=verdict.duplicates,
    )
