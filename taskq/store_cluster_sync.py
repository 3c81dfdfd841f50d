"""The blocking store of a Cluster: one plain store for each node, and the map of slots.

The rules are those of store_cluster.py: MOVED is followed, ASK and TRYAGAIN mean wait.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from taskq import commands
from taskq.address import Address
from taskq.commands import Call, Confirm
from taskq.errors import StoreError, StoreUnavailable
from taskq.redis_errors import Moved
from taskq.scripts import ScriptSet
from taskq.slots import (
    ASK_SECONDS,
    REDIRECTS,
    REFRESH_EVERY,
    Node,
    SlotMap,
    guarded,
    key_of,
    no_node,
    nobody_serves,
    slot_of,
)
from taskq.store_sync import SyncStore
from taskq.tries import pause_before

T = TypeVar("T")


class ClusterSyncStore(SyncStore):
    """As SyncStore, for `redis+cluster://`. Safe from threads."""

    def __init__(self, address: Address, *, scripts: ScriptSet | None = None, **words: Any) -> None:
        super().__init__(address, scripts=scripts or ScriptSet(guarded=True), **words)
        self._words = words
        self._nodes: dict[Node, SyncStore] = {}
        self._lock = threading.RLock()
        self._map: SlotMap | None = None
        self._stale = False
        self._failed: SyncStore | None = None
        """The one that failed last: it is not the first to be asked for the map."""
        self._fresh_until = 0.0

    def _first(self) -> None:
        return None

    def _node(self, node: Node) -> SyncStore:
        with self._lock:
            found = self._nodes.get(node)
            if found is None:
                address = self.address.at(node.host, node.port)
                found = self._nodes[node] = SyncStore(address, scripts=self.scripts, **self._words)
            return found

    def _slots(self) -> SlotMap:
        found = self._map
        if found is not None and not (self._stale and time.monotonic() >= self._fresh_until):
            return found
        with self._lock:
            if self._map is not None and time.monotonic() < self._fresh_until:
                return self._map  # another thread has just asked
            try:
                self._map, self._stale = self._refresh(), False
            finally:
                pause = random.uniform(0.5, 1.5) * REFRESH_EVERY
                self._fresh_until = time.monotonic() + pause
            return self._map

    def _refresh(self) -> SlotMap:
        known = self._map.primaries() if self._map is not None else []
        random.shuffle(known)
        known.sort(key=lambda node: self._node(node) is self._failed)
        problems: list[StoreError] = []
        ask = commands.plain("CLUSTER", "SLOTS", parse=lambda reply: reply)
        for node in dict.fromkeys([*known, *(Node(*node) for node in self.address.nodes)]):
            # A store of its own: this answer must not take as long as a call may.
            bound = {"connect_timeout": ASK_SECONDS, "socket_timeout": ASK_SECONDS}
            store = SyncStore(self.address.at(*node), **{**self._words, **bound})
            try:
                found = SlotMap.of(store.run(ask), node.host)
            except StoreError as error:
                problems.append(error)
            else:
                if found.primaries():
                    return found
                problems.append(StoreUnavailable(f"{node.host}:{node.port} knows no slots"))
            finally:
                store.close()
        raise no_node(self.where, problems)

    def _heard(self, error: Exception, store: SyncStore) -> None:
        if isinstance(error, Moved) and self._map is not None:
            self._map.learn(error.slot, Node(error.host or store.address.host, error.port))
        if isinstance(error, StoreUnavailable):
            self._stale, self._failed = True, store

    def _store_for(self, key: str | None) -> SyncStore:
        slots = self._slots()
        node = slots.any() if key is None else slots.owner(slot_of(key))
        if node is None:
            self._stale = True
            raise nobody_serves(key, self.where)
        return self._node(node)

    def _run(self, call: Call[T], confirm: Confirm | None, tries: int) -> T:
        for attempt in range(1, tries + 1):
            try:
                return self._run_once(call, confirm)
            except StoreUnavailable:
                if attempt == tries:
                    raise
            time.sleep(pause_before(attempt))
        raise AssertionError("unreachable")

    def _run_once(self, call: Call[T], confirm: Confirm | None) -> T:
        key, sent = key_of(call), guarded(call)
        for redirect in range(1, REDIRECTS + 1):
            store = self._store_for(key)
            try:
                return store.run(sent) if confirm is None else store.run_confirmed(sent, confirm)
            except StoreUnavailable as error:
                self._heard(error, store)
                if not isinstance(error, Moved) or redirect == REDIRECTS:
                    raise
                self._fresh_until = max(self._fresh_until, time.monotonic() + REFRESH_EVERY / 2)
        raise AssertionError("unreachable")

    def listen(self, channel: str, ask: Callable[[], T | None], seconds: float) -> bytes | T | None:
        """As SyncStore.listen, at the node that owns the queue of the channel."""
        store = self._store_for(channel)
        try:
            return store.listen(channel, ask, seconds)
        except StoreUnavailable as error:
            self._heard(error, store)
            raise

    def check_server(self) -> None:
        """As SyncStore.check_server, for every primary."""
        for node in self._slots().primaries():
            self._node(node).check_server()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for store in self._nodes.values():
                store.close()
