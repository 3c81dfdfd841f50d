"""The worker's heart of hearts: reports finished jobs and claims new ones, in as few calls as
possible.

One loop serves all queues in turn, the partitions of one together (parts.py). While a call is on
its way jobs go on ending, so under load reports gather by themselves and nothing ever waits for a
batch. Idle, it sleeps on the wake lists and on the next due time.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from taskq import commands
from taskq.commands import BATCH, Claims
from taskq.errors import StoreUnavailable
from taskq.settings import Settings
from taskq.store import Store
from taskq.worker.ears import Ears
from taskq.worker.fits import Fits
from taskq.worker.health import Health
from taskq.worker.interrupt import Interrupted
from taskq.worker.line import Line
from taskq.worker.parts import Parts, Work, grouped, together
from taskq.worker.recall import recall
from taskq.worker.report import report
from taskq.worker.runner import Runner
from taskq.worker.shares import class_slots, depth

log = logging.getLogger("taskq.pump")

#: Jobs that are promoted in one call.
PROMOTED = 100
#: A safety look at a queue that nobody woke us for, jittered, s.
LONGEST_NAP = 60.0


class Pump:
    """Moves jobs between Redis and a runner. `beat` asks the heart for a beat now."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        lines: Sequence[Line],
        *,
        slots: int,
        health: Health,
        beat: Callable[[], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._lines = list(lines)
        self._groups = grouped(lines)
        self._partitions = {one.queue for group in self._groups if len(group) > 1 for one in group}
        self._slots = slots
        self._beat = beat
        self._runner: Runner  # from `serve`, before anything else
        self._bell: asyncio.Future[None] | None = None
        self._rung = False
        self._failures = 0
        self.asked_at = math.inf
        """Event-loop time of the last claim, or of finding Redis away; inf before the first."""
        self.accepting = True
        """False while the worker drains: reports go out, nothing new comes in."""
        self.giving_back = False
        """True once all runs are stopped: what a claim on its way still brings goes back unrun."""
        self.idle = False
        """True while it sleeps with nothing to run, to report or to claim."""
        self.classes: dict[str, set[str]] = {line.queue: set() for line in lines}
        """Capability classes beside the common one that are claimed from, by queue."""
        self.on_tick: Callable[[Line], Awaitable[float]] = _leave_alone
        """What fires ticks that are due; how long (s) to leave the queue's timers alone then."""
        self.seek: Callable[[Line], None] = lambda line: None
        """Called when there may be jobs of a class that is not known here."""
        self._health = health
        self.ears = Ears(
            store,
            settings,
            lines,
            self.classes,
            health,
            free=self._free,
            heat=self.heat,
            seek=lambda line: self.seek(line),
        )
        self._fits = Fits()
        self._parts = Parts(store, slots, self.classes, self._attempt)
        self._keep_ms = round(settings.result_ttl * 1000)

    def serve(self, runner: Runner) -> None:
        """Where claimed jobs go."""
        self._runner = runner
        self.ears.serve(runner)

    def ring(self) -> None:
        """There is something to report or to claim. Only from the event loop."""
        self._rung = True
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    def heat(self, queue: str | None = None) -> None:
        """Look at a queue (None: at all) for ready jobs."""
        for line in self._lines:
            if queue is None or line.queue == queue:
                line.hot = True
                line.ranks = ()
        self.ring()

    @property
    def flying(self) -> bool:
        """True while a claim may still bring jobs."""
        return any(line.flying for line in self._lines)

    @property
    def owes(self) -> bool:
        """True while some report has not reached Redis."""
        return any(line.owes for line in self._lines)

    @property
    def may_claim(self) -> bool:
        """True while there is a free slot and a queue to claim from."""
        return self._free() > 0 and not all(line.fenced or line.refused for line in self._lines)

    def begin_anew(self) -> None:
        """Give up what is waited for, and look at every queue."""
        self.asked_at = asyncio.get_running_loop().time()
        self.ears.stop()
        self.heat()

    async def run(self) -> None:
        """Pump until cancelled."""
        try:
            while True:
                self._rung = False
                try:
                    busy = await self._turn()
                    self._failures = 0
                except StoreUnavailable as error:
                    await self._recover(error)
                    continue
                except Interrupted:
                    log.error("an interruption came too late for its run; going on")
                    continue
                if not busy and not self._rung:
                    await self._rest()
        finally:
            self.ears.stop()

    # Working

    def _free(self) -> int:
        return self._health.slots - self._runner.taken if self.accepting else 0

    async def _turn(self) -> bool:
        """Serve every queue that needs it, once; True when any did."""
        busy = False
        groups = self._groups
        if self._fits:
            self._fits.look(self._runner.taken)
        now = asyncio.get_running_loop().time()
        if len(self._lines) > 1:
            self.ears.look_at_the_unheard(now)
        for group in groups:
            line = group[0]
            if len(group) > 1:
                busy = await self._serve_parts(group, now) or busy
            elif line.rests_until <= now:
                busy = await self._attempt(line, partial(self._serve, line, now)) or busy
        if busy and len(groups) > 1:
            # Each turn begins with the next queue, so that under load none is always last. A turn
            # in which no queue needed anything does not count: with one slot every other is such.
            self._groups = [*groups[1:], groups[0]]
        return busy

    async def _attempt(self, line: Line, work: Work) -> bool:
        """Do something for a queue; when that cannot be done, only this queue rests. Raises
        StoreUnavailable when no queue can be served.
        """
        try:
            busy = await work()
            line.refused = 0
        except StoreUnavailable as error:
            if not self._store.scattered:
                raise
            self._let_rest(line, error)  # its node is away; the others' are not
        except Exception as error:  # refused, or nonsense in Redis: other queues must go on
            self._let_rest(line, error)
        else:
            return busy
        return False

    async def _serve(self, line: Line, now: float) -> bool:
        """Whatever one queue needs now; True when it needed something."""
        busy = await self._prepare(line, now)
        free = self._free() if line.hot and not line.fenced else 0
        return await self._work(line, max(free, 0)) or busy

    async def _serve_parts(self, group: Sequence[Line], now: float) -> bool:
        """As `_serve`, for all partitions of a queue at once."""
        lines = [line for line in group if line.rests_until <= now]
        works = [
            (line, partial(self._prepare, line, now))
            for line in lines
            if line.unsure or line.due_at <= now
        ]
        busy = await together(self._attempt, works) if works else False
        lines = [line for line in lines if line.rests_until <= now]
        shares = await self._parts.shares(lines, self._free())
        # What all draw on beside the slots, as processes, is split: each time another comes first.
        order = {queue: at for at, queue in enumerate(random.sample(list(shares), len(shares)))}
        claims = max(1, len(shares))
        works = []
        for line in lines:
            if line.queue in shares or line.owes:
                turn = (order.get(line.queue, 0), claims)
                works.append((line, partial(self._work, line, shares.get(line.queue, 0), turn)))
        return (await together(self._attempt, works) if works else False) or busy

    async def _prepare(self, line: Line, now: float) -> bool:
        """Ask what is unsure, promote what is due; True when there was something."""
        busy = False
        if line.unsure:
            await recall(
                self._store, line, self._runner, lambda: self.accepting and not line.fenced
            )
            busy = True
        if line.due_at <= now:
            await self._promote(line)
            busy = True
        return busy

    async def _work(self, line: Line, free: int, turn: tuple[int, int] = (0, 1)) -> bool:
        """Claim for free slots, report what has ended; True when there was something. `turn`: which
        of how many lines this is that claim at once.
        """
        busy = False
        if line.acks or free > 0:
            await self._step(line, free, turn)
            busy = True
        if line.failures or line.released or line.cancelled:
            await report(self._store, self._settings, line)
            busy = True
        return busy

    def _let_rest(self, line: Line, error: Exception) -> None:
        """Redis refuses what this queue needs, and only a person can mend that, or its node of a
        Cluster is away: others go on meanwhile.
        """
        line.refused += 1
        longest = 10.0
        if isinstance(error, StoreUnavailable):
            longest = 1.0
            if line.refused == 1:
                log.warning("queue %s: %s; trying on", line.queue, error)
        else:
            log.error("queue %s: %s: %s", line.queue, type(error).__name__, error)
        pause = min(longest, 0.1 * 2 ** min(line.refused, 10)) * random.uniform(0.5, 1)
        loop = asyncio.get_running_loop()
        line.rests_until = loop.time() + pause
        loop.call_later(pause, self.ring)

    async def _step(self, line: Line, free: int, turn: tuple[int, int] = (0, 1)) -> None:
        """Acknowledge what is done and claim for the free slots, in one call."""
        acks, line.acks = line.acks[:BATCH], line.acks[BATCH:]
        limit = min(free, BATCH)
        processes, fragile = self._runner.processes.free, not self._runner.runs_fragile()
        slots = class_slots(self.classes[line.queue], limit, processes, fragile, turn)
        look = depth(self._slots, limit) if line.queue in self._partitions else 1
        all_slots = self._health.slots if limit < min(self._health.slots, BATCH) else None
        ask = commands.claim
        if acks:
            ask = partial(commands.ack, acks=acks, done_max=self._settings.done_max)
        call = ask(
            line.keys,
            line.worker,
            keep_ms=self._keep_ms,
            limit=limit,
            slots=slots,
            look=look,
            all_slots=all_slots,
        )
        line.flying = True
        self.asked_at = asyncio.get_running_loop().time()
        if limit > 0:
            line.hot = False  # now, not with the reply: a wake-up that is read before it must count
            line.looked_at = self.asked_at
        try:
            claims = await self._store.run(call)
        except BaseException:
            line.acks[:0] = acks
            line.unsure = True
            line.hot = line.hot or limit > 0
            raise
        finally:
            line.flying = False
        for job_id, word in claims.refused.items():
            if word == "STALE":
                log.warning("job %s: came too late, another worker has it by now", job_id)
        if limit > 0:
            line.know(claims.ranks, look)
        self._take(line, claims, limit)

    def _take(self, line: Line, claims: Claims, limit: int) -> None:
        runner = self._runner
        for job in claims.jobs:
            if line.fenced or self.giving_back:  # granted in time, heard of too late
                line.released.append((job.id, job.token, ""))
            else:
                runner.start(line, job, claims.now_ms)
        if claims.word == "LAPSED":
            log.warning("queue %s: the heartbeat has lapsed; beating now", line.queue)
            self._beat()
            line.hot = False
            asyncio.get_running_loop().call_later(0.1, self.heat, line.queue)
        elif limit > 0:
            self._look_on(line, claims, limit)
        line.know_due(claims.next_due_ms, asyncio.get_running_loop().time())

    def _look_on(self, line: Line, claims: Claims, limit: int) -> None:
        """Is there more where this came from?"""
        curious, line.curious = line.curious, False
        if claims.jobs or not claims.more:
            line.barren = 0
            line.hot = claims.more or len(claims.jobs) >= limit or line.hot
            if curious and not claims.jobs and claims.word == "OK":
                self.seek(line)
        elif pause := self._fits.note(line, self._runner.taken):
            asyncio.get_running_loop().call_later(pause, self.heat, line.queue)
        else:
            line.hot = True

    async def _promote(self, line: Line) -> None:
        moved, next_due_ms = await self._store.run(commands.promote(line.keys, PROMOTED))
        if moved:
            line.hot = True
        loop = asyncio.get_running_loop()
        if next_due_ms == 0 and moved < PROMOTED:  # what is due is no job: a schedule's tick
            hold = await self.on_tick(line) if self.accepting else 1.0
            line.held_until = loop.time() + hold
        line.know_due(next_due_ms, loop.time())

    # Trouble

    async def _recover(self, error: StoreUnavailable) -> None:
        """Redis is away: wait a little, more each time, and go on. Jobs are not charged."""
        self._failures += 1
        self.asked_at = asyncio.get_running_loop().time()
        if self._failures == 1:
            log.warning("%s; trying on", error)
        # What breaks one connection has often broken the other too, and the silent one would sleep
        # on.
        self.ears.stop()
        pause = min(1.0, 0.05 * 2 ** min(self._failures, 10))
        await asyncio.sleep(random.uniform(pause / 2, pause))

    # Sleeping

    async def _rest(self) -> None:
        """Sleep until rung, woken by Redis, or something is due."""
        loop = asyncio.get_running_loop()
        runner = self._runner
        if self._free() > 0:
            self.ears.listen()
        first_due = min(max(line.due_at, line.rests_until) for line in self._lines)
        nap = min(LONGEST_NAP, max(0.0, first_due - loop.time()))
        self._bell = loop.create_future()
        self.idle = not runner.running and not self.owes
        timer = loop.call_later(nap, self.ring)
        try:
            await self._bell
        finally:
            self._bell = None
            self.idle = False
            timer.cancel()


async def _leave_alone(line: Line) -> float:
    return 1.0
