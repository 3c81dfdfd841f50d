"""The app that taskq's workers and producer share in a replay; the environment says the rest."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from bench.replay.systems.common import Notes, notes, order
from taskq import Context, TaskQ

wanted: dict[str, Any] = order()
app = TaskQ(wanted["url"], namespace="bench")
settings = app.queue("default", **wanted["queue"])
_out: Notes | None = None


@app.task
async def work(ctx: Context, number: int, seconds: float) -> None:
    """Sleep; note number, start and token, then also its end, and whether it was its own."""
    assert _out is not None
    began, well = time.time_ns(), 0
    _out.write(number, began, ctx.token)
    try:
        await asyncio.sleep(seconds)
        well = 1
    finally:
        _out.write(number, began, time.time_ns(), well, ctx.token)


@app.lifespan
async def open_notes(_: object) -> AsyncIterator[None]:
    """The file to write to; only workers have one."""
    global _out
    if "BENCH_NOTES" in os.environ:
        _out = notes()
    yield
