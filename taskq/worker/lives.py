"""The lives of a worker process: the ids it goes by. A queue that was cut off goes on under a new
one, once Redis knows how the old life ended.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from taskq import commands
from taskq.errors import StoreError
from taskq.keys import SharedKeys
from taskq.settings import Settings
from taskq.store import Store
from taskq.worker.identity import worker_id
from taskq.worker.line import Line
from taskq.worker.pump import Pump
from taskq.worker.runner import Runner

log = logging.getLogger("taskq.worker")


class Lives:
    """Brings fenced queues back. `on_life(queue, id)` hears of each life, `tell_roster` is called
    on a thread after one has begun anew.
    """

    def __init__(
        self,
        name: str | None,
        settings: Settings,
        *,
        on_life: Callable[[str, str], None],
        tell_roster: Callable[[], None],
    ) -> None:
        self._name = name
        self._settings = settings
        self._tell_roster = tell_roster
        self._returning: asyncio.Task[None] | None = None
        self.on_life = on_life
        self.id = worker_id(name)
        """The newest id; a queue that was never cut off may know an older one."""

    def come_back(self, store: Store, lines: Sequence[Line], pump: Pump, runner: Runner) -> None:
        """Begin to bring back what can be: called again and again while a queue is fenced."""
        if self._returning is None and any(line.fenced for line in lines):
            self._returning = asyncio.get_running_loop().create_task(
                self._come_back(store, lines, pump, runner)
            )

    async def _come_back(
        self, store: Store, lines: Sequence[Line], pump: Pump, runner: Runner
    ) -> None:
        """Reports went out with the old tokens, stopped runs were released, and Redis is heard."""
        try:
            for line in lines:
                heard = time.monotonic() - line.beaten_at < self._settings.heartbeat_ttl / 2
                runs = any(run.line is line for run in runner.running.values())
                if line.fenced and heard and not runs and not line.owes:
                    await self._return(store, line, lines, pump)
        except StoreError as error:
            log.debug("not back yet: %s", error)
        finally:
            self._returning = None

    async def _return(self, store: Store, line: Line, lines: Sequence[Line], pump: Pump) -> None:
        old = line.worker
        if self.id == old:
            self.id = worker_id(self._name)
        ttl_ms = round(self._settings.heartbeat_ttl * 1000)
        sent = time.monotonic()
        slots = self._settings.concurrency
        await store.run(commands.heartbeat(line.keys, self.id, ttl_ms=ttl_ms, slots=slots))
        line.worker, line.beaten_at = self.id, sent
        line.lost.clear()
        self.on_life(line.queue, line.worker)
        line.fenced = False
        log.warning("queue %s: back as worker %s", line.queue, line.worker)
        pump.heat(line.queue)
        await store.run(commands.retire(line.keys, old))
        if all(other.worker != old for other in lines):
            for call in commands.leave_roster(SharedKeys(self._settings.namespace), old):
                await store.run(call)
        await asyncio.to_thread(self._tell_roster)
