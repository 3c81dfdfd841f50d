"""One worker process: puts heart, pump, runner and upkeep together; starts, drains, leaves."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence

from taskq import commands
from taskq.app import TaskQ
from taskq.commands import Reaped
from taskq.context import Context
from taskq.errors import ConfigError, LeaseLost, StoreError, StoreUnavailable
from taskq.keys import QueueKeys, SharedKeys, check_name
from taskq.rights import WORKER, check_rights
from taskq.store import Store
from taskq.store_sync import SyncStore
from taskq.task import FRAGILE_CLASS, PROCESS_CLASS
from taskq.worker.heart import Heart
from taskq.worker.identity import Identity, Load, worker_id
from taskq.worker.line import Line
from taskq.worker.pump import Pump
from taskq.worker.runner import Runner

log = logging.getLogger("taskq.worker")

#: What cancelled coroutines get to end when the worker leaves, s.
LAST_MOMENT = 2.0
#: Passes of the reaper between two looks for classes with jobs we can run.
CLASSES_EVERY = 3
#: How often runs are looked at for timeouts, s.
SWEEP = 0.1


class Worker:
    """Runs an app's tasks from some queues until told to stop.

    `queues`: names, None for the settings' (`default`). `burst`: end when nothing is ready any
    more. Concurrency, heartbeat and the rest come from the app's settings.
    """

    def __init__(
        self,
        app: TaskQ,
        *,
        queues: Sequence[str] | None = None,
        name: str | None = None,
        burst: bool = False,
    ) -> None:
        if not app.tasks:
            raise ConfigError("this app has no tasks: decorate functions with @app.task first")
        self.app = app
        self.settings = app.settings
        names = list(dict.fromkeys(queues or self.settings.queues))
        self.id = worker_id(None if name is None else check_name(name, "worker name"))
        self.burst = burst
        self.lines = [Line(QueueKeys(self.settings.namespace, queue)) for queue in names]
        self.loop_lag = 0.0
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self.store = self._store()
        process_slots = self._process_slots()
        self.pump = Pump(
            self.store,
            self.settings,
            self.id,
            self.lines,
            slots=self.settings.concurrency,
            beat=lambda: self.heart.ask(),
        )
        self.runner = Runner(
            app,
            self.settings,
            worker=self.id,
            process_slots=process_slots,
            ring=self.pump.ring,
            look=self.pump.heat,
            report=self._report_progress,
        )
        self.pump.serve(self.runner)
        if process_slots:
            for classes in self.pump.classes.values():
                classes.add(PROCESS_CLASS)
        identity = Identity(
            self.id,
            queues=names,
            concurrency=self.settings.concurrency,
            processes=process_slots,
            tasks=sorted(app.tasks),
        )
        self._heart_store = SyncStore(
            app.address,
            connect_timeout=self.settings.connect_timeout,
            socket_timeout=min(self.settings.socket_timeout, self.settings.heartbeat),
            name="taskq-heart",
        )
        self.heart = Heart(
            self._heart_store,
            self.settings,
            self.id,
            [line.keys for line in self.lines],
            identity,
            load=self._load,
            on_cancel=self._on_cancel,
            on_lapse=self._on_lapse,
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    def _store(self) -> Store:
        return Store(
            self.app.address,
            connect_timeout=self.settings.connect_timeout,
            socket_timeout=self.settings.socket_timeout,
            name="taskq-worker",
        )

    def _process_slots(self) -> int:
        if not any(task.executor == "process" for task in self.app.tasks.values()):
            return 0
        slots = self.settings.process_slots or os.cpu_count() or 1
        return min(slots, self.settings.concurrency)

    # From the heart's thread

    def _load(self) -> Load:
        return Load(len(self.runner.running), self.runner.done, self.runner.failed, self.loop_lag)

    def _on_cancel(self, queue: str, ids: list[str]) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.runner.cancel, queue, ids)

    def _on_lapse(self, queue: str) -> None:
        log.warning("queue %s: beat again after a gap", queue)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._check_leases, queue)

    def _check_leases(self, queue: str) -> None:
        for line in self.lines:
            if line.queue == queue:
                line.unsure = True
        self.pump.ring()

    # Life

    async def run(self) -> None:
        """Work until `stop`, or with `burst` until nothing is ready.

        Raises StoreUnavailable, StoreRefused or ServerUnsupported when it cannot start; afterwards
        Redis may go and come as it likes.
        """
        self._loop = asyncio.get_running_loop()
        await self.store.check_server()
        await self._announce()
        await asyncio.to_thread(self.heart.start)
        log.info("worker %s serves %s", self.id, ", ".join(line.queue for line in self.lines))
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
        """List the queues, write their settings, and find classes with jobs for our tasks."""
        for line in self.lines:
            await check_rights(self.store, line.keys, *WORKER)  # before anything is written
        shared = SharedKeys(self.settings.namespace)
        await self.store.run(commands.trim_roster(shared), tries=3)
        for line in self.lines:
            wanted = self.app.queues.get(line.queue)
            try:
                await self.store.run(
                    commands.plain("SADD", shared.queues, line.queue, parse=int), tries=3
                )
                if wanted is not None and wanted.meta():
                    await self.store.run(commands.configure(line.keys, wanted.meta()), tries=3)
            except StoreUnavailable as error:
                log.warning("queue %s: not listed, its settings not written: %s", line.queue, error)
            await self._find_classes(line)

    async def _work(self) -> None:
        if self._stopping.is_set():
            return  # stopped while it started: nothing was claimed yet
        pump = asyncio.create_task(self.pump.run(), name="taskq-pump")
        upkeep = [
            asyncio.create_task(self._sweep(), name="taskq-sweep"),
            *(asyncio.create_task(self._keep(line), name="taskq-upkeep") for line in self.lines),
        ]
        stop = asyncio.create_task(self._until_stopped(), name="taskq-stop")
        try:
            done, _ = await asyncio.wait([pump, stop], return_when=asyncio.FIRST_COMPLETED)
            if pump in done:
                pump.result()
            await self._drain()
        finally:
            for task in (pump, stop, *upkeep):
                task.cancel()
            await asyncio.gather(pump, stop, *upkeep, return_exceptions=True)

    async def _until_stopped(self) -> None:
        if not self.burst:
            await self._stopping.wait()
            return
        while not self._stopping.is_set():
            quiet = self.pump.idle and not any(line.hot for line in self.lines)
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

    async def _drain(self) -> None:
        """Wait for what runs, at most `drain` seconds; give the rest back unpunished."""
        self.pump.accepting = False
        end = time.monotonic() + self.settings.drain
        if self.runner.running:
            log.info(
                "draining: %d jobs run, at most %g s; again to stop at once",
                len(self.runner.running),
                self.settings.drain,
            )
        while self._busy() and not self._hurry.is_set() and time.monotonic() < end:
            try:
                async with asyncio.timeout(0.02):
                    await self._hurry.wait()
            except TimeoutError:
                pass
        if self._busy():
            log.warning("giving back %d jobs that still run", len(self.runner.running))
            self.runner.abandon_all()
            await self._settle(LAST_MOMENT)
            self.runner.release_all()
        await self._settle(max(self.settings.socket_timeout, LAST_MOMENT))

    def _busy(self) -> bool:
        """Jobs run, or a claim sent before the stop may still bring some."""
        return bool(self.runner.running) or self.pump.flying

    async def _settle(self, seconds: float) -> None:
        """Wait until nothing runs and everything owed has reached Redis, at most so long."""
        end = time.monotonic() + seconds
        while (self.runner.running or self.pump.owes) and time.monotonic() < end:
            self.pump.ring()
            await asyncio.sleep(0.005)

    def _leave(self) -> None:
        self.heart.stop()
        try:
            held = self.heart.leave()
            if held:
                log.warning("left %d jobs to the reaper", held)
        except StoreError as error:
            log.warning("could not sign off, the reaper will: %s", error)
        self._heart_store.close()

    # Upkeep

    async def _sweep(self) -> None:
        """Stop late runs, and notice when something blocks the event loop."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(SWEEP)
            self.loop_lag = max(0.0, time.monotonic() - before - SWEEP)
            self.runner.sweep()

    async def _keep(self, line: Line) -> None:
        """Reap for one queue, and look for classes with jobs we can run. Together all workers make
        one pass a beat.
        """
        settings = self.settings
        wait = settings.heartbeat / 2
        passes = 0
        while True:
            await asyncio.sleep(wait)
            try:
                reaped = await self.store.run(self._reap_call(line))
                self._note_reaped(reaped)
                wait = max(0.05, reaped.wait_ms / 1000)
                if reaped.jobs or passes % CLASSES_EVERY == 0:
                    await self._find_classes(line)
                passes += 1
            except StoreError as error:
                log.debug("upkeep of %s: %s", line.queue, error)
                wait = settings.heartbeat

    def _reap_call(self, line: Line) -> commands.Call[Reaped]:
        settings = self.settings
        return commands.reap(
            line.keys,
            every_ms=round(settings.heartbeat * 1000),
            grace_ms=round(settings.grace * 1000),
            max_crashes=settings.max_crashes,
            dead_keep_ms=round(settings.dead_ttl * 1000),
            dead_max=settings.dead_max,
            keep_ms=round(settings.result_ttl * 1000),
        )

    def _note_reaped(self, reaped: Reaped) -> None:
        for job_id, word, lost in reaped.jobs:
            log.warning("job %s: worker %s is lost, job is %s", job_id, lost, word.lower())

    async def _find_classes(self, line: Line) -> None:
        """Claim also from the classes that hold jobs of tasks this app knows."""
        found = await self.store.run(
            commands.plain("SRANDMEMBER", line.keys.classes, 200, parse=_texts)
        )
        mine = {name for name in found if name.removeprefix("task.") in self.app.tasks}
        if FRAGILE_CLASS in found:
            mine.add(FRAGILE_CLASS)
        if self.runner.processes.count:
            mine.add(PROCESS_CLASS)
        if mine != self.pump.classes[line.queue]:
            self.pump.classes[line.queue] = mine
            self.pump.heat(line.queue)

    async def _report_progress(self, context: Context, fraction: float, note: str) -> None:
        keys = next(line.keys for line in self.lines if line.queue == context.queue)
        word = await self.store.run(
            commands.progress(keys, context.job_id, str(context.token), self.id, fraction, note),
            tries=3,
        )
        if word != "OK":
            context.lease_lost = True
            raise LeaseLost(f"the lease on job {context.job_id} is lost", job_id=context.job_id)


def _texts(reply: list[bytes]) -> list[str]:
    return [item.decode("utf-8", "replace") for item in reply]
