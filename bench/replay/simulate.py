"""A simulation of slots that always take the best rank: no Redis, no clock, a run in milliseconds.

Nothing else is modelled: no round trips, no crashes, claims of one job at a time.
"""

from __future__ import annotations

import heapq

from bench.replay.policies import Policy
from bench.replay.record import Record
from bench.replay.trace import Trace

_MS = 1000.0


def simulate(trace: Trace, policy: Policy, *, expire: bool = False) -> list[Record]:
    """Run a trace to its end. `expire`: a job past its deadline is dropped, or cut off."""
    jobs = trace.arrivals
    records: list[Record] = []
    waiting: list[tuple[float, int]] = []
    running: list[tuple[float, int]] = []
    free, next_arrival, now = trace.slots, 0, 0.0
    while next_arrival < len(jobs) or waiting or running:
        while waiting and free:
            _, number = heapq.heappop(waiting)
            record, job = records[number], jobs[number]
            cut = _cut(record, trace, now) if expire else None
            if cut is not None and cut <= now:
                record.stopped = now
                continue
            policy.claim(number)
            record.started = record.decided = now
            if cut is not None and cut < now + job.service:
                record.stopped = cut
            else:
                record.ended = now + job.service
            heapq.heappush(running, (record.left or 0.0, number))
            free -= 1
        arrives = jobs[next_arrival].at if next_arrival < len(jobs) else float("inf")
        if running and running[0][0] <= arrives:
            now, number = heapq.heappop(running)
            free += 1
            policy.end(number, (now - (records[number].started or 0.0)) * _MS, now * _MS)
        elif next_arrival < len(jobs):
            now = arrives
            rank = policy.enter(next_arrival, jobs[next_arrival], now * _MS)
            records.append(Record(next_arrival, now, rank))
            heapq.heappush(waiting, (rank, next_arrival))
            next_arrival += 1
        else:
            break  # what still waited has expired
    return records


def _cut(record: Record, trace: Trace, now: float) -> float | None:
    """When the deadline ends the job; None without one."""
    deadline = trace.arrivals[record.number].deadline
    return None if deadline is None else record.enqueued + deadline
