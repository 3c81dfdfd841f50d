"""The demo's producer, a process of its own: `python -m taskq.demo.producer [LIMIT]`.

Enqueues one job a file and prints a line for each, `id<TAB>path`, as soon as it is enqueued.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from taskq.demo.census import files
from taskq.demo.tasks import DEADLINE_EVERY, DEADLINE_SECONDS, app, measure_file, priority_of

#: Jobs in one call.
BATCH = 200


async def produce(paths: Sequence[str]) -> None:
    """Enqueue a job for each of `paths`, every tenth with a deadline, and print their ids."""
    calls = []
    for number, path in enumerate(paths):
        task = measure_file.options(priority=priority_of(path))
        if number % DEADLINE_EVERY == 0:
            # Late is better than never here: past its deadline the job still runs.
            task = measure_file.options(
                priority=priority_of(path), deadline=DEADLINE_SECONDS, on_miss="run"
            )
        calls.append(task.s(path))
    async with app:
        for start in range(0, len(calls), BATCH):
            jobs = await app.enqueue_many(calls[start : start + BATCH])
            for job, path in zip(jobs, paths[start : start + BATCH], strict=True):
                print(job.id, path, sep="\t")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(produce(files(limit=int(sys.argv[1]) if len(sys.argv) > 1 else None)))
