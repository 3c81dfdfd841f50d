"""The two tasks of the demo, and how a file becomes a job. What workers of the demo load."""

from __future__ import annotations

import os

from taskq import TaskQ
from taskq.demo.census import FileCensus, Totals, measure, merge

QUEUE = "census"
#: (below this many bytes, priority): small files first, so that most answers come early.
SIZE_CLASSES = ((4 << 10, 9), (16 << 10, 7), (64 << 10, 5))
LARGE_PRIORITY = 2
#: Every tenth job has a deadline, in seconds: nearer than the 60 s after which a job without one
#: counts as due, so it passes its neighbours of the same priority.
DEADLINE_EVERY, DEADLINE_SECONDS = 10, 45.0

app = TaskQ()


@app.task(queue=QUEUE, executor="process", timeout=120)
def measure_file(path: str) -> FileCensus:
    """Measure one source file: pure CPU, so it runs in a process of its own."""
    return measure(path)


@app.task(queue=QUEUE, priority=9)
async def merge_totals(parts: list[Totals]) -> Totals:
    """Add up partial totals: too little work to leave the event loop for."""
    return merge(parts)


def priority_of(path: str) -> int:
    """The priority of a file by its size class. Raises OSError."""
    size = os.path.getsize(path)
    return next((priority for below, priority in SIZE_CLASSES if size < below), LARGE_PRIORITY)
