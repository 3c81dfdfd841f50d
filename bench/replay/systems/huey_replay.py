"""huey's PriorityRedisHuey as a system: a larger priority first, plain functions on threads."""

import asyncio
import logging
import sys
import time

from common import notes, order, send
from huey import PriorityRedisHuey
from huey.consumer import Consumer

logging.disable(logging.WARNING)
wanted = order()
huey = PriorityRedisHuey("replay", url=wanted["url"], results=False)
out = notes() if sys.argv[1] == "produce" else None


@huey.task()
def work(number, seconds):
    began = time.time_ns()
    out.write(number, began)
    time.sleep(seconds)
    out.write(number, began, time.time_ns(), 1, 0)


async def produce():
    """Send the jobs; note number, begin and end of each call."""

    async def one(job):
        began = time.time_ns()
        priority = job["priority"] if wanted["priorities"] else None
        huey.enqueue(work.s(job["number"], job["service"], priority=priority))
        out.write(job["number"], began, time.time_ns())

    async def many(jobs):
        for job in jobs:
            await one(job)

    await send(wanted["jobs"], wanted["waiting"], one, many)


class Ready(Consumer):
    """Says that it is ready when its threads begin."""

    def start(self):
        global out
        out = notes()
        super().start()


if sys.argv[1] == "produce":
    asyncio.run(produce())
else:
    Ready(huey, workers=wanted["slots"], periodic=False, graceful_signal="TERM").run()
