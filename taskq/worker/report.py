"""Tells Redis how runs ended that did not return: failures, releases, confirmed cancellations.

What returned travels with the next claim; see pump.py.
"""

from __future__ import annotations

import asyncio
import logging

from taskq import commands
from taskq.commands import BATCH
from taskq.errors import LeaseLost
from taskq.settings import Settings
from taskq.store import Store
from taskq.worker.line import Line

log = logging.getLogger("taskq.pump")


async def report(store: Store, settings: Settings, line: Line) -> None:
    """Send what a queue's line has gathered, up to 200 of each kind. What was sent leaves the line
    only when Redis has answered. Raises StoreError.
    """
    keep_ms = round(settings.result_ttl * 1000)
    if line.failures:
        await _failures(store, settings, line, keep_ms)
    if line.released:
        released = line.released[:BATCH]
        await store.run(commands.release(line.keys, line.worker, released, keep_ms=keep_ms))
        del line.released[: len(released)]
        line.hot = True
    while line.cancelled:
        job_id, token = line.cancelled[0]
        try:
            await store.run(
                commands.cancel(line.keys, job_id, keep_ms=keep_ms, token=token, worker=line.worker)
            )
        except (LeaseLost, LookupError):
            log.info("job %s: already ended elsewhere", job_id)
        line.cancelled.pop(0)
        line.hot = True


async def _failures(store: Store, settings: Settings, line: Line, keep_ms: int) -> None:
    failures = line.failures[:BATCH]
    words = await store.run(
        commands.fail(
            line.keys,
            line.worker,
            failures,
            dead_keep_ms=round(settings.dead_ttl * 1000),
            dead_max=settings.dead_max,
            keep_ms=keep_ms,
        )
    )
    del line.failures[: len(failures)]
    line.hot = True
    again = [failure.after_ms for failure in failures if failure.after_ms is not None]
    if again:
        line.due_at = min(line.due_at, asyncio.get_running_loop().time() + min(again) / 1000)
    for job_id, word in words.items():
        if word == "STALE":
            log.warning("job %s: failed too late, another worker has it", job_id)
