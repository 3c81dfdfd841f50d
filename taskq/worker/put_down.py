"""The end of a worker whose event loop is blocked for good: what it still can, it reports from
another thread; then the process ends.

Nothing in such a process goes on, so its jobs are better off elsewhere: those that are done are
acknowledged, the one that blocks failed, the others are released unpunished.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import NoReturn

from taskq import commands
from taskq.commands import BATCH
from taskq.errors import StoreError
from taskq.settings import Settings
from taskq.worker.heart import Heart
from taskq.worker.line import Line
from taskq.worker.policy import TaskTimeout
from taskq.worker.run import Run
from taskq.worker.runner import Runner

log = logging.getLogger("taskq.worker")

#: Exit code of a worker that put itself down.
PUT_DOWN = 70


def put_down(
    heart: Heart, lines: Sequence[Line], runner: Runner, settings: Settings, blocker: Run | None
) -> None:
    """Report what can be reported and end the process. Not on the event loop's thread."""
    log.critical("the event loop does not come back: this worker ends, its jobs go to others")
    if blocker is not None and blocker.why == "fenced":
        end_now()  # cut off from Redis: nobody hears a report, and the grace time runs
    heart.stop()
    for line in lines:
        runner.stopper.fence(line)
        try:
            _report(heart, line, runner, settings, blocker)
        except StoreError as error:
            log.error("queue %s: its jobs are left to the reaper: %s", line.queue, error)
    try:
        heart.leave()
    except StoreError as error:
        log.error("could not sign off, the reaper will: %s", error)
    end_now()


def end_now() -> NoReturn:
    """End this process without waiting for anything; the children it holds follow it."""
    logging.shutdown()
    os._exit(PUT_DOWN)


def _report(
    heart: Heart, line: Line, runner: Runner, settings: Settings, blocker: Run | None
) -> None:
    keep_ms = round(settings.result_ttl * 1000)
    given = list(line.released)
    failures = list(line.failures)
    for run in list(runner.running.values()):
        if run.line is not line:
            continue
        if run is blocker:
            run.why = run.bound
            problem = TaskTimeout("blocked the event loop and could not be stopped")
            failures.append(runner.failure_of(run, problem))
        else:
            given.append((run.job.id, run.job.token, ""))
    for start in range(0, len(line.acks), BATCH):
        part = line.acks[start : start + BATCH]
        heart.store.run(
            commands.ack(
                line.keys,
                line.worker,
                part,
                keep_ms=keep_ms,
                done_max=settings.done_max,
                limit=0,
                slots={"": 0},
            )
        )
    for start in range(0, len(failures), BATCH):
        heart.store.run(
            commands.fail(
                line.keys,
                line.worker,
                failures[start : start + BATCH],
                dead_keep_ms=round(settings.dead_ttl * 1000),
                dead_max=settings.dead_max,
                keep_ms=keep_ms,
            )
        )
    for start in range(0, len(given), BATCH):
        part_given = given[start : start + BATCH]
        heart.store.run(commands.release(line.keys, line.worker, part_given, keep_ms=keep_ms))
