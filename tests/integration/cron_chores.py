"""An app with a schedule, for worker processes: every second its job notes its id in a file."""

from __future__ import annotations

import os

from taskq import Context, TaskQ
from tests.integration.chores import append

app = TaskQ()


@app.every(1, missed="all")
@app.task
async def tick(ctx: Context) -> None:
    append(os.environ["TICKS"], ctx.job_id)
