"""How an idle worker hears of work: it blocks on the wake lists of its queues.

One wait at a time, on a connection of its own. A worker that is woken while it has no free slot
passes the news on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from logging import getLogger

from taskq import commands
from taskq.errors import StoreError
from taskq.settings import Settings
from taskq.store import Store
from taskq.worker.line import Line
from taskq.worker.runner import Runner

log = getLogger("taskq.pump")

#: How long a worker whose processes are all busy lets others answer a wake-up first, s.
PASS_ON = 0.01


class Ears:
    """Listens for one worker. `free()` tells how many slots are free, `heat(queue)` is called when
    that queue (None: any) should be looked at.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        lines: Sequence[Line],
        *,
        free: Callable[[], int],
        heat: Callable[[str | None], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._by_wake = {line.keys.wake: line for line in lines}
        self._free = free
        self._heat = heat
        self._runner: Runner | None = None
        self._wait: asyncio.Future[None] | None = None

    def serve(self, runner: Runner) -> None:
        """Whose processes are looked at."""
        self._runner = runner

    @property
    def listening(self) -> bool:
        """True while a wake-up would be heard."""
        return self._wait is not None and not self._wait.done()

    def listen(self) -> None:
        """Wait for a wake-up, unless that is already so."""
        if not self.listening:
            self._wait = asyncio.get_running_loop().create_task(self._listen())

    def stop(self) -> None:
        """Give up the wait and its connection; the next `listen` opens another."""
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None

    async def _listen(self) -> None:
        """Block on the wake lists, once. Woken while there is no free slot, it passes the news
        on.
        """
        assert self._runner is not None
        if self._runner.processes.count and not self._runner.processes.free:
            # A token for a process job was just passed on: let a worker with a free one take it.
            await asyncio.sleep(PASS_ON)
        try:
            woken = await self._store.wait_for_wake(list(self._by_wake), self._settings.block)
        except StoreError:
            await asyncio.sleep(random.uniform(0.1, 0.5))
            woken = None
        line = self._by_wake.get(woken) if woken else None
        if line is not None and self._free() <= 0:
            await self._pass_on(line)
        self._heat(line.queue if line else None)

    async def _pass_on(self, line: Line) -> None:
        try:
            claims = await self._store.run(
                commands.claim(
                    line.keys, line.worker, keep_ms=self._keep_ms, limit=0, slots={"": 0}
                )
            )
        except StoreError:
            log.debug("could not pass a wake token on")
            return
        if claims.next_due_ms >= 0:  # the news may have been a due time
            due = asyncio.get_running_loop().time() + claims.next_due_ms / 1000
            line.due_at = min(line.due_at, due)

    @property
    def _keep_ms(self) -> int:
        return round(self._settings.result_ttl * 1000)
