"""Measure every source file of Python's standard library, through a queue. The demo's own code.

    python stdlib_census.py            two workers, a producer, a table, and a check
    python stdlib_census.py --kill     the same, with one worker killed on the way

What one file becomes is in `taskq.demo.census` and is plain Python. All that the queue needs to
know of it is in `taskq.demo.tasks`, and looks like this:

    app = TaskQ()

    @app.task(queue="census", executor="process")
    def measure_file(path: str) -> FileCensus:
        return measure(path)

    @app.task(queue="census", priority=9)
    async def merge_totals(parts: list[Totals]) -> Totals:
        return merge(parts)

`taskq.demo.producer` enqueues with a priority, and some with a deadline; `taskq.demo.harvest`
waits for the results. To take it apart by hand, in three terminals:

    taskq worker taskq.demo.tasks:app -q census
    python -m taskq.demo.producer 100
    taskq status
"""

from __future__ import annotations

import sys

from taskq.demo.run import main

# The guard matters: the check computes in processes that import this file again.
if __name__ == "__main__":
    sys.exit(main(kill="--kill" in sys.argv[1:]))
