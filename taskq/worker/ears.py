"""How an idle worker hears of work: it blocks on the wake lists of its queues.

Each class of jobs has a list of its own, and a worker listens only to those it has room for: a
token that it takes is for a job that it can run, and wakes nobody in vain. One wait at a time, on a
connection of its own. When the worker can do more than it waits for (a process became free, a class
was found), that wait ends and another begins; when it can do less, the token that comes is passed
on first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger

from taskq import commands
from taskq.classes import expected
from taskq.errors import StoreError
from taskq.settings import Settings
from taskq.store import Store
from taskq.worker.fits import pause_of
from taskq.worker.health import Health
from taskq.worker.line import Line
from taskq.worker.runner import Runner
from taskq.worker.shares import room_of

log = getLogger("taskq.pump")

#: How long a queue is left alone while others keep the worker too busy to listen, s.
OVERLOOKED = 0.5
#: Between two tries to end a wait that has not begun yet, s.
AGAIN = 0.005
#: How long a token that was offered to others and came back counts as one's own, s.
OWN = 0.02
#: How long a worker that is the only one to listen offers none, s.
ALONE = 1.0

Place = tuple[Line, str]
"""A queue and a class of its jobs."""


class Ears:
    """Listens for one worker. `classes`: those claimed from, by line's queue. `free()` tells how
    many slots are free, `heat(queue)` is called when that queue (None: any) should be looked at,
    `seek(line)` when it may have jobs of a class that is not known here.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        lines: Sequence[Line],
        classes: Mapping[str, set[str]],
        health: Health,
        *,
        free: Callable[[], int],
        heat: Callable[[str | None], None],
        seek: Callable[[Line], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._lines = list(lines)
        self._classes = classes
        self._health = health
        self._mine_until = 0.0
        """Event-loop time before which tokens are offered to nobody else."""
        self._free = free
        self._heat = heat
        self._seek = seek
        self._runner: Runner  # from `serve`, before anything else
        self._wait: asyncio.Future[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._places: dict[str, Place] = {}
        """By wake list: all that were ever waited for."""
        self._wanted: list[str] = []
        self._wanted_for: object = None
        self._heard: frozenset[str] = frozenset()
        """The lists that are waited for now."""

    def serve(self, runner: Runner) -> None:
        """Whose processes and runs decide what there is room for."""
        self._runner = runner

    @property
    def listening(self) -> bool:
        """True while a wake-up would be heard."""
        return self._wait is not None and not self._wait.done()

    def listen(self) -> None:
        """Wait for a wake-up of all that there is room for, unless that is already so."""
        if not self.listening:
            self._heard = frozenset(self._lists())
            self._wait = asyncio.get_running_loop().create_task(self._listen())
        elif not self._heard.issuperset(self._lists()) and self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._listen_anew())

    def look_at_the_unheard(self, now: float) -> None:
        """A worker that never rests hears no wake-ups: it looks at its queues by itself."""
        if not self.listening:
            for line in self._lines:
                if not line.hot and now - line.looked_at > OVERLOOKED:
                    line.hot = True

    def stop(self) -> None:
        """Give up the wait and its connection; the next `listen` opens another."""
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None
        if self._ending is not None:
            self._ending.cancel()

    async def _listen_anew(self) -> None:
        try:
            while self.listening and not self._heard.issuperset(self._lists()):
                await self._store.end_wait()
                await asyncio.sleep(AGAIN)
        finally:
            self._ending = None

    def _lists(self) -> list[str]:
        """The wake lists of all classes that there is room for."""
        runner = self._runner
        processes, fragile = runner.processes.free > 0, not runner.runs_fragile()
        # Built anew only when something changed: this is asked for whenever the worker rests.
        known = (processes, fragile, *map(len, self._classes.values()))
        if known != self._wanted_for:
            self._wanted_for, self._wanted = known, []
            hoped = expected(self._settings.provides, runner.processes.count > 0)
            for line in self._lines:
                for job_class in dict.fromkeys(("", *self._classes[line.queue], *hoped)):
                    if room_of(job_class, 1, processes, fragile):
                        self._wanted.append(line.keys.wake_of(job_class))
                        self._places[line.keys.wake_of(job_class)] = (line, job_class)
        return self._wanted

    async def _listen(self) -> None:
        """Block on the wake lists, once. Woken for what it has no room for by now, it passes the
        news on.
        """
        loop = asyncio.get_running_loop()
        try:
            while True:
                lists, began = list(self._lists()), loop.time()
                self._heard = frozenset(lists)
                woken = await self._store.wait_for_wake(lists, self._settings.block)
                if woken is not None:
                    if self._health.delay and loop.time() > self._mine_until:
                        await self._offer(woken)
                        continue
                    break
                ended_early = loop.time() < began + self._settings.block
                if not ended_early or self._heard.issuperset(self._lists()):
                    break
        except StoreError:
            await asyncio.sleep(random.uniform(0.1, 0.5))
            woken = None
        if woken is None:
            self._heat(None)
        else:
            await self._answer(*self._places[woken])

    async def _offer(self, key: str) -> None:
        """Not well enough to take the next job before others: give the token back. Who listens gets
        it, and when all are unwell, the first whose pause is over.
        """
        loop = asyncio.get_running_loop()
        push = commands.plain("RPUSH", key, "1", parse=int)
        look = commands.plain("LLEN", key, parse=int)
        _, left = await self._store.run_many([push, look])
        if left:  # nobody else was blocked on it
            self._mine_until = loop.time() + ALONE
        else:
            await asyncio.sleep(self._health.delay)
            if await self._store.run(look):  # all who listened are unwell, and still wait
                self._mine_until = loop.time() + OWN
            line, job_class = self._places[key]
            if not job_class:  # who took it may not serve the class that it told of
                self._seek(line)

    async def _answer(self, line: Line, job_class: str) -> None:
        runner = self._runner
        fragile = not runner.runs_fragile()
        if room_of(job_class, self._free(), runner.processes.free, fragile) <= 0:
            await self._pass_on(line, job_class)
        elif job_class:
            self._classes[line.queue].add(job_class)
        else:
            line.curious = True
        if pause := pause_of(line):
            await asyncio.sleep(pause)
        self._heat(line.queue)

    async def _pass_on(self, line: Line, job_class: str) -> None:
        try:
            claims = await self._store.run(
                commands.claim(
                    line.keys, line.worker, keep_ms=self._keep_ms, limit=0, slots={job_class: 0}
                )
            )
        except StoreError:
            log.debug("could not pass a wake token on")
            return
        if claims.next_due_ms >= 0:  # the news may have been a due time
            due = asyncio.get_running_loop().time() + claims.next_due_ms / 1000
            line.due_at = min(line.due_at, max(due, line.held_until))

    @property
    def _keep_ms(self) -> int:
        return round(self._settings.result_ttl * 1000)
