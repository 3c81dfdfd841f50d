"""Replicas that lag when they are promoted, and primaries that go on alone: what is lost then is
what had not been replicated. How much that is is measured here, and what bounds it is tried.
"""

from __future__ import annotations

from typing import Any

import pytest
import redis

from tests.chaos.bed import Bed
from tests.chaos.checker import Verdict
from tests.chaos.network import SERVER
from tests.chaos.stage import Stage, consuming_again, now, rolled_back
from tests.helpers import last, wait_until
from tests.topologies import Replicated, replicated

HELD: dict[str, object] = {"heartbeat": 0.3, "heartbeat_ttl": 8.0, "grace": 2.0}
#: How long the replica lags before it is promoted, s.
LAG = 0.5


class AtPrimary:
    """The server of a bed: whoever listens on the primary's port."""

    def __init__(self, group: Replicated) -> None:
        self._node = group.primary
        self.url = group.url

    def client(self) -> redis.Redis:
        return self._node.client(socket_timeout=5.0)


def promote_lagging(bed: Bed, group: Replicated, lag: float) -> tuple[float, float]:
    """Cut the replica off, kill the primary `lag` later, promote the replica and give it the
    primary's port. When it was cut off, and when all was over.
    """
    primary, replica = group.primary, group.replicas[0]
    since = now()
    replica.stop()
    # What is in the socket already would reach it when it goes on.
    primary.ask("CLIENT", "KILL", "TYPE", "replica")
    last(lag)
    primary.kill()
    replica.go_on()
    replica.ask("REPLICAOF", "NO", "ONE")
    replica.ask("CONFIG", "SET", "port", primary.port)
    wait_until(primary.role, 10, "the replica listens on the primary's port")
    bed.client.connection_pool.disconnect()
    return since, now()


def sizes(bed: Bed, verdict: Verdict, since: float) -> tuple[int, float]:
    """Check that only what was acknowledged after `since` is lost; how many, and the span of their
    acknowledgements, s.
    """
    returned = {e["job"]: e["at"] for e in bed.events("returned")}
    times = sorted(returned[job] for job in verdict.lost)
    assert all(at >= since for at in times), "lost, though it was replicated"
    return len(times), times[-1] - times[0] if times else 0.0


def test_a_lagging_replica_is_promoted(stage: Stage) -> None:
    """Fault: a replica that lags half a second behind 1,000 jobs/s becomes primary. Only what was
    acknowledged after it fell behind is lost (not promised); no token is given twice (S4, H6); what
    had ended unreplicated runs again; workers go on by themselves.
    """
    group = stage.enter(replicated("redis"))
    bed = stage.bed(AtPrimary(group), **HELD, socket_timeout=1.0)
    bed.worker()
    bed.worker()
    producer = bed.producer(rate=1000, seconds=3.0, mix="quick")
    wait_until(lambda: len(bed.starts()) > 500, 20, "the load is on")

    since, healed = promote_lagging(bed, group, LAG)
    bed.declare("failover", since=since - 1, until=healed)
    took = consuming_again(bed, healed, within=5)
    producer.wait(30)
    bed.settle()

    verdict = rolled_back(bed)
    count, span = sizes(bed, verdict, since)
    assert count > 0, "nothing was lost: the replica did not lag"
    assert all(worker.alive for worker in bed.workers)
    bed.record(
        fault="a replica that lags is promoted, under 1000 jobs/s",
        injected=f"{LAG:g} s of lag, then SIGKILL of the primary",
        invariant="H1, H6, S4",
        observed=f"{count} acknowledged jobs lost, of {span * 1000:.0f} ms; {verdict.duplicates}"
        " runs repeated",
        recovery_s=took,
        duplicates=verdict.duplicates,
        lost=count,
        not_promised="asynchronous replication: what is acknowledged and not replicated",
    )


