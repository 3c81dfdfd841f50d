"""What an autoscaler needs to know of a queue, worked out of one look of lua/signals.lua. Pure.

All work is in slot-milliseconds: a job of cost 2 that takes 100 ms is 200. Tasks nobody has
measured count as the average of all, and as 100 ms in a queue that has measured nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from taskq.commands import Band, Holder, SignalsSeen, Waiting
from taskq.rank import BAND, HORIZON_MS
from taskq.views import Signals

#: A run of which nothing is known takes so long, ms.
UNKNOWN_MS = 100.0


def signals_of(queue: str, parts: Sequence[SignalsSeen], slots_each: int) -> Signals:
    """The signals of a queue from looks at its partitions. `slots_each`: of a worker yet to come,
    where none lives.
    """
    seen = together(parts)
    alive = [one for one in seen.holders if one.life == "alive"]
    slots = sum(one.slots for one in alive)
    rows = [row for band in seen.bands for row in band.best]
    work = sum(_work_of(seen, band) for band in seen.bands) + seen.due * _mean(seen)
    slacks = [_slack(seen, row) for row in rows if row.deadline_ms is not None]
    waiting = seen.ready + seen.due
    each = slots / len(alive) if slots else max(1, slots_each)
    needed = math.ceil(round(slots_needed(seen) / each, 9))
    return Signals(
        queue=queue,
        ready=seen.ready,
        due=seen.due,
        blocked=seen.blocked,
        running=seen.running,
        workers=len(alive),
        slots=slots,
        utilisation=round(seen.running / slots, 4) if slots else None,
        oldest_age=max((_age(seen, row) for row in rows), default=None),
        work=round(work / 1000, 3),
        time_to_drain=(round(work / 1000 / slots, 3) if slots else None) if waiting else 0.0,
        least_slack=min(slacks, default=None),
        late=sum(slack < 0 for slack in slacks),
        workers_needed=max(needed, int(waiting + seen.blocked + seen.running > 0)),
        paused=seen.paused,
        exact=all(len(band.best) == band.jobs for band in seen.bands),
    )


def together(parts: Sequence[SignalsSeen]) -> SignalsSeen:
    """Looks at several partitions as one. A worker of several has its slots once."""
    if len(parts) == 1:
        return parts[0]
    holders: dict[str, Holder] = {}
    averages: dict[str, list[float]] = {}
    for part in parts:
        for one in part.holders:
            had = holders.get(one.worker, one._replace(running=0))
            life = "alive" if "alive" in (had.life, one.life) else one.life
            slots = max(had.slots, one.slots)
            holders[one.worker] = Holder(one.worker, had.running + one.running, life, slots)
        for task, ms in part.averages.items():
            averages.setdefault(task, []).append(ms)
    return parts[0]._replace(
        now_ms=max(part.now_ms for part in parts),
        ready=sum(part.ready for part in parts),
        blocked=sum(part.blocked for part in parts),
        running=sum(part.running for part in parts),
        due=sum(part.due for part in parts),
        holders=list(holders.values()),
        paused=all(part.paused for part in parts),
        averages={task: sum(found) / len(found) for task, found in averages.items()},
        bands=[band for part in parts for band in part.bands],
    )


def slots_needed(seen: SignalsSeen) -> float:
    """The demand bound: of all deadlines to come, the most work that is due until then, in the time
    that is left. Work is due with a job when it goes first by rank; of what runs, half is left.
    """
    now = seen.now_ms
    events: list[tuple[float, int, float, Waiting | None]] = []
    for band in seen.bands:
        for row in band.best:
            if row.deadline_ms is None or row.deadline_ms > now:
                events.append((row.rank, 0, _cost_ms(seen, row), row))
        behind = band.jobs - len(band.best)
        if behind:  # not read: they come after those that were
            last = band.best[-1].rank if band.best else math.inf
            mean = _work_of(seen, band) / band.jobs
            events.append((last, 1, behind * mean, None))
    total, most = seen.running * _mean(seen) / 2, 0.0
    for _, _, work, one in sorted(events, key=lambda event: event[:2]):
        total += work
        if one is not None and one.deadline_ms is not None and _slack(seen, one) >= 0:
            most = max(most, total / max(1, one.deadline_ms - now), one.cost)
    return most


def _mean(seen: SignalsSeen) -> float:
    return _sane(seen.averages.get("*")) or UNKNOWN_MS


def _run_ms(seen: SignalsSeen, task: str) -> float:
    known = _sane(seen.averages.get(task))
    return _mean(seen) if known is None else known


def _sane(ms: float | None) -> float | None:
    return ms if ms is not None and 0 <= ms < 1e15 else None


def _cost_ms(seen: SignalsSeen, row: Waiting) -> float:
    return _run_ms(seen, row.task) * row.cost


def _work_of(seen: SignalsSeen, band: Band) -> float:
    """Of those that were not read, as much each as of those that were."""
    if not band.best:
        return band.jobs * _mean(seen)
    return sum(_cost_ms(seen, row) for row in band.best) / len(band.best) * band.jobs


def _slack(seen: SignalsSeen, row: Waiting) -> float:
    left = (row.deadline_ms or 0) - seen.now_ms - _run_ms(seen, row.task)
    return round(left / 1000, 3)


def _age(seen: SignalsSeen, row: Waiting) -> float:
    """Since it became ready. A rank tells when, where it holds neither a deadline nor a turn; else
    since it was enqueued.
    """
    since = row.enqueued_ms
    if seen.policy in ("", "strict") and row.deadline_ms is None:
        ready = row.rank % BAND - (seen.horizon_ms or HORIZON_MS)
        if since <= ready <= seen.now_ms:
            since = round(ready)
    return max(0.0, round((seen.now_ms - since) / 1000, 3)) if since else 0.0
