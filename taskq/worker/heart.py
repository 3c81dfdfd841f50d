"""The worker's proof of life: its own thread and connection, so a blocked event loop does not lose
leases.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence

from taskq import commands
from taskq.errors import StoreError, StoreUnavailable
from taskq.keys import SharedKeys
from taskq.settings import Settings
from taskq.store_sync import SyncStore
from taskq.worker.identity import Identity, Load
from taskq.worker.line import Line

log = logging.getLogger("taskq.heart")

#: The roster is told, and the server's memory looked at, at every so many beats: an idle worker
#: should send little.
ROSTER_EVERY = 5
#: How often a worker has itself listed anew, s: the order of the list, and how long it keeps those
#: that are gone, need no more. When its entry was lost the hash of what it tells was too, mostly.
LISTED_EVERY = 60.0
#: The part of a heartbeat after which the workers of a queue are looked at again: the beat that is
#: to see that somebody is silent must not come a moment too early, and leave it to the next.
LOOK_AFTER = 0.75
#: Beats in a row at which more is held than is known, before that is looked into.
UNKNOWN_FOR = 3


class Heart:
    """Beats for every queue of a worker, every `settings.heartbeat` seconds.

    `on_cancel(line, ids)`, `on_lapse(line)`, `on_news(line, beat)` and `known(line)` are called on
    the heart's thread; `known` says how many jobs the worker thinks it holds, None while that is
    changing. News are silent workers, and another number of classes than in the beat before.
    """

    def __init__(
        self,
        store: SyncStore,
        settings: Settings,
        lines: Sequence[Line],
        identity: Identity,
        *,
        load: Callable[[], Load],
        on_cancel: Callable[[Line, list[str]], None],
        on_lapse: Callable[[Line], None],
        on_news: Callable[[Line, commands.Beat], None],
        known: Callable[[Line], int | None],
    ) -> None:
        self.store = store
        self._settings = settings
        self._lines = list(lines)
        self._shared = SharedKeys(settings.namespace)
        self._identity = identity
        self._load = load
        self._on_cancel = on_cancel
        self._on_lapse = on_lapse
        self._on_news = on_news
        self._known = known
        self._unknown: dict[str, int] = {}
        """Beats in a row at which a queue said that we hold more than we know of."""
        self._classes: dict[str, int] = {}
        """How many classes each queue had at the last beat."""
        self._listed: dict[str, float] = {}
        """When the worker had itself listed, monotonic s, by the id it goes by."""
        self._wanted = threading.Event()
        self._stopping = False
        self._beats = 0
        self._failing: set[str] = set()
        """Queues whose last beat did not get through."""
        self._thread = threading.Thread(target=self._run, name="taskq-heart", daemon=True)

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
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=self._settings.socket_timeout + 1)

    def _run(self) -> None:
        while not self._stopping:
            # After an outage every moment counts: the reaper gives a suspect little more than one
            # beat. Jittered, so that a fleet does not come back as one.
            pause = self._settings.heartbeat
            self._wanted.wait(pause / 8 * random.uniform(0.5, 1.5) if self._failing else pause)
            self._wanted.clear()
            if self._stopping:
                return
            was_failing = bool(self._failing)
            try:
                self.beat()
                if was_failing:
                    log.warning("heartbeat works again")
            except Exception as error:  # nothing may end this thread but `stop`
                if not was_failing:
                    log.warning("heartbeat failed, trying on: %s", error)

    def beat(self) -> None:
        """One beat for every queue; the roster at every fifth. Raises the first StoreError, after
        all queues had their turn.
        """
        first = self._beats == 0
        look = self._beats % ROSTER_EVERY == 0
        rss = self._identity.rss()
        problem: StoreError | None = None
        began = time.monotonic()
        # Those that fail come last: waiting for one server must not cost the leases on another.
        for line in sorted(self._lines, key=lambda line: line.queue in self._failing):
            late = time.monotonic() - began > self._settings.heartbeat / 2
            if problem is not None and late and line.queue in self._failing:
                continue
            lost = line.queue in self._failing
            try:
                beat = self._beat_for(line, rss, look)
            except StoreError as error:
                self._failing.add(line.queue)
                problem = problem or error
                continue
            self._failing.discard(line.queue)
            # After a failed beat the reply that said "lapsed" may be the one that was lost.
            if (beat.lapsed or lost) and not first:
                log.warning("queue %s: beat again after a gap", line.queue)
                self._on_lapse(line)
            if beat.cancels:
                self._on_cancel(line, beat.cancels)
            if beat.silent or beat.classes != self._classes.get(line.queue):
                self._classes[line.queue] = beat.classes
                self._on_news(line, beat)
            self._compare(line, beat.holding)
        if problem is not None:
            raise problem
        if look:
            self.tell_roster()
        self._beats += 1

    def _beat_for(self, line: Line, rss: int, look: bool) -> commands.Beat:
        settings = self._settings
        sent = time.monotonic()
        measures = line.tally.to_tell()
        beat = self.store.run(
            commands.heartbeat(
                line.keys,
                line.worker,
                ttl_ms=round(settings.heartbeat_ttl * 1000),
                rss=rss,
                slots=settings.concurrency,
                watermark=settings.memory_watermark if look else 0,
                pressed_ms=round(settings.heartbeat * ROSTER_EVERY * 2500),
                told=line.tally.number,
                measures=measures,
                every_ms=round(settings.heartbeat * LOOK_AFTER * 1000),
            )
        )
        line.tally.told()
        # Not the time of the reply: the server counts from somewhere between the two.
        line.beaten_at = max(line.beaten_at, sent)
        return beat

    def _compare(self, line: Line, holding: int) -> None:
        """A job that is held here and runs nowhere would wait for the end of this worker: whatever
        lost it (a repair, a bug), ask for it.
        """
        known = self._known(line)
        if known is None:
            return
        odd = self._unknown.get(line.queue, 0) + 1 if holding > known else 0
        if odd >= UNKNOWN_FOR:
            log.warning("queue %s: holds %d jobs, knows of %d: asking", line.queue, holding, known)
            self._on_lapse(line)
            odd = 0
        self._unknown[line.queue] = odd

    def tell_roster(self) -> None:
        """Write what this worker is and does, under each id it goes by."""
        fields = self._identity.fields(self._load())
        try:
            for worker in dict.fromkeys(line.worker for line in self._lines):
                told = {**fields, "worker": worker}
                hset, *others = commands.roster(self._shared, worker, told, self._life_ms())
                lost = self.store.run(hset) > 1
                for call in others:
                    self.store.run(call)
                self._enlist(worker, anew=lost)
        except StoreUnavailable as error:
            log.warning("not on the roster: %s", error)

    def _enlist(self, worker: str, *, anew: bool) -> None:
        now = time.monotonic()
        if anew or now - self._listed.get(worker, -math.inf) >= LISTED_EVERY:
            self.store.run(commands.enlist(self._shared, worker))
            self._listed[worker] = now

    def _life_ms(self) -> int:
        return round(self._settings.heartbeat * ROSTER_EVERY * 2500) + round(
            self._settings.heartbeat_ttl * 1000
        )

    def _tell_the_last(self, line: Line) -> None:
        """What was measured since the last beat; a worker may live for one beat only."""
        try:
            if line.tally.to_tell():
                self._beat_for(line, self._identity.rss(), look=False)
        except StoreError as error:
            log.debug("queue %s: its last measures are lost: %s", line.queue, error)

    def leave(self) -> int:
        """After `stop`: take the worker off every queue and the roster; jobs it still holds (0 is a
        clean exit).
        """
        held = 0
        for line in self._lines:
            self._tell_the_last(line)
            held += self.store.run(commands.retire(line.keys, line.worker), tries=3)
        for worker in dict.fromkeys(line.worker for line in self._lines):
            for call in commands.leave_roster(self._shared, worker):
                self.store.run(call, tries=3)
        return held
