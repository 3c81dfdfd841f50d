"""Faults of the network between workers, producers and the server: links that lose everything, or
only one direction, or are slow; silent, as real ones are.
"""

from __future__ import annotations

import pytest

from tests.chaos.network import SERVER
from tests.chaos.stage import (
    STEADY,
    Stage,
    consuming_again,
    counter,
    ended_well,
    first_start_after,
    given_to,
    in_words,
    now,
)
from tests.helpers import last, wait_until

#: Losses of replies that no lease dies of.
PATIENT: dict[str, object] = {
    "heartbeat": 0.3,
    "heartbeat_ttl": 8.0,
    "grace": 2.0,
    "socket_timeout": 0.5,
    "connect_timeout": 0.5,
}


@pytest.mark.parametrize("lost", ["replies", "requests"])
def test_a_short_loss_repeats_nothing(stage: Stage, lost: str) -> None:
    """Fault: a worker's link loses the server's replies (or its own requests) under load, for less
    than its heartbeat lives: in the middle of claims, acks and failures. H1, H4: jobs of a claim
    that was not heard are adopted, acks count once; nothing runs twice.
    """
    net, server = stage.served_network()
    bed = stage.bed(server, **PATIENT)
    place = net.join()
    bed.worker(netns=place.name, url=server.tcp_url)
    producer = bed.producer(rate=100, seconds=3.0, mix="quick*8,sleeper:0.3,fails:1")

    for _ in range(2):
        last(0.4)
        with bed.fault("loss"):
            place.cut(requests=lost == "requests", replies=lost == "replies")
            last(0.9)
            place.heal()
    healed = now()
    took = consuming_again(bed, healed, within=5)
    assert producer.wait(20) == 0
    bed.settle()

    verdict = bed.verdict()
    assert set(verdict.reasons) <= {"failed"}, verdict.summary()
    assert sum(record.crashes for record in bed.records().values()) == 0
    assert counter(bed, "completed") == len(verdict.ok), "an ack counted twice, or not at all"
    bed.record(
        fault=f"a worker's link loses {lost}, silently",
        injected="twice 0.9 s under 100 jobs/s, heartbeats live 8 s",
        invariant="H1, H4, T4",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=sum(verdict.reasons.values()) - verdict.reasons["failed"],
    )


def test_a_producer_on_a_bad_link_sends_each_job_once(stage: Stage) -> None:
    """Fault: a producer's link loses the replies to its enqueues, again and again. H1, H3: what
    returned is run, what stayed unknown is run once or never; no job twice.
    """
    net, server = stage.served_network()
    bed = stage.bed(server, socket_timeout=0.4, connect_timeout=0.4)
    place = net.join()
    bed.worker()
    producer = bed.producer(
        rate=100, seconds=4.0, mix="quick", netns=place.name, url=server.tcp_url
    )
    wait_until(lambda: len(bed.starts()) > 20, 20, "the producer sends")

    for _ in range(3):
        last(0.3)
        with bed.fault("loss"):
            place.cut(requests=False)
            last(0.8)
            place.heal()
    assert producer.wait(30) == 0
    bed.settle()

    verdict = bed.verdict()
    assert verdict.duplicates == 0, verdict.summary()
    assert len(verdict.ok) > 150
    assert counter(bed, "enqueued") == len(verdict.ok) + len(verdict.recovered)
    bed.record(
        fault="a producer's link loses the replies to its enqueues",
        injected="three times 0.8 s under 100 jobs/s",
        invariant="H1, H3",
        observed=in_words(verdict),
        duplicates=0,
    )


def test_a_producer_that_is_cut_off_is_told_in_time(stage: Stage) -> None:
    """Fault: a producer is cut off for good. Its enqueues raise within bounded time
    (StoreUnavailable, outcome unknown), and nothing hangs. H3.
    """
    net, server = stage.served_network()
    bed = stage.bed(server, socket_timeout=0.3, connect_timeout=0.3)
    place = net.join()
    bed.worker()
    producer = bed.producer(rate=50, seconds=2.0, mix="quick", netns=place.name, url=server.tcp_url)
    wait_until(lambda: len(bed.starts()) > 10, 20, "the producer sends")

    place.cut()
    assert producer.wait(20) == 0  # it waits for every outcome
    place.heal()
    bed.settle()

    unknown = bed.events("unknown")
    tried = {e["job"]: e["at"] for e in bed.events("tried")}
    longest = max(e["at"] - tried[e["job"]] for e in unknown)
    assert unknown
    assert longest < 8, f"an enqueue hung for {longest:.1f} s"
    verdict = bed.verdict()
    assert verdict.duplicates == 0
    bed.record(
        fault="a producer is cut off for good",
        injected="replies time out after 0.3 s, 4 tries",
        invariant="H3",
        observed=f"{len(unknown)} enqueues raised within {longest:.1f} s, outcome unknown",
        duplicates=0,
    )


