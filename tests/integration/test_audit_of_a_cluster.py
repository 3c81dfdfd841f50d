"""The doctor on a Cluster: the keys of a queue are looked for on the node that owns them."""

from __future__ import annotations

import pytest

from taskq.address import Address
from taskq.audit import audit_all, repair
from taskq.keys import QueueKeys
from taskq.settings import Settings
from taskq.stores import open_store
from tests.topologies import cluster


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_queues_on_all_nodes_are_audited_and_mended(kind: str) -> None:
    with cluster(kind) as group:
        store = open_store(Address.parse(group.url))
        try:
            for queue in ("a", "b", "c", "d", "e"):
                keys = QueueKeys("taskq", queue)
                raw = group.owner(group.slot_of(keys.ready)).client()
                raw.hset(keys.job("x"), mapping={"state": "ready", "task": "t"})
                raw.zadd(keys.ready, {"ghost": 1})
                found = await audit_all(store, keys)
                assert dict(found.counts) == {"homeless": 1, "ghost": 1}, queue
                async for _ in repair(store, keys, Settings.load({})):
                    pass
                assert not (await audit_all(store, keys)).counts
                assert raw.zscore(keys.ready, "x")
                raw.close()
        finally:
            await store.close()