def test_with_durability_replicated_a_lagging_replica_loses_nothing(stage: Stage) -> None:
    """Fault: as above, and producers with durability=replicated. H1: every enqueue that the replica
    did not confirm had raised; of those that returned none is lost.
    """
    group = stage.enter(replicated("redis"))
    durable: dict[str, Any] = {"durability": "replicated", "replicas": 1, "replica_timeout": 0.3}
    bed = stage.bed(AtPrimary(group), **HELD, **durable, socket_timeout=1.0)
    bed.worker()
    producer = bed.producer(rate=300, seconds=3.0, mix="quick")
    wait_until(lambda: len(bed.events("returned")) > 100, 20, "the load is on")

    since, healed = promote_lagging(bed, group, LAG)
    alone = bed.new_app(durability="local")
    bed.clean_up.callback(alone.close_sync)
    bed.declare("failover", since=since - 1, until=now())
    producer.wait(30)
    # There is no replica any more, so nothing more is confirmed; what is there runs.
    bed.settle()

    verdict = rolled_back(bed)
    assert not verdict.lost
    late = [e for e in bed.events("returned") if e["at"] > since + 0.2]
    assert not late, "an enqueue returned that no replica had confirmed"
    assert bed.events("unknown")
    assert healed
    bed.record(
        fault="a replica that lags is promoted, producers use durability=replicated",
        injected=f"{LAG:g} s of lag, then SIGKILL of the primary",
        invariant="H1",
        observed=f"0 lost; {len(bed.events('unknown'))} enqueues raised, {len(verdict.recovered)}"
        " of them ran all the same",
        duplicates=verdict.duplicates,
    )


@pytest.mark.parametrize("guarded", [False, True])
def test_a_split_brain(stage: Stage, guarded: bool) -> None:
    """Fault: the primary is cut off from its replica, which is promoted; clients stay on the old
    primary's side for 4 s, then it is ended. What it acknowledged meanwhile is lost (not promised);
    with min-replicas-to-write it refuses (NOREPLICAS) after its max-lag, which bounds the loss.
    """
    guards = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")
    quick = ("--repl-ping-replica-period", "1", "--repl-timeout", "60")
    net, primary = stage.served_network("redis", words=(*quick, *(guards if guarded else ())))
    far, clients = net.join(), net.join()
    replica = stage.server("redis", host=far.address, port=6379, netns=far.name)
    replica.client().execute_command("REPLICAOF", SERVER, 6379)
    wait_until(lambda: acknowledged(primary), 20, "the replica is online")
    net.hosts(clients, f"{SERVER} redis.test")
    url = "redis://redis.test:6379/0"
    bed = stage.bed(replica, heartbeat=0.3, heartbeat_ttl=10.0, grace=2.0, socket_timeout=1.0)
    worker = bed.worker(netns=clients.name, url=url)
    producer = bed.producer(rate=200, seconds=6.0, mix="quick", netns=clients.name, url=url)
    wait_until(lambda: len(bed.starts()) > 100, 20, "the load is on")

    since = now()
    far.cut()
    last(2.0)
    replica.client().execute_command("REPLICAOF", "NO", "ONE")
    last(2.0)  # two primaries
    primary.kill()
    net.hosts(clients, f"{far.address} redis.test")
    far.heal()
    healed = now()
    bed.declare("split brain", since=since - 1, until=healed)
    took = consuming_again(bed, healed, within=6)
    producer.wait(40)
    bed.settle()

    verdict = rolled_back(bed)
    count, span = sizes(bed, verdict, since - 0.2)
    assert worker.alive
    assert count > 0
    if guarded:
        assert span < 3.2, f"acknowledged for {span:.1f} s without a replica"
        assert any("NOREPLICAS" in event["error"] for event in bed.events("unknown"))
    else:
        assert span > 3.2
    bed.record(
        fault="split brain, "
        + ("min-replicas-to-write 1, max-lag 1 s" if guarded else "unguarded"),
        injected="the replica is promoted, clients stay with the old primary for 4 s, 200 jobs/s",
        invariant="H1",
        observed=f"{count} acknowledged jobs lost, of {span:.1f} s; {verdict.duplicates} runs"
        " repeated",
        recovery_s=took,
        duplicates=verdict.duplicates,
        lost=count,
        not_promised="a primary that does not know that it was replaced",
    )


def acknowledged(primary: Any) -> bool:
    """Does a replica confirm what the primary sends?"""
    client = primary.client()
    try:
        return bool(client.execute_command("WAIT", 1, 100) == 1)
    finally:
        client.close()
