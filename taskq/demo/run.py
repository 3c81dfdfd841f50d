"""The demo's driver: server, workers, producer, waiting for results, the check, the verdict."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import TypeVar

from rich.console import Console

from taskq import TaskQ
from taskq.demo.census import files
from taskq.demo.check import differences, reference
from taskq.demo.fleet import DemoFailed, Fleet, private_server
from taskq.demo.harvest import Harvest, harvest
from taskq.demo.report import Steps, progress, say, show
from taskq.demo.tasks import QUEUE
from taskq.errors import JobError

_APP = "taskq.demo.tasks:app"
_WORKERS = 2
_SHOWN_DIFFERENCES = 20

T = TypeVar("T")


def main(*, kill: bool = False, limit: int | None = None) -> int:
    """Run the demo; return the exit code: 0 only if no job is lost and every figure agrees.

    `kill`: SIGKILL one of the workers on the way. `limit`: at most that many files, 1 or more.
    Raises ConfigError or StoreError if no private server can be started, or it goes away.
    """
    console = Console(stderr=True)
    try:
        return asyncio.run(_demo(console, kill=kill, limit=limit))
    except (DemoFailed, JobError) as failure:
        say(console, f"demo FAILED: {failure}")
        return 1
    except KeyboardInterrupt:
        say(console, "demo interrupted; its processes and files are gone")
        return 128 + signal.SIGINT
    except asyncio.CancelledError:
        say(console, "demo terminated; its processes and files are gone")
        return 128 + signal.SIGTERM


async def _demo(console: Console, *, kill: bool, limit: int | None) -> int:
    _clean_up_on(signal.SIGTERM, signal.SIGHUP)
    paths = files(limit=limit)
    if not paths:
        raise DemoFailed("this Python came without the sources of its standard library")
    with private_server() as server:
        say(console, f"server: version {server.version}, pid {server.pid}, private, on a socket")
        async with Fleet(server.directory) as fleet:
            app = TaskQ(server.url)
            result = await _through_queue(console, fleet, app, len(paths), kill=kill, limit=limit)
    with progress(console, "the same without a queue", len(paths)) as steps:
        expected = await reference(paths, steps.tick)
    show(Console(), result.figures, result.total)
    found = result.failures + differences(expected, result.measured, result.total)
    if found:
        more = len(found) - _SHOWN_DIFFERENCES
        lines = found[:_SHOWN_DIFFERENCES] + ([f"and {more:,} more"] if more > 0 else [])
        raise DemoFailed("\n  ".join([f"{len(found):,} findings", *lines]))
    say(console, f"OK: {len(paths):,} jobs, none lost; every figure equals the one without a queue")
    return 0


async def _through_queue(
    console: Console, fleet: Fleet, app: TaskQ, total: int, *, kill: bool, limit: int | None
) -> Harvest:
    slots = max(2, min(8, (os.cpu_count() or 2) // _WORKERS))
    for _ in range(_WORKERS):
        await _start_worker(console, fleet, slots)
    with progress(console, "through the queue", total) as steps:

        async def on_result() -> None:
            steps.tick()
            if kill and steps.done == max(1, total // 3):
                await _replace_a_worker(console, fleet, slots)

        lines = fleet.produce(*([str(limit)] if limit is not None else []))
        return await _while_all_live(fleet, steps, harvest(app, lines, on_result))


async def _start_worker(console: Console, fleet: Fleet, slots: int) -> None:
    child = await fleet.start_worker(_APP, QUEUE, slots)
    say(console, f"{child.name}: pid {child.process.pid}, {slots} slots")


async def _replace_a_worker(console: Console, fleet: Fleet, slots: int) -> None:
    child = await fleet.kill_worker()
    say(console, f"{child.name}: SIGKILL; what it ran comes back when its heartbeat has lapsed")
    await _start_worker(console, fleet, slots)


async def _while_all_live(fleet: Fleet, steps: Steps, work: Coroutine[None, None, T]) -> T:
    """The result of `work`, unless a worker ends first. Raises DemoFailed then."""
    working, watching = asyncio.create_task(work), asyncio.create_task(fleet.watch())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await watching
        return await working
    except DemoFailed as failure:
        done = f"{steps.done:,} of {steps.total:,} jobs were done"
        words = "" if watching.done() else fleet.last_words()
        raise DemoFailed("\n".join(filter(None, [str(failure), done, words]))) from failure
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


def _clean_up_on(*signals: signal.Signals) -> None:
    """End this task, not the process at once, so that every `finally` runs."""
    task = asyncio.current_task()
    assert task is not None
    for number in signals:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
