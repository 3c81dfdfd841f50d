"""One worker process: puts heart, pump, runner and upkeep together; starts, drains, leaves."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Callable, Sequence

from taskq import commands
from taskq.app import TaskQ
from taskq.classes import PROCESS
from taskq.context import Context
from taskq.errors import ConfigError, LeaseLost, StoreError, StoreUnavailable
from taskq.keys import QueueKeys, SharedKeys, check_name
from taskq.partition import shown_places
from taskq.rights import WORKER, check_rights
from taskq.store import Store
from taskq.stores import open_store, open_sync_store
from taskq.worker.clockwork import Clockwork
from taskq.worker.declare import declare_limits, declare_queue
from taskq.worker.drain import drain
from taskq.worker.health import Health
from taskq.worker.heart import Heart
from taskq.worker.identity import Identity, Load
from taskq.worker.line import Line
from taskq.worker.lives import Lives
from taskq.worker.obituary import Obituary
from taskq.worker.pump import Pump
from taskq.worker.put_down import put_down
from taskq.worker.recycle import Recycling
from taskq.worker.run import Run
from taskq.worker.runner import Runner
from taskq.worker.upkeep import Upkeep
from taskq.worker.watchman import TICK, Watchman

log = logging.getLogger("taskq.worker")

#: Longest silence between a worker with free slots and Redis, beyond its block and the bounded wait
#: for a reply, before its connections are made anew, s.
DEAF = 5.0


class Worker:
    """Runs an app's tasks from some queues until told to stop.

    `queues`: names, None for the settings' (`default`); a queue stands for all its partitions, the
    name of one (`mail~3`) for that alone. `burst`: end when nothing is ready any
    more. `obituary`: who of this machine died before us. `on_life(queue, worker id)` hears under
    which ids this process works. Concurrency, heartbeat and the rest come from the app's settings.
    """

    def __init__(
        self,
        app: TaskQ,
        *,
        queues: Sequence[str] | None = None,
        name: str | None = None,
        burst: bool = False,
        obituary: Obituary | None = None,
        on_life: Callable[[str, str], None] = lambda queue, worker: None,
    ) -> None:
        if not app.tasks:
            raise ConfigError("this app has no tasks: decorate functions with @app.task first")
        self.app = app
        self.settings = app.settings
        queues = list(dict.fromkeys(queues or self.settings.queues))
        names = app.places_of(queues)
        self._lives = Lives(
            None if name is None else check_name(name, "worker name"),
            self.settings,
            on_life=on_life,
            tell_roster=lambda: self.heart.tell_roster(),
        )
        self.burst = burst
        self._obituary = obituary
        self.lines = [Line(QueueKeys(self.settings.namespace, queue), self.id) for queue in names]
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self.store = self._store()
        process_slots = self._process_slots()
        identity = self._identity(names, process_slots)
        self.health = self._health(identity)
        self.pump = Pump(
            self.store,
            self.settings,
            self.lines,
            slots=self.settings.concurrency,
            health=self.health,
            beat=lambda: self.heart.ask(),
        )
        self.runner = Runner(
            app,
            self.settings,
            process_slots=process_slots,
            ring=self.pump.ring,
            look=self.pump.heat,
            report=self._report_progress,
        )
        self.pump.serve(self.runner)
        if process_slots:
            for classes in self.pump.classes.values():
                classes.add(PROCESS)
        self.heart = self._heart(identity)
        self.watchman = Watchman(
            self.lines, self.runner, self.settings, cut_off=self._cut_off, put_down=self._put_down
        )
        self.clockwork = Clockwork(self.store, self.settings, app)
        self.pump.on_tick = self.clockwork.turn
        self.upkeep = Upkeep(
            self.store, self.settings, app, self.pump, process_slots, self.clockwork
        )
        self.recycling = Recycling(self.settings, self.runner, identity)
        self.pump.seek = self.upkeep.seek
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def id(self) -> str:
        """The newest id this process goes by."""
        return self._lives.id

    def _identity(self, queues: list[str], process_slots: int) -> Identity:
        return Identity(
            self.id,
            queues=queues,
            concurrency=self.settings.concurrency,
            processes=process_slots,
            tasks=sorted(self.app.tasks),
            provides=self.settings.provides,
        )

    def _health(self, identity: Identity) -> Health:
        return Health(
            self.settings.concurrency,
            rss=identity.rss,
            most_rss=self.settings.recycle_rss * 2**20,
            aware=self.settings.load_aware == "on",
        )

    def _heart(self, identity: Identity) -> Heart:
        store = open_sync_store(
            self.app.address,
            connect_timeout=self._patience(self.settings.connect_timeout),
            socket_timeout=min(self.settings.socket_timeout, self.settings.heartbeat),
            name="taskq-heart",
        )
        return Heart(
            store,
            self.settings,
            self.lines,
            identity,
            load=self._load,
            on_cancel=self._on_cancel,
            on_lapse=self._on_lapse,
            on_news=lambda line, beat: self._on_loop(self.upkeep.hear, line, beat),
            known=self._known,
        )

    def _patience(self, timeout: float) -> float:
        """A bound (s) on one attempt to connect: a worker that was cut off must notice soon that it
        is not any more.
        """
        return min(timeout, max(1.0, self.settings.heartbeat))

    def _store(self) -> Store:
        return open_store(
            self.app.address,
            connect_timeout=self._patience(self.settings.connect_timeout),
            socket_timeout=self.settings.socket_timeout,
            name="taskq-worker",
        )

    def _process_slots(self) -> int:
        if not any(task.executor == "process" for task in self.app.tasks.values()):
            return 0
        slots = self.settings.process_slots or os.cpu_count() or 1
        return min(slots, self.settings.concurrency)

    # From the heart's and the watchman's threads

    def _load(self) -> Load:
        runner, watchman = self.runner, self.watchman
        return Load(
            running=len(runner.running),
            slots=self.health.slots,
            health=self.health.word,
            taken=runner.taken,
            done=runner.done,
            failed=runner.failed,
            loop_lag=watchman.loop_lag,
            blocks=watchman.blocks,
        )

    def _on_loop(self, callback: Callable[..., object], *args: object) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(functools.partial(callback, *args))

    def _on_cancel(self, line: Line, ids: list[str]) -> None:
        self._on_loop(self.runner.stopper.cancel, line.queue, ids)

    def _known(self, line: Line) -> int | None:
        if line.flying or line.unsure or line.fenced:
            return None
        runs = sum(run.line is line for run in list(self.runner.running.values()))
        return runs + len(line.unreported())

    def _on_lapse(self, line: Line) -> None:
        self._on_loop(self._check_leases, line)

    def _check_leases(self, line: Line) -> None:
        line.unsure = True
        self.pump.ring()

    def _put_down(self, blocker: Run | None) -> None:
        put_down(self.heart, self.lines, self.runner, self.settings, blocker)

    # Life

    async def run(self) -> None:
        """Work until `stop`, or with `burst` until nothing is ready.

        Raises StoreUnavailable, StoreRefused or ServerUnsupported when it cannot start; afterwards
        Redis may go and come as it likes.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self.store.check_server()
            await self._announce()
            await asyncio.to_thread(self.heart.start)
        except BaseException:
            await self.store.close()
            self.heart.store.close()
            raise
        log.info("worker %s serves %s", self.id, shown_places(line.queue for line in self.lines))
        try:
            async with self.app.run_lifespan() as state:
                self.runner.state = state
                if self.runner.processes.count:
                    await self.runner.processes.warm_up()
                await self._work()
        finally:
            self.runner.close()
            await asyncio.to_thread(self._leave)
            await self.store.close()

    async def _announce(self) -> None:
        """List the queues, write their settings, bury the dead, and find classes with jobs for our
        tasks.
        """
        for line in self.lines:
            await check_rights(self.store, line.keys, *WORKER)  # before anything is written
        shared = SharedKeys(self.settings.namespace)
        await self.store.run(commands.trim_roster(shared), tries=3)
        for line in self.lines:
            self._lives.on_life(line.queue, line.worker)
            await declare_queue(self.store, line, self.app)
            await self.upkeep.find_classes(line)
            await self.clockwork.announce(line)
            await declare_limits(self.store, line, self.app)
        if self._obituary is not None:
            try:
                await self.upkeep.bury(self.lines, self._obituary)
            except StoreError as error:
                log.warning("what our predecessor held is left to the reaper: %s", error)

    async def _work(self) -> None:
        if self._stopping.is_set():
            return  # stopped while it started: nothing was claimed yet
        self.watchman.start()
        pump = asyncio.create_task(self.pump.run(), name="taskq-pump")
        chores = [
            asyncio.create_task(self._sweep(), name="taskq-sweep"),
            *(
                asyncio.create_task(self.upkeep.keep(line), name="taskq-upkeep")
                for line in self.lines
            ),
        ]
        stop = asyncio.create_task(self._until_stopped(), name="taskq-stop")
        try:
            done, _ = await asyncio.wait([pump, stop], return_when=asyncio.FIRST_COMPLETED)
            if pump in done:
                pump.result()
            await drain(self.pump, self.runner, self.settings, self._hurry)
        finally:
            self.watchman.stop()
            self.upkeep.stop()
            for task in (pump, stop, *chores):
                task.cancel()
            await asyncio.gather(pump, stop, *chores, return_exceptions=True)

    async def _until_stopped(self) -> None:
        if not self.burst:
            await self._stopping.wait()
            return
        while not self._stopping.is_set():
            quiet = self.pump.idle and not any(line.hot or line.fenced for line in self.lines)
            try:
                if quiet and not await self._anything_ready():
                    return
            except StoreUnavailable as error:  # the pump tries on, so the end is not now
                log.debug("burst: %s", error)
            try:
                async with asyncio.timeout(0.02):
                    await self._stopping.wait()
            except TimeoutError:
                pass

    async def _anything_ready(self) -> bool:
        """Burst: is there anything this worker could still run?"""
        for line in self.lines:
            for job_class in ("", *self.pump.classes[line.queue]):
                key = line.keys.ready_of(job_class)
                if await self.store.run(commands.plain("ZCARD", key, parse=int), tries=3):
                    paused = await self.store.run(
                        commands.plain("HEXISTS", line.keys.meta, "paused", parse=int), tries=3
                    )
                    if not paused:
                        self.pump.heat(line.queue)
                        return True
        return False

    def stop(self) -> None:
        """Claim nothing more, let what runs end, leave. Called again: at once. Only from the event
        loop.
        """
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def _leave(self) -> None:
        self.heart.stop()
        try:
            held = self.heart.leave()
            if held:
                log.warning("left %d jobs to the reaper", held)
        except StoreError as error:
            log.warning("could not sign off, the reaper will: %s", error)
        self.heart.store.close()

    # While it works

    async def _sweep(self) -> None:
        """Stop late runs, show the watchman that the loop turns, and see to what is overdue."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK)
            self.watchman.tick()
            self.health.tick(loop.time(), self.watchman.loop_lag)
            self.runner.stopper.sweep()
            self._lives.come_back(self.store, self.lines, self.pump, self.runner)
            if self.recycling.due():
                log.info("worker %s makes room for a new one: %s", self.id, self.recycling.why)
                self._stopping.set()
            self._see_that_it_consumes(loop.time())

    def _see_that_it_consumes(self, now: float) -> None:
        """Connected but not consuming is what other queues' workers are known for after an outage:
        whatever the reason, begin anew.
        """
        settings = self.settings
        silence = now - self.pump.asked_at
        longest = settings.block + 2 * settings.socket_timeout + DEAF
        if silence > longest and self.pump.accepting and self.pump.may_claim:
            log.error("nothing was asked of Redis for %.0f s: connecting anew", silence)
            self.pump.begin_anew()

    def _cut_off(self, line: Line) -> None:
        self.runner.stopper.stop_fenced(line)
        self.pump.ring()

    async def _report_progress(
        self, line: Line, context: Context, fraction: float, note: str
    ) -> None:
        word = await self.store.run(
            commands.progress(
                line.keys,
                context.job_id,
                str(context.token),
                context.worker_id,
                fraction,
                note,
            ),
            tries=3,
        )
        if word != "OK":
            context.lease_lost = True
            raise LeaseLost(f"the lease on job {context.job_id} is lost", job_id=context.job_id)
