"""What workers do for a queue beside running its jobs: reap for those that died, bury those whose
death was seen, and find classes of jobs this worker can run.

Every worker does it, so there is no process whose death would stop it. While nothing is to be done
it asks nothing of Redis: heartbeats tell when another worker is silent, or a class is new.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable

from taskq import commands
from taskq.classes import PROCESS, serves
from taskq.commands import Beat, Reaped
from taskq.errors import StoreError
from taskq.registry import Registry
from taskq.settings import Settings
from taskq.store import Store
from taskq.worker.clockwork import Clockwork
from taskq.worker.line import Line
from taskq.worker.obituary import Obituary
from taskq.worker.pump import Pump

log = logging.getLogger("taskq.worker")

#: Between two looks for classes when the heartbeats tell of no new one, s; they tell their number.
CLASSES_EVERY = 60.0
#: So many classes a look sees, at most. Where there are more, each sees others of them, and there
#: is one every so many heartbeats.
SEEN = 200
MANY_EVERY = 3
#: A worker that was woken for nothing looks for classes at most so often, s.
SEEK_EVERY = 0.2


class _Chores:
    """What is to be done for one queue."""

    __slots__ = ("classes", "looked_at", "news", "reap", "unlooked")

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.reap = False
        """Another worker is silent."""
        self.unlooked = False
        """There may be classes that were not looked at."""
        self.classes = 0
        """How many there were at the last heartbeat that told."""
        self.looked_at = 0.0
        """Event-loop time of the last look at classes."""


class Upkeep:
    """The chores of one worker. `process_slots`: it can run jobs of the class `process`."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        registry: Registry,
        pump: Pump,
        process_slots: int,
        clockwork: Clockwork,
    ) -> None:
        self._store = store
        self._settings = settings
        self._registry = registry
        self._pump = pump
        self._process_slots = process_slots
        self._clockwork = clockwork
        self._chores: dict[str, _Chores] = defaultdict(_Chores)
        """By queue."""
        self._sought: dict[str, float] = {}
        """Event-loop time of the last look for classes that somebody's wake-up led to, by queue."""
        self._seeking: dict[str, asyncio.Task[None]] = {}
        self._foreign: dict[str, set[str]] = {}
        """Classes by queue that this worker does not serve, and of which others were told."""

    def hear(self, line: Line, beat: Beat) -> None:
        """A heartbeat told of silent workers or of new classes. Only from the event loop."""
        chores = self._chores[line.queue]
        chores.reap = chores.reap or beat.silent > 0
        chores.unlooked = chores.unlooked or beat.classes != chores.classes
        chores.classes = beat.classes
        chores.news.set()

    async def keep(self, line: Line) -> None:
        """Do what is to be done for one queue, until cancelled."""
        chores, heartbeat = self._chores[line.queue], self._settings.heartbeat
        wait = heartbeat
        while True:
            try:
                async with asyncio.timeout(wait):
                    await chores.news.wait()
            except TimeoutError:
                pass
            chores.news.clear()
            try:
                wait = await self._see_to(line, chores)
            except StoreError as error:
                log.debug("upkeep of %s: %s", line.queue, error)
                chores.reap = chores.unlooked = True  # what was asked for may not have been done
                wait = heartbeat

    async def _see_to(self, line: Line, chores: _Chores) -> float:
        """Do what is to be done now; how long to wait for news then, s."""
        wait = heartbeat = self._settings.heartbeat
        if chores.reap:
            chores.reap = False  # before it is asked: what is heard meanwhile counts
            reaped = await self._store.run(self._reap_call(line))
            note_taken_back(reaped.jobs)
            if reaped.wait_ms >= 0:
                chores.reap = True
                wait = max(0.05, reaped.wait_ms / 1000)
            chores.unlooked = chores.unlooked or bool(reaped.jobs)
        most = MANY_EVERY * heartbeat if chores.classes > SEEN else CLASSES_EVERY
        if chores.unlooked or asyncio.get_running_loop().time() - chores.looked_at >= most:
            chores.unlooked = False
            await self.find_classes(line)
        await self._clockwork.announce_what_is_left(line)
        return wait

    def _reap_call(self, line: Line) -> commands.Call[Reaped]:
        settings = self._settings
        return commands.reap(
            line.keys,
            every_ms=round(settings.heartbeat * 1000),
            grace_ms=round(settings.grace * 1000),
            max_crashes=settings.max_crashes,
            dead_keep_ms=round(settings.dead_ttl * 1000),
            dead_max=settings.dead_max,
            keep_ms=round(settings.result_ttl * 1000),
        )

    async def bury(self, lines: Iterable[Line], obituary: Obituary) -> None:
        """Take back at once what a process held that our supervisor saw end. The reaper would, but
        only after its grace time.
        """
        settings = self._settings
        served = {line.queue: line.keys for line in lines}
        for queue, worker in obituary.lives:
            keys = served.get(queue)
            while keys is not None:
                buried = await self._store.run(
                    commands.bury(
                        keys,
                        worker,
                        obituary.how,
                        max_crashes=settings.max_crashes,
                        dead_keep_ms=round(settings.dead_ttl * 1000),
                        dead_max=settings.dead_max,
                        keep_ms=round(settings.result_ttl * 1000),
                    ),
                    tries=3,
                )
                note_taken_back(buried.jobs)
                if not buried.more:
                    break

    async def find_classes(self, line: Line) -> set[str]:
        """Claim also from the classes with jobs that this worker can run; those that it cannot."""
        found = await self._store.run(
            commands.plain("SRANDMEMBER", line.keys.classes, SEEN, parse=_texts)
        )
        self._chores[line.queue].looked_at = asyncio.get_running_loop().time()
        labels, tasks = self._settings.provides, self._registry.tasks
        processes = self._process_slots > 0
        mine = {name for name in found if serves(name, labels, tasks, processes)}
        if processes:
            mine.add(PROCESS)
        known = self._pump.classes[line.queue]
        if not mine <= known:
            known |= mine  # where there are very many, each look sees others of them
            self._pump.heat(line.queue)
        foreign = set(found) - mine
        self._foreign.setdefault(line.queue, foreign)
        return foreign

    def seek(self, line: Line) -> None:
        """The worker was woken and found nothing: look for classes soon, it may have been the first
        job of one.
        """
        if line.queue not in self._seeking:
            task = asyncio.get_running_loop().create_task(self._seek(line))
            self._seeking[line.queue] = task
            task.add_done_callback(lambda _: self._seeking.pop(line.queue))

    def stop(self) -> None:
        """Seek no more."""
        for task in self._seeking.values():
            task.cancel()

    async def _seek(self, line: Line) -> None:
        """Look for classes. The token of a class that this worker does not serve was for another:
        it goes back, once for each class, so that it reaches all workers that listen.
        """
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._sought.get(line.queue, -1.0) + SEEK_EVERY - loop.time())
        self._sought[line.queue] = loop.time()
        try:
            foreign = await self.find_classes(line)
            if not foreign <= self._foreign[line.queue]:
                self._foreign[line.queue] |= foreign
                await self._store.run(commands.plain("RPUSH", line.keys.wake, "1", parse=int))
        except StoreError as error:
            log.debug("queue %s: no look for classes: %s", line.queue, error)


def note_taken_back(jobs: Iterable[tuple[str, str, str]]) -> None:
    """Log what became of the jobs of lost workers."""
    for job_id, word, lost in jobs:
        log.warning("job %s: worker %s is lost, job is %s", job_id, lost, word.lower())


def _texts(reply: list[bytes]) -> list[str]:
    return [item.decode("utf-8", "replace") for item in reply]
