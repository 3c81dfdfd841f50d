"""The test tools themselves: groups of servers that fail over and move slots when told to."""

from __future__ import annotations

import pytest

from tests.topologies import cluster, replicated, sentinel_group

KINDS = pytest.mark.parametrize("kind", ["redis", "valkey"])


@KINDS
def test_a_replica_has_what_the_primary_was_told(kind: str) -> None:
    with replicated(kind, replicas=1) as group:
        with group.primary.client(socket_timeout=5.0) as client:
            client.set("k", "v")  # WAIT covers only what its own connection wrote
            assert client.wait(1, 2000) == 1

        assert group.replicas[0].ask("GET", "k") == b"v"


@KINDS
def test_sentinels_make_a_replica_primary_when_the_primary_was_killed(kind: str) -> None:
    with sentinel_group(kind) as group:
        old = group.primary
        assert group.told() is old

        old.kill()
        new = group.wait_for_failover(old)

        assert new is not old
        assert new.ask("SET", "k", "v")


@KINDS
def test_a_slot_moves_half_way_and_on(kind: str) -> None:
    with cluster(kind) as group:
        slot = group.slot_of("{q}:a")
        source = group.owner(slot)
        assert source is not None
        target = next(node for node in group.primaries if node is not source)
        for name in "abc":
            source.ask("SET", f"{{q}}:{name}", name)

        move = group.migration(slot, target).begin()
        assert move.move(lambda key: not key.endswith(b"c")) == 2
        assert (move.keys(), sorted(move.keys(target))) == ([b"{q}:c"], [b"{q}:a", b"{q}:b"])
        move.move_all()
        move.finish()

        assert group.owner(slot) is target
        assert target.ask("GET", "{q}:c") == b"c"


@KINDS
def test_a_cluster_replaces_a_primary_that_was_killed(kind: str) -> None:
    with cluster(kind, replicas=1) as group:
        old = group.primaries[0]
        old.kill()

        assert group.wait_for_failover(old, slot=0) is group.replicas[0]
