"""taskq's producer in a replay: `python -m bench.replay.systems.taskq_replay`."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from bench.replay.systems.common import notes, send
from bench.replay.systems.taskq_app import app, settings, wanted, work
from taskq import commands
from taskq.keys import QueueKeys

_OPTIONS = ("priority", "deadline", "group", "admit")


def call(job: dict[str, Any]) -> Any:
    """The call of one job, with the options that the order asks for."""
    options = {name: job[name] for name in _OPTIONS if job.get(name) is not None}
    if "deadline" in options and not wanted["expire"]:
        options["on_miss"] = "run"
    return work.options(**options).s(job["number"], job["service"])


async def produce() -> None:
    """Send the jobs; note number, begin and end of each call, id, predicted start in ms."""
    out = notes()

    def note(job: dict[str, Any], began: int, handle: Any) -> None:
        predicted = getattr(handle, "predicted_start", None)
        when = 0 if predicted is None else round(predicted.timestamp() * 1000)
        out.write(job["number"], began, time.time_ns(), handle.id, when)

    async def one(job: dict[str, Any]) -> None:
        began = time.time_ns()
        note(job, began, await app.send(call(job)))

    async def many(jobs: list[dict[str, Any]]) -> None:
        began = time.time_ns()
        handles = await app.enqueue_many([call(job) for job in jobs])
        for job, handle in zip(jobs, handles, strict=True):
            note(job, began, handle)

    async with app:
        keys = QueueKeys(app.settings.namespace, "default")
        await app.client.store.run(commands.configure(keys, settings.meta()))
        await send(wanted["jobs"], wanted["waiting"], one, many)


if __name__ == "__main__":
    os.environ.setdefault("BENCH_NOTES", os.devnull)
    asyncio.run(produce())
