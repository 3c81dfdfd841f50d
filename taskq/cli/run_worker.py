"""One worker in this process: event loop, signals, and a process that really ends."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from taskq.errors import ConfigError
from taskq.worker.interrupt import Interrupted
from taskq.worker.obituary import Obituary, tell_life
from taskq.worker.recycle import RECYCLED
from taskq.worker.supervisor import follow_parent
from taskq.worker.worker import Worker

if TYPE_CHECKING:
    from taskq.app import TaskQ

log = logging.getLogger("taskq.worker")


def loop_factory(wanted: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """How to make the event loop: uvloop's where it is installed, unless asyncio is wanted."""
    there = importlib.util.find_spec("uvloop") is not None
    if wanted == "uvloop" and not there:
        raise ConfigError("--loop uvloop: it is not installed: pip install 'taskq-redis[fast]'")
    if wanted == "asyncio" or not there:
        return None
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def run_worker(
    app: TaskQ,
    *,
    queues: Sequence[str],
    name: str | None,
    burst: bool,
    loop: str,
    parent_pipe: int | None = None,
    life_pipe: int | None = None,
    obituary: Obituary | None = None,
) -> int:
    """Work until told to stop: 0 after a drain, 75 when it made room for a new process, 128 +
    signal when hurried. May end the process itself.

    `parent_pipe`, `life_pipe` and `obituary` come from a supervisor.

    Raises what Worker.run raises.
    """
    hurried: list[int] = []
    workers: list[Worker] = []

    def on_life(queue: str, worker_id: str) -> None:
        if life_pipe is not None:
            tell_life(life_pipe, queue, worker_id)

    async def main() -> None:
        worker = Worker(
            app, queues=queues, name=name, burst=burst, obituary=obituary, on_life=on_life
        )
        workers.append(worker)
        running = asyncio.get_running_loop()
        stops = 0

        def stop(number: int) -> None:
            nonlocal stops
            stops += 1
            if stops == 2:
                hurried.append(number)
            if stops > 2:
                os._exit(128 + number)
            worker.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            running.add_signal_handler(number, stop, int(number))
        if parent_pipe is not None:
            follow_parent(parent_pipe, functools.partial(running.call_soon_threadsafe, worker.stop))
        await worker.run()

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        go_on_with(runner.get_loop(), main())
    code = 128 + hurried[0] if hurried else 0
    if not code and any(worker.recycling.why for worker in workers):
        code = RECYCLED
    if any(stuck_threads(worker) for worker in workers):
        end_now(code)
    return code


def go_on_with(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, None]) -> None:
    """Run `main` to its end, even when an interruption that came too late hits the loop itself."""
    task = loop.create_task(main)
    while True:
        try:
            loop.run_until_complete(task)
            return
        except Interrupted:
            if task.done():
                raise
            log.error("an interruption came too late for its run; going on")


def stuck_threads(worker: Worker) -> list[threading.Thread]:
    """Threads whose task was given up, or given back, and that are still at it; Python would wait
    for them.
    """
    found: list[threading.Thread] = []
    for thread in threading.enumerate():
        if thread.name.startswith("taskq-task") and thread.is_alive():
            thread.join(0.2 if not found else 0)
            if thread.is_alive():
                found.append(thread)
    return found


def end_now(code: int) -> None:
    """End the process without waiting for anything."""
    log.warning("ending with threads that still run a task")
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
