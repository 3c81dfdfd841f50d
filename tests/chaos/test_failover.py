"""High availability at work: failovers of a Sentinel group and of a Cluster, and slots on the move.

What Redis had acknowledged but not yet replicated is lost with the old primary: that is not
promised, and its size is measured here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry

from tests.chaos.bed import Bed
from tests.chaos.checker import Verdict
from tests.chaos.stage import Stage, consuming_again, in_words, now, rolled_back
from tests.helpers import last, wait_until
from tests.topologies import SERVICE, Cluster, SentinelGroup, cluster, sentinel_group

#: Jobs a second of the producers that a failover hits.
RATE = 1000
#: Heartbeats that outlive a failover: what is lost then is Redis's doing, not the reaper's.
HELD: dict[str, object] = {"heartbeat": 0.3, "heartbeat_ttl": 8.0, "grace": 2.0}


class AtSentinels:
    """The server of a bed: whoever the sentinels call primary."""

    def __init__(self, group: SentinelGroup) -> None:
        self.group = group
        self.url = group.url

    def client(self) -> redis.Redis:
        hosts = [node.address for node in self.group.sentinels]
        found = redis.sentinel.Sentinel(
            hosts, socket_timeout=2.0, sentinel_kwargs={"socket_timeout": 2.0}
        )
        client: redis.Redis = found.master_for(
            SERVICE, socket_timeout=5.0, retry=Retry(NoBackoff(), 0)
        )
        return client


class AtCluster:
    """The server of a bed: a cluster."""

    def __init__(self, group: Cluster) -> None:
        self.group = group
        self.url = group.url

    def client(self) -> Any:
        nodes = [ClusterNode(*node.address) for node in self.group.nodes]
        return redis.RedisCluster(startup_nodes=nodes, socket_timeout=5.0)


def lost_at(bed: Bed, verdict: Verdict, killed: float) -> str:
    """Check that only jobs acknowledged right before `killed` are lost; their number and the age of
    the oldest, in words.
    """
    returned = {e["job"]: e["at"] for e in bed.events("returned")}
    ages = [killed - returned[job] for job in verdict.lost]
    if not ages:
        return "0 acknowledged jobs lost"
    assert max(ages) < 1.0, f"lost, though they were acknowledged {max(ages):.1f} s before"
    # An ack may be read a moment after the kill.
    assert min(ages) > -0.2, f"lost, though they were acknowledged {-min(ages):.1f} s after"
    return f"{len(ages)} acknowledged jobs lost, of the last {max(ages) * 1000:.0f} ms"


@contextlib.contextmanager
def under_load(bed: Bed, seconds: float) -> Iterator[None]:
    """Two workers and a producer of a thousand jobs a second."""
    bed.worker()
    bed.worker()
    producer = bed.producer(rate=RATE, seconds=seconds, mix="quick*19,sleeper:0.1")
    wait_until(lambda: len(bed.starts()) > RATE / 2, 20, "the load is on")
    yield
    producer.wait(40)
    bed.settle(60)


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_sentinel_failover_under_a_thousand_jobs_a_second(stage: Stage, how: str) -> None:
    """Fault: the primary of a Sentinel group is killed (or frozen, and later goes on as a replica)
    under 1,000 jobs/s. H1 but for what Redis had not replicated; S4, H6: no token twice; workers
    and producers go on by themselves.
    """
    group = stage.enter(sentinel_group())
    bed = stage.bed(AtSentinels(group), **HELD, socket_timeout=1.0)
    with under_load(bed, seconds=5.0):
        old = group.primary
        since = now()
        old.kill() if how == "killed" else old.stop()
        group.wait_for_failover(old)
        elected = now() - since
        recovered = elected + consuming_again(bed, since + elected, within=5)
        if how == "frozen":
            old.go_on()
            wait_until(lambda: old.role() == "slave", 20, "the old primary is demoted")
        bed.declare("failover", since=since - 1.0, until=now())

    verdict = rolled_back(bed)
    words = lost_at(bed, verdict, since)
    assert all(worker.alive for worker in bed.workers)
    unknown = len(bed.events("unknown"))
    bed.record(
        fault=f"Sentinel failover, the primary is {how}, under {RATE} jobs/s",
        injected="down-after 1 s, 2 replicas, 3 sentinels",
        invariant="H1, H6, S4, P6",
        observed=f"a new primary after {elected:.1f} s; {words}; {unknown} enqueues raised;"
        f" {verdict.duplicates} runs repeated, all explained by the failover",
        recovery_s=recovered,
        duplicates=verdict.duplicates,
        lost=len(verdict.lost),
        not_promised="asynchronous replication: what the primary had acknowledged and not sent on",
    )


def test_a_cluster_failover_under_load(stage: Stage) -> None:
    """Fault: the node that owns the queue's slot is killed; its replica takes over. H1 but for what
    was not replicated; a queue on another node goes on meanwhile.
    """
    group = stage.enter(cluster(replicas=3))
    bed = stage.bed(AtCluster(group), **HELD, socket_timeout=1.0)
    slot = group.slot_of("{default}")
    other = next(
        name
        for name in (f"other{number}" for number in range(50))
        if group.owner(group.slot_of(f"{{{name}}}")) is not group.owner(slot)
    )
    bed.worker("-q", other)
    with under_load(bed, seconds=6.0):
        owner = group.owner(slot)
        assert owner is not None
        since = now()
        owner.kill()
        unaffected = bed.one("quick", queue=other)
        aside = bed.wait_start(unaffected)["at"] - since
        group.wait_for_failover(owner, slot)
        elected = now() - since
        recovered = elected + consuming_again(bed, since + elected, within=5)
        bed.declare("failover", since=since - 1.0, until=now())

    verdict = rolled_back(bed)
    words = lost_at(bed, verdict, since)
    assert all(worker.alive for worker in bed.workers)
    assert aside < 2, f"the queue on another node waited {aside:.1f} s"
    bed.record(
        fault=f"Cluster failover, the owner of the queue's slot is killed, under {RATE} jobs/s",
        injected="3 primaries, 3 replicas, node timeout 1.5 s",
        invariant="H1, H6, S4, P6",
        observed=f"a new owner after {elected:.1f} s; {words}; a queue elsewhere was served after"
        f" {aside:.2f} s",
        recovery_s=recovered,
        duplicates=verdict.duplicates,
        lost=len(verdict.lost),
        not_promised="asynchronous replication: what the owner had acknowledged and not sent on",
    )


def test_a_cluster_node_restarts(stage: Stage) -> None:
    """Fault: a node without a replica is killed and comes back: CLUSTERDOWN meanwhile.
    H1, P6: nothing lost, nothing charged.
    """
    group = stage.enter(cluster(appendonly="yes", appendfsync="always"))
    bed = stage.bed(AtCluster(group), **HELD, socket_timeout=1.0)
    bed.worker()
    bed.worker()
    owner = group.owner(group.slot_of("{default}"))
    assert owner is not None
    producer = bed.producer(rate=100, seconds=3.0, mix="quick*9,sleeper:0.2")
    wait_until(lambda: len(bed.starts()) > 50, 20, "the load is on")

    since = now()
    with bed.fault("node down"):
        owner.kill()
        last(1.5)
        owner.start()
        group.wait_until_settled()
    took = consuming_again(bed, now(), within=5)
    producer.wait(30)
    bed.settle()

    verdict = bed.verdict()
    assert sum(record.crashes for record in bed.records().values()) == 0
    bed.record(
        fault="a Cluster node without a replica restarts (SIGKILL, AOF always)",
        injected=f"down {now() - since:.1f} s",
        invariant="H1, P6",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=verdict.duplicates,
    )


def test_the_queues_slot_moves_to_another_node_under_load(stage: Stage) -> None:
    """Fault: the slot of a busy queue is migrated live, a few keys at a time, and back. H1, H4:
    nothing lost, nothing twice, for nothing died: calls wait (ASK, TRYAGAIN) and follow (MOVED).
    """
    group = stage.enter(cluster())
    bed = stage.bed(AtCluster(group), **HELD)
    bed.worker()
    bed.worker()
    slot = group.slot_of("{default}")
    home = group.owner(slot)
    away = next(node for node in group.primaries if node is not home)
    assert home is not None
    producer = bed.producer(rate=100, seconds=4.0, mix="quick*9,sleeper:0.2,fails:1")
    wait_until(lambda: len(bed.starts()) > 50, 20, "the load is on")

    with bed.fault("slot on the move"):
        for target in (away, home):
            migration = group.migration(slot, target).begin()
            # First the small keys that every call declares, then half of the jobs, then the rest.
            migration.move(lambda key: b":job:" not in key)
            last(0.3)
            migration.move(most=20)
            last(0.3)
            migration.move_all()
            migration.finish()
            last(0.5)
    took = consuming_again(bed, now(), within=5)
    producer.wait(30)
    bed.settle()

    verdict = bed.verdict()
    assert set(verdict.reasons) <= {"failed"}, verdict.summary()
    assert sum(record.crashes for record in bed.records().values()) == 0
    bed.record(
        fault="the slot of a busy queue moves to another node, and back",
        injected="twice, with half-way states of 0.6 s, under 100 jobs/s",
        invariant="H1, H4, T9",
        observed=in_words(verdict),
        recovery_s=took,
        duplicates=sum(verdict.reasons.values()) - verdict.reasons["failed"],
    )
