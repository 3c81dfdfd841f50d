"""Which store an address needs: for one server, a Sentinel group, a Cluster. Nobody else asks."""

from __future__ import annotations

from taskq.address import Address
from taskq.store import Store
from taskq.store_cluster import ClusterStore
from taskq.store_cluster_sync import ClusterSyncStore
from taskq.store_sentinel import SentinelStore
from taskq.store_sentinel_sync import SentinelSyncStore
from taskq.store_sync import SyncStore


def open_store(
    address: Address,
    *,
    connect_timeout: float = 5.0,
    socket_timeout: float = 5.0,
    name: str = "taskq",
) -> Store:
    """The async store for an address. Times in seconds; nothing is sent yet."""
    kind = SentinelStore if address.sentinel else ClusterStore if address.cluster else Store
    return kind(address, connect_timeout=connect_timeout, socket_timeout=socket_timeout, name=name)


def open_sync_store(
    address: Address,
    *,
    connect_timeout: float = 5.0,
    socket_timeout: float = 5.0,
    name: str = "taskq",
) -> SyncStore:
    """The blocking store for an address. Times in seconds; nothing is sent yet."""
    kind = (
        SentinelSyncStore
        if address.sentinel
        else ClusterSyncStore
        if address.cluster
        else SyncStore
    )
    return kind(address, connect_timeout=connect_timeout, socket_timeout=socket_timeout, name=name)
