"""After a lost reply, or a heartbeat that lapsed: a worker asks Redis what it holds."""

from __future__ import annotations

import logging
from collections.abc import Callable

from taskq import commands
from taskq.store import Store
from taskq.worker.line import Line
from taskq.worker.runner import Runner

log = logging.getLogger("taskq.pump")


async def recall(store: Store, line: Line, runner: Runner, adopt: Callable[[], bool]) -> None:
    """What Redis says we hold and we do not know of, we run while `adopt()`, or else give back;
    what we run and no longer hold belongs to another worker, and is stopped. Raises StoreError.
    """
    # By token: the same id may be held under a newer lease than the one that is known here.
    mine = {(run.job.id, run.job.token): run for run in runner.running.values() if run.line is line}
    known = line.unreported() | set(mine)
    held: set[tuple[str, str]] = set()
    seen, total = 0, 1
    while seen < total:
        page = await store.run(commands.held(line.keys, line.worker, seen))
        total = page.total
        if not page.ids:
            break
        seen += len(page.ids)
        for job in page.jobs:
            held.add((job.id, job.token))
            if (job.id, job.token) in known:
                continue
            if (job.id, job.token) in line.lost or not adopt():
                line.lost.discard((job.id, job.token))
                line.released.append((job.id, job.token, ""))
                continue
            log.info("job %s: adopted after a lost reply", job.id)
            # Its deadline was checked at the claim; the claim's time will do for the run.
            runner.start(line, job, job.number(b"started_ms") or 0)
    for lease, run in mine.items():
        if lease not in held and runner.runs(run):
            runner.stopper.lose(run)
    line.unsure = False
