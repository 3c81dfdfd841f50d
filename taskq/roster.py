"""The roster: which workers there are, and what they say of themselves.

A look is written as steps (steps.py), so that the async and the blocking side share it. No I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskq import commands
from taskq.commands import Call
from taskq.keys import QueueKeys, SharedKeys, is_place
from taskq.steps import PAGE, Steps
from taskq.views import WorkerView, finite, moment


def ask(*words: str | int) -> Call[Any]:
    """A plain command; its reply as it is."""
    return commands.plain(*words, parse=_same)


def _same(reply: Any) -> Any:
    return reply


def texts(reply: Sequence[bytes]) -> list[str]:
    """A list of words."""
    return [item.decode("utf-8", "replace") for item in reply]


def mapping(flat: Sequence[bytes]) -> dict[str, str]:
    """A hash."""
    words = texts(flat)
    return dict(zip(words[::2], words[1::2], strict=False))


def workers(namespace: str, start: int = 0, limit: int = PAGE) -> Steps[list[WorkerView]]:
    """Workers on the roster, by host. One that crashed stays on it for about 20 s."""
    shared = SharedKeys(namespace)
    (reply,) = yield [ask("ZREVRANGE", shared.workers, start, start + limit - 1)]
    ids = texts(reply)
    *rows, clock = yield [
        *(ask("HGETALL", shared.worker(worker)) for worker in ids),
        ask("TIME"),
    ]
    now = int(clock[0]) + int(clock[1]) / 1e6
    found = [(worker, mapping(row)) for worker, row in zip(ids, rows, strict=True) if row]
    served = [list(filter(is_place, fields.get("queues", "").split())) for _, fields in found]
    beats = [
        ask("EXISTS", QueueKeys(namespace, queue).alive(worker))
        for (worker, _), queues in zip(found, served, strict=True)
        for queue in queues
    ]
    answers = iter((yield beats) if beats else [])
    views = []
    for (worker, fields), queues in zip(found, served, strict=True):
        alive = [next(answers) for _ in queues]
        views.append(worker_view(worker, fields, now, alive=any(alive)))
    return sorted(views, key=lambda view: (view.host, view.id))


def worker_view(worker: str, fields: dict[str, str], now: float, *, alive: bool) -> WorkerView:
    """A WorkerView from its hash. `now`: the server's clock, Unix seconds."""

    def number(name: str) -> float:
        return finite(fields.get(name)) or 0.0

    started = number("started_ms")
    return WorkerView(
        id=worker,
        host=fields.get("host", ""),
        pid=int(number("pid")),
        queues=tuple(fields.get("queues", "").split()),
        tasks=frozenset(fields.get("tasks", "").split()),
        provides=frozenset(fields.get("provides", "").split()),
        concurrency=int(number("concurrency")),
        slots=int(number("slots") or number("concurrency")),
        taken=int(number("taken") or number("running")),
        process_slots=int(number("process_slots")),
        running=int(number("running")),
        done=int(number("done")),
        failed=int(number("failed")),
        cpu=number("cpu"),
        rss=int(number("rss")),
        loop_lag=number("loop_lag_ms") / 1000,
        beat_age=max(0.0, now - number("beat_ms") / 1000),
        started_at=moment(started) if started else None,
        python=fields.get("python", ""),
        alive=alive,
        health=fields.get("health", "") if alive else "silent",
    )
