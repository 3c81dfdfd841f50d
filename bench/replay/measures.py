"""From records to figures. Knows neither policies nor how a record came about."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.replay.record import Record
from bench.replay.trace import Trace


def misses(trace: Trace, records: Sequence[Record]) -> float:
    """Share of the jobs with a deadline that had not ended by it."""
    late = [_late(trace, record) for record in records]
    known = [word for word in late if word is not None]
    return sum(known) / len(known) if known else 0.0


def _late(trace: Trace, record: Record) -> bool | None:
    deadline = trace.arrivals[record.number].deadline
    if deadline is None:
        return None
    return record.ended is None or record.ended > record.enqueued + deadline


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def waits(trace: Trace, records: Sequence[Record]) -> dict[int, list[float]]:
    """Waits of the jobs that started, s, by priority."""
    found: dict[int, list[float]] = {}
    for record in records:
        if record.wait is not None:
            found.setdefault(trace.arrivals[record.number].priority, []).append(record.wait)
    return dict(sorted(found.items(), reverse=True))


def beyond_patience(
    trace: Trace, records: Sequence[Record], patience: Callable[[int], float]
) -> float:
    """The most that a job waited beyond its patience (s by priority); negative: nobody did."""
    return max(
        wait - patience(priority)
        for priority, found in waits(trace, records).items()
        for wait in found
    )


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in which nothing changed."""

    length: float
    waiting: Mapping[str, int]
    """Jobs that wait, by tenant."""
    running: Mapping[str, int]


def spans(trace: Trace, records: Sequence[Record], since: float = float("-inf")) -> Iterator[Span]:
    """The run cut at each arrival, start and end. The mappings change with the next span.

    A job that never started waits to the end, one that never ended runs to the end. `since`: when
    the last worker was ready; what was before is left out.
    """
    changes: list[tuple[float, int, str, int, int]] = []
    for record in records:
        tenant = trace.arrivals[record.number].tenant
        changes.append((record.enqueued, 0, tenant, 1, 0))
        if record.started is not None:
            changes.append((record.started, 1, tenant, -1, 1))
            if record.left is not None:
                changes.append((record.left, 2, tenant, 0, -1))
        elif record.stopped is not None:
            changes.append((record.stopped, 1, tenant, -1, 0))
    changes.sort()
    waiting = dict.fromkeys((job.tenant for job in trace.arrivals), 0)
    running = dict(waiting)
    before = changes[0][0] if changes else 0.0
    for when, _, tenant, waits_, runs in changes:
        if when > before:
            if when > since:
                yield Span(when - max(before, since), waiting, running)
            before = when
        waiting[tenant] += waits_
        running[tenant] += runs


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index: 1 when all are equal, 1/n when one has everything."""
    square = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * square) if square else 1.0


def fairness(trace: Trace, records: Sequence[Record], since: float = float("-inf")) -> float:
    """Jain's index over the slot time per weight that tenants got while all had jobs waiting."""
    weights = dict(trace.weights)
    got = dict.fromkeys((job.tenant for job in trace.arrivals), 0.0)
    for span in spans(trace, records, since):
        if all(span.waiting.values()):
            for tenant, running in span.running.items():
                got[tenant] += running * span.length
    return jain([service / weights.get(tenant, 1.0) for tenant, service in got.items()])


def idle_while_waiting(
    trace: Trace, records: Sequence[Record], since: float = float("-inf")
) -> float:
    """Share of slot time that was idle while some job waited."""
    idle = whole = 0.0
    for span in spans(trace, records, since):
        if any(span.waiting.values()):
            whole += trace.slots * span.length
            idle += (trace.slots - sum(span.running.values())) * span.length
    return idle / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class Inversions:
    """Starts against the order promised."""

    pairs: int
    """How often a job started while a better one waited, which was there when it was chosen."""
    most: int
    """Worse jobs that passed the job that was passed most."""


def inversions(records: Sequence[Record], margin: float = 0.0) -> Inversions:
    """Jobs that started before better ones. A better one counts if it was enqueued `margin` s or
    more before the other was chosen to run.
    """
    started = [record for record in records if record.started is not None]
    arrivals = sorted(started, key=lambda record: record.enqueued)
    waiting: list[tuple[float, float, int]] = []
    enqueued = {record.number: record.enqueued for record in started}
    passed = dict.fromkeys(enqueued, 0)
    gone: set[int] = set()
    coming = 0
    for record in sorted(started, key=lambda record: (record.started, _place(record))):
        while coming < len(arrivals) and arrivals[coming].enqueued <= (record.started or 0.0):
            if arrivals[coming].number not in gone:
                bisect.insort(waiting, _place(arrivals[coming]))
            coming += 1
        gone.add(record.number)
        place = bisect.bisect_left(waiting, _place(record))
        chosen = record.started if record.decided is None else record.decided
        for _, _, number in waiting[:place]:
            if enqueued[number] + margin < (chosen or 0.0):
                passed[number] += 1
        if place < len(waiting) and waiting[place][2] == record.number:
            del waiting[place]
    return Inversions(sum(passed.values()), max(passed.values(), default=0))


def _place(record: Record) -> tuple[float, float, int]:
    return record.rank, record.enqueued, record.number


def service_over_time(
    trace: Trace, records: Sequence[Record], since: float, until: float, points: int = 60
) -> dict[str, list[float]]:
    """Slot time each tenant has had, at `points` moments from `since` to `until`."""
    got: dict[str, list[float]] = {job.tenant: [] for job in trace.arrivals}
    for step in range(points + 1):
        now = since + (until - since) * step / points
        for served in got.values():
            served.append(0.0)
        for record in records:
            if record.started is not None and record.started < now:
                end = now if record.left is None else min(now, record.left)
                got[trace.arrivals[record.number].tenant][-1] += end - record.started
    return got


def prediction_errors(records: Sequence[Record], least_wait: float) -> list[float]:
    """|predicted - actual start| by the actual wait, of jobs that waited `least_wait` s or more."""
    return [
        abs(record.predicted - record.started) / record.wait
        for record in records
        if record.predicted is not None
        and record.started is not None
        and record.wait is not None
        and record.wait >= least_wait
    ]
