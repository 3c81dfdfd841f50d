"""The async store of a Cluster: one plain store for each node, and the map of slots.

A call goes to the node that owns its slot. MOVED is followed: the call was not run. ASK and
TRYAGAIN never are: they say that a slot is half-way between two nodes, where a part of a queue
would look missing, so its queues wait until the slot has arrived.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from taskq import commands
from taskq.address import Address
from taskq.commands import Call, Confirm
from taskq.errors import StoreError, StoreUnavailable
from taskq.redis_errors import Moved, unreachable
from taskq.scripts import ScriptSet
from taskq.slots import (
    ASK_SECONDS,
    REDIRECTS,
    REFRESH_EVERY,
    SILENCE,
    Node,
    SlotMap,
    guarded,
    key_of,
    no_node,
    nobody_serves,
    slot_of,
)
from taskq.store import Hearer, Store
from taskq.tries import pause_before
from taskq.wake_waits import WakeWaits
from taskq.wire import Wire

T = TypeVar("T")


class _Heard(Generic[T]):
    """Passes on how a posted call went; what failed tells of the map and of its node too."""

    __slots__ = ("_hearer", "_note", "_store", "answered")

    def __init__(
        self, note: Callable[[Exception, Store], None], store: Store, hearer: Hearer[T]
    ) -> None:
        self._note = note
        self._store = store
        self._hearer = hearer
        self.answered = hearer.answered

    def failed(self, error: Exception) -> None:
        self._note(error, self._store)
        self._hearer.failed(error)


class ClusterStore(Store):
    """As Store, for `redis+cluster://`."""

    scattered = True

    def __init__(self, address: Address, *, scripts: ScriptSet | None = None, **words: Any) -> None:
        super().__init__(address, scripts=scripts or ScriptSet(guarded=True), **words)
        self._words = words
        self._nodes: dict[Node, Store] = {}
        self._map: SlotMap | None = None
        self._stale = False
        self._failed: Store | None = None
        """The one that failed last: it is not the first to be asked for the map."""
        self._fresh_until = 0.0
        self._refreshing: asyncio.Task[SlotMap] | None = None
        self._probes: dict[Store, asyncio.Task[None]] = {}
        self._waits = WakeWaits(self._store_for, self._heard, self._give_back)

    def _node(self, node: Node) -> Store:
        found = self._nodes.get(node)
        if found is None:
            address = self.address.at(node.host, node.port)
            found = self._nodes[node] = Store(address, scripts=self.scripts, **self._words)
        return found

    # The map of slots

    async def _slots(self) -> SlotMap:
        """The map. One that is known to be wrong is asked for anew, but nobody waits for that."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._refreshing = loop, None
            self._waits.forget()
            self._probes = {}
            self._fresh_until = 0.0
        if self._stale or self._map is None:
            self._begin_refresh()
        if self._map is not None:
            return self._map
        assert self._refreshing is not None
        return await asyncio.shield(self._refreshing)

    def _begin_refresh(self) -> None:
        known = self._map is not None
        if self._refreshing is None and not (known and _now() < self._fresh_until):
            self._refreshing = asyncio.ensure_future(self._refresh())
            self._refreshing.add_done_callback(self._refreshed)

    def _refreshed(self, task: asyncio.Task[SlotMap]) -> None:
        self._refreshing = None
        pause = random.uniform(0.5, 1.5) * REFRESH_EVERY
        self._fresh_until = asyncio.get_running_loop().time() + pause
        if task.cancelled() or task.exception() is not None:
            return
        self._map, self._stale = task.result(), False
        for key, where in self._waits.places():
            node = self._map.owner(slot_of(key))
            if node is not None and where != self._node(node).where:
                self._waits.leave(key)

    async def _refresh(self) -> SlotMap:
        known = self._map.primaries() if self._map is not None else []
        random.shuffle(known)
        known.sort(key=lambda node: self._node(node) is self._failed)
        candidates = dict.fromkeys([*known, *(Node(*node) for node in self.address.nodes)])
        problems: list[StoreError] = []
        ask = commands.plain("CLUSTER", "SLOTS", parse=lambda reply: reply)
        for node in candidates:
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    found = SlotMap.of(await self._node(node).run(ask), node.host)
            except TimeoutError:
                problems.append(StoreUnavailable(f"{node.host}:{node.port} does not answer"))
            except StoreError as error:
                problems.append(error)
            else:
                if found.primaries():
                    return found
                problems.append(StoreUnavailable(f"{node.host}:{node.port} knows no slots"))
        raise no_node(self.where, problems)

    def _heard(self, error: Exception, store: Store) -> None:
        """What an error tells about the map."""
        if isinstance(error, Moved) and self._map is not None:
            self._map.learn(error.slot, Node(error.host or store.address.host, error.port))
        if isinstance(error, StoreUnavailable):
            self._stale, self._failed = True, store
            self._begin_refresh()

    async def _store_for(self, key: str | None) -> Store:
        slots = await self._slots()
        node = slots.any() if key is None else slots.owner(slot_of(key))
        if node is None:
            self._stale = True
            raise nobody_serves(key, self.where)
        return self._node(node)

    # Calls

    async def connect(self) -> Wire:
        """A connection to some node; the others are opened when they are needed."""
        slots = await self._slots()
        problems: list[StoreError] = []
        for node in slots.primaries():
            try:
                return await self._node(node).connect()
            except StoreError as error:
                problems.append(error)
        self._stale = True
        raise no_node(self.where, problems)

    async def run(self, call: Call[T], *, tries: int = 1) -> T:
        """As Store.run, on the node that owns the call's slot."""
        return await self._run(call, None, tries)

    async def run_confirmed(self, call: Call[T], confirm: Confirm, *, tries: int = 1) -> T:
        """As Store.run_confirmed, on the node that owns the call's slot."""
        return await self._run(call, confirm, tries)

    async def _run(self, call: Call[T], confirm: Confirm | None, tries: int) -> T:
        for attempt in range(1, tries + 1):
            try:
                return await self._run_once(call, confirm)
            except StoreUnavailable:
                if attempt == tries:
                    raise
            await asyncio.sleep(pause_before(attempt))
        raise AssertionError("unreachable")

    async def _run_once(self, call: Call[T], confirm: Confirm | None) -> T:
        key, sent = key_of(call), guarded(call)
        for redirect in range(1, REDIRECTS + 1):
            store = await self._store_for(key)
            if store in self._probes:
                self._stale = True
                raise unreachable(store.where, "it fell silent, and is being tried")
            began = _now()
            try:
                if confirm is not None:
                    return await store.run_confirmed(sent, confirm)
                return await store.run(sent)
            except StoreUnavailable as error:
                self._heard(error, store)
                if not store.connected and _now() - began > SILENCE:
                    self._probe(store)
                if not isinstance(error, Moved) or redirect == REDIRECTS:
                    raise
                # The told node first: whom we would ask for the map may not know of it yet.
                self._fresh_until = max(self._fresh_until, _now() + REFRESH_EVERY / 2)
        raise AssertionError("unreachable")

    def _probe(self, store: Store) -> None:
        """A node that answers nothing would hold up whoever also has work for others: until it can
        be connected to, or has lost its slots, calls for it fail at once.
        """
        if store not in self._probes:
            self._probes[store] = asyncio.ensure_future(self._until_back(store))

    async def _until_back(self, store: Store) -> None:
        try:
            while store.address in [one.address for one in await self.each()]:
                try:
                    await store.connect()
                    return
                except StoreError:
                    self._stale = True
                    await asyncio.sleep(random.uniform(0.5, 1.5) * REFRESH_EVERY)
        except StoreError:
            pass  # no node tells the map: the next call will find out why
        finally:
            self._probes.pop(store, None)

    def post(self, call: Call[T], hearer: Hearer[T]) -> bool:
        """As Store.post; False also while the map of slots is in doubt."""
        if self._map is None or self._stale or self._loop is not asyncio.get_running_loop():
            return False
        node = self._map.owner(slot_of(call.keys[0]))
        if node is None:
            return False
        store = self._node(node)
        if store in self._probes:
            return False
        return store.post(guarded(call), _Heard(self._heard, store, hearer))

    async def each(self) -> list[Store]:
        """The stores of all primaries."""
        return [self._node(node) for node in (await self._slots()).primaries()]

    async def check_server(self) -> None:
        """As Store.check_server, for every primary."""
        for store in await self.each():
            await store.check_server()

    # Waiting

    async def wait_for_wake(self, keys: Sequence[str], seconds: float) -> str | None:
        """As Store.wait_for_wake, for lists on several nodes; see WakeWaits."""
        await self._slots()
        return await self._waits.wait(keys, seconds)

    async def end_wait(self) -> None:
        """As Store.end_wait."""
        self._waits.end()

    async def _give_back(self, key: str) -> None:
        """Another worker, or the next wait, takes the token. No queue state: a token is a hint."""
        await self.run(commands.plain("RPUSH", key, "1", parse=int), tries=3)

    # Hearing of ended jobs. PUBLISH reaches every node, so a subscription outlives a moved slot.

    async def subscribe(self, channel: str, callback: Callable[[bytes | None], None]) -> None:
        """As Store.subscribe, at the node that owns the queue of the channel."""
        store = await self._store_for(channel)
        try:
            await store.subscribe(channel, callback)
        except StoreUnavailable as error:
            self._heard(error, store)
            raise

    def subscribed(self, channel: str) -> bool:
        """As Store.subscribed."""
        return any(store.subscribed(channel) for store in self._nodes.values())

    async def close(self) -> None:
        """Close all connections. Using the store again opens new ones."""
        if self._loop is asyncio.get_running_loop():
            self._waits.stop()
            for probe in self._probes.values():
                probe.cancel()
            if self._refreshing is not None:
                self._refreshing.cancel()
        self._waits.forget()
        for store in self._nodes.values():
            await store.close()


def _now() -> float:
    return asyncio.get_running_loop().time()