def test_an_idle_worker_on_a_half_open_connection_hears_of_jobs_again(stage: Stage) -> None:
    """Fault: the cable is pulled while the worker blocks on its wake list: both sides think they
    are connected. H10: it consumes within socket_timeout + 1 s after the cable is back.
    """
    net, server = stage.served_network()
    bed = stage.bed(server, block=10.0, socket_timeout=2.0, connect_timeout=1.0)
    place = net.join()
    worker = bed.worker(netns=place.name, url=server.tcp_url)
    bed.settle()
    last(0.3)

    with bed.fault("cable pulled", worker.pid):
        place.unplug()
        job = bed.one("quick")
        last(3.0)
        place.plug()
    healed = now()
    wait_until(lambda: first_start_after(bed, healed), 30, "the job started")
    took = first_start_after(bed, healed)
    bed.settle()

    verdict = bed.verdict()
    assert took is not None
    assert took < 3.0, f"the job started {took:.1f} s after the cable was back"
    assert verdict.ok == [job]
    bed.record(
        fault="the cable is pulled while the worker waits for work (half-open)",
        injected="3 s, block 10 s, socket_timeout 2 s",
        invariant="H10",
        observed="the job that came meanwhile started by itself",
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_a_flapping_link(stage: Stage) -> None:
    """Fault: the link comes and goes every 300 ms. H1, H4, H10: work goes on, once."""
    net, server = stage.served_network()
    bed = stage.bed(server, **PATIENT)
    place = net.join()
    bed.worker(netns=place.name, url=server.tcp_url)
    producer = bed.producer(rate=50, seconds=4.0, mix="quick*5,sleeper:0.2")

    with bed.fault("flapping"):
        while producer.poll() is None:
            place.cut()
            last(0.3)
            place.heal()
            last(0.3)
    took = consuming_again(bed, now(), within=5)
    ended_well(bed)

    verdict = bed.verdict()
    assert verdict.duplicates == 0, verdict.summary()
    bed.record(
        fault="a link that flaps",
        injected="0.3 s off, 0.3 s on, for 4 s under 50 jobs/s",
        invariant="H1, H4, H10",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=0,
    )


def test_a_host_that_is_gone_for_good(stage: Stage) -> None:
    """Fault: a worker's machine vanishes with its jobs: no FIN, no RST, never back. H1: they run
    elsewhere within TTL + grace + a pass; what its lost runs did is not overlapped for long.
    """
    net, server = stage.served_network()
    bed = stage.bed(server, **STEADY)
    place = net.join()
    gone = bed.worker(netns=place.name, url=server.tcp_url)
    bed.worker()
    jobs = given_to(bed, gone, "sleeper", 1.5, count=5)

    cut = now()
    place.unplug()
    gone.kill()
    took = max(bed.wait_start(job, count=2)["at"] for job in jobs) - cut
    bed.settle()

    verdict = bed.verdict()
    assert took < 0.9 + 0.5 + 0.2 + 2.0
    assert all(record.crashes == 1 for job, record in bed.records().items() if job in jobs)
    bed.record(
        fault="a worker's machine vanishes (no FIN, no RST)",
        injected="5 jobs in hand; TTL 0.9 s, grace 0.5 s",
        invariant="H1, P4",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_the_server_moves_to_another_address(stage: Stage) -> None:
    """Fault: the server's name points to a new address, and the old one swallows everything.
    Workers look the name up at each connection and go on by themselves.
    """
    net, server = stage.served_network()
    net.second_address("10.231.0.77")
    bed = stage.bed(server, **PATIENT)
    place = net.join()
    net.hosts(place, f"{SERVER} redis.test")
    worker = bed.worker(netns=place.name, url="redis://redis.test:6379/0")
    job = bed.one("quick")
    bed.wait_start(job)

    with bed.fault("address moved"):
        net.hosts(place, "10.231.0.77 redis.test")
        net.drop_address(SERVER)
    took = consuming_again(bed, now(), within=5)
    ended_well(bed)

    verdict = bed.verdict()
    assert worker.alive
    assert verdict.duplicates == 0
    bed.record(
        fault="the server's address changes (DNS)",
        injected="the old address swallows everything",
        invariant="H10",
        observed="the worker looks the name up again and goes on",
        recovery_s=took,
        duplicates=0,
    )
