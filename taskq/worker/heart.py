"""The worker's proof of life: its own thread and connection, so a blocked event loop does not lose
leases.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from taskq import commands
from taskq.errors import StoreError, StoreUnavailable
from taskq.keys import QueueKeys, SharedKeys
from taskq.settings import Settings
from taskq.store_sync import SyncStore
from taskq.worker.identity import Identity, Load

log = logging.getLogger("taskq.heart")

#: The roster is told at every so many beats: an idle worker should send little.
ROSTER_EVERY = 5


class Heart:
    """Beats for every queue of a worker, every `settings.heartbeat` seconds.

    `on_cancel(queue, ids)` and `on_lapse(queue)` are called on the heart's thread.
    """

    def __init__(
        self,
        store: SyncStore,
        settings: Settings,
        worker: str,
        queues: Sequence[QueueKeys],
        identity: Identity,
        *,
        load: Callable[[], Load],
        on_cancel: Callable[[str, list[str]], None],
        on_lapse: Callable[[str], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._worker = worker
        self._queues = queues
        self._shared = SharedKeys(settings.namespace)
        self._identity = identity
        self._load = load
        self._on_cancel = on_cancel
        self._on_lapse = on_lapse
        self._wanted = threading.Event()
        self._stopping = False
        self._beats = 0
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="taskq-heart", daemon=True)
        self.last_beat = time.monotonic()
        """When all queues last heard a beat, monotonic s."""

    def start(self) -> None:
        """Beat once now, raising StoreError when that fails; then go on beating."""
        self.beat()
        self._thread.start()

    def ask(self) -> None:
        """Beat as soon as possible."""
        self._wanted.set()

    def stop(self) -> None:
        """Stop beating. The last beat lives on for its TTL unless the worker retires."""
        self._stopping = True
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self._settings.socket_timeout + 1)

    def _run(self) -> None:
        while not self._stopping:
            # After an outage every moment counts: the reaper gives a suspect little more than one
            # beat.
            self._wanted.wait(
                self._settings.heartbeat / 8 if self._failing else self._settings.heartbeat
            )
            self._wanted.clear()
            if self._stopping:
                return
            try:
                self.beat()
                if self._failing:
                    log.warning("heartbeat works again")
                self._failing = False
            except Exception as error:  # nothing may end this thread but `stop`
                if not self._failing:
                    log.warning("heartbeat failed, trying on: %s", error)
                self._failing = True

    def beat(self) -> None:
        """One beat for every queue; the roster at every fifth."""
        ttl_ms = round(self._settings.heartbeat_ttl * 1000)
        refused: StoreError | None = None
        for keys in self._queues:
            try:
                beat = self._store.run(commands.heartbeat(keys, self._worker, ttl_ms=ttl_ms))
            except StoreUnavailable:
                raise
            except StoreError as error:  # this queue's keys or rights: the others must live on
                refused = refused or error
                continue
            # After a failed beat the reply that said "lapsed" may be the one that was lost.
            if (beat.lapsed or self._failing) and self._beats:
                self._on_lapse(keys.queue)
            if beat.cancels:
                self._on_cancel(keys.queue, beat.cancels)
        if refused is not None:
            raise refused
        self.last_beat = time.monotonic()
        if self._beats % ROSTER_EVERY == 0:
            fields = self._identity.fields(self._load(), "ok")
            try:
                for call in commands.roster(self._shared, self._worker, fields, self._life_ms()):
                    self._store.run(call)
            except StoreUnavailable as error:
                log.warning("not on the roster: %s", error)
        self._beats += 1

    def _life_ms(self) -> int:
        return round(self._settings.heartbeat * ROSTER_EVERY * 2500) + round(
            self._settings.heartbeat_ttl * 1000
        )

    def leave(self) -> int:
        """After `stop`: take the worker off every queue and the roster; jobs it still holds (0 is a
        clean exit).
        """
        held = 0
        for keys in self._queues:
            held += self._store.run(commands.retire(keys, self._worker), tries=3)
        for call in commands.leave_roster(self._shared, self._worker):
            self._store.run(call, tries=3)
        return held
