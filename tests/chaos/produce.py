"""A producer process: `python -m tests.chaos.produce RATE SECONDS MIX`, on the bed's environment.

MIX names tasks with arguments and weights: `quick*7,sleeper:0.2*2,fails:1`. Enqueues are sent at
their time whether or not earlier ones have returned, as a web server's would be. SIGTERM ends it
early.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time

from taskq import TaskQ
from taskq.errors import TaskqError
from taskq.job import JobIds
from tests.chaos.bed import outcome_of
from tests.chaos.ledger import mine

Call = tuple[str, tuple[object, ...]]


def parse_mix(text: str) -> tuple[list[Call], list[float]]:
    """The calls of a mix, and their weights."""
    calls: list[Call] = []
    weights: list[float] = []
    for part in text.split(","):
        call, _, weight = part.partition("*")
        name, _, words = call.partition(":")
        arguments = tuple(json.loads(word) for word in words.split("/")) if words else ()
        calls.append((name, arguments))
        weights.append(float(weight or 1))
    return calls, weights


async def produce(rate: float, seconds: float, mix: str) -> None:
    calls, weights = parse_mix(mix)
    app, ids, ledger = TaskQ(), JobIds(), mine()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def send(call: Call) -> None:
        name, arguments = call
        job, mark = ids.new(), os.urandom(6).hex()
        ledger.note("tried", job=job, mark=mark, task=name)
        try:
            await app.named(name).options(id=job).enqueue(mark, *arguments)
        except TaskqError as error:
            ledger.note(outcome_of(error), job=job, error=repr(error)[:300])
        else:
            ledger.note("returned", job=job)

    began = time.monotonic()
    sent = 0
    async with asyncio.TaskGroup() as group:
        while (now := time.monotonic() - began) < seconds and not stop.is_set():
            due = int(now * rate) - sent
            for call in random.choices(calls, weights, k=due):
                group.create_task(send(call))
            sent += due
            await asyncio.sleep(0.01)
    await app.close()


if __name__ == "__main__":
    asyncio.run(produce(float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
