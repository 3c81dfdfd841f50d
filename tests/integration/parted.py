"""An app whose queue `mail` has six partitions, for worker processes. TASKQ_* configure it."""

from __future__ import annotations

from taskq import TaskQ
from tests.integration.chores import append, take

PARTITIONS = 6

app = TaskQ()
app.queue("mail", partitions=PARTITIONS)


@app.task(queue="mail")
async def note(path: str, word: str, seconds: float = 0.0) -> str:
    """Write when it starts and when it ends."""
    append(path, f"start {word}")
    if seconds:
        await take(seconds)
    append(path, f"end {word}")
    return word
