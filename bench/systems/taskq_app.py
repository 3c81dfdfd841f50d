"""The tasks a taskq worker runs in a benchmark. Where Redis is comes from the run's environment."""

from __future__ import annotations

import cProfile
import os
import time
from array import array
from collections.abc import AsyncIterator
from pathlib import Path

from taskq import TaskQ

app = TaskQ(os.environ["BENCH_URL"], namespace=os.environ["BENCH_NAMESPACE"], max_jobs=3_000_000)

_delays = array("q")


@app.task
async def noop() -> None:
    """Nothing; how it ended is kept as by default."""


@app.task(result_ttl=0)
async def gone() -> None:
    """Nothing, and nothing is kept."""


@app.task
def plain() -> None:
    """Nothing, on a thread."""


@app.task
async def stamp(called_ns: int) -> None:
    """Note how long ago the enqueue call began."""
    _delays.append(time.monotonic_ns() - called_ns)


@app.task
async def echo(text: str) -> str:
    """Return the argument."""
    return text


@app.lifespan
async def observe(_: object) -> AsyncIterator[None]:
    """Leave noted delays, or the event loop thread's profile, in the file the run asked for."""
    delays, profile = os.environ.get("BENCH_DELAYS"), os.environ.get("BENCH_PROFILE")
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    yield
    if profile:
        profiler.disable()
        profiler.dump_stats(profile)
    if delays:
        Path(delays).write_bytes(_delays.tobytes())
