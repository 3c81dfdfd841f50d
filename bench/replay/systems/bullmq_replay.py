"""BullMQ's Python port as a system: priorities 1 (first) to 10, coroutine tasks."""

import asyncio
import signal
import sys
import time

from bullmq import Queue, Worker
from common import notes, order, send

_QUEUE = "replay"


async def produce():
    """Send the jobs; note number, begin and end of each call."""
    wanted, out = order(), notes()
    queue = Queue(_QUEUE, {"connection": wanted["url"]})

    def words(job):
        opts = {"removeOnComplete": True}
        if wanted["priorities"]:
            opts["priority"] = 10 - job["priority"]
        return {"name": "work", "data": [job["number"], job["service"]], "opts": opts}

    async def one(job):
        began, call = time.time_ns(), words(job)
        await queue.add(call["name"], call["data"], call["opts"])
        out.write(job["number"], began, time.time_ns())

    async def many(jobs):
        began = time.time_ns()
        await queue.addBulk([words(job) for job in jobs])
        for job in jobs:
            out.write(job["number"], began, time.time_ns())

    await send(wanted["jobs"], wanted["waiting"], one, many)
    await queue.close()


async def work():
    """Run jobs until told to stop; note number and start of each, then number, start and end."""
    wanted = order()

    async def process(job, _token):
        number, seconds = job.data
        began = time.time_ns()
        out.write(number, began)
        await asyncio.sleep(seconds)
        out.write(number, began, time.time_ns(), 1, 0)

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    options = {"connection": wanted["url"], "concurrency": wanted["slots"]}
    worker = Worker(_QUEUE, process, options)
    out = notes()
    await stop.wait()
    await worker.close(force=True)


asyncio.run({"produce": produce, "work": work}[sys.argv[1]]())
