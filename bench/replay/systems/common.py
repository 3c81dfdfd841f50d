"""What the programs of all systems share: jobs from a file, notes to a file, sending on time.

Standard library only: it runs in the peers' environments too. Clocks are Unix time in ns, which
all processes of a machine share with the server.
"""

import asyncio
import json
import os
import time


class Notes:
    """Lines of numbers, written at once, so that a reader sees what has ended."""

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *words):
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


def order():
    """What is asked for: see bench/replay/real.py, `Order`."""
    with open(os.environ["BENCH_ORDER"], encoding="utf-8") as file:
        return json.load(file)


def notes():
    """The file this process writes to; it exists once the process is ready."""
    return Notes(os.environ["BENCH_NOTES"])


async def send(jobs, waiting, one, many):
    """Call `one(job)` for each job on time, or `many(jobs)` when all should wait already.

    A call that is late does not make the next one late: each is a task of its own.
    """
    if waiting:
        for start in range(0, len(jobs), 500):
            await many(jobs[start : start + 500])
        return
    begin, calls = time.monotonic() + 0.05, set()
    for job in jobs:
        delay = begin + job["at"] - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
        call = asyncio.ensure_future(one(job))
        calls.add(call)
        call.add_done_callback(calls.discard)
    if calls:
        await asyncio.gather(*calls)
