"""The JSON that `--json` prints: one function a thing. Stable: fields are added, never renamed or
removed.

Times are ISO 8601 in UTC (`..._at`), spans are seconds (`..._seconds`), sizes bytes; what is not
there is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from taskq.cli.values import jsonable
from taskq.codec import Codec
from taskq.errors import TaskqError
from taskq.job import JobInfo
from taskq.partitioned import Whole
from taskq.rank import describe
from taskq.schedules import ScheduleInfo
from taskq.views import Entry, Unserved, WorkerView

Shape = dict[str, Any]


def schedule(info: ScheduleInfo) -> Shape:
    """`cron` with `tz`, or `every_seconds`; `next_at` null while it is paused; `problem` null unless
    it cannot be read.
    """
    return {
        "schedule": info.name,
        "queue": info.queue,
        "task": info.task or None,
        "call": info.call or None,
        "cron": info.cron,
        "tz": info.tz,
        "every_seconds": info.every,
        "missed": info.missed or None,
        "overlap": info.overlap or None,
        "declared": info.declared,
        "next_at": _time(info.next_at),
        "paused": info.paused_at is not None,
        "paused_at": _time(info.paused_at),
        "problem": info.problem or None,
    }


def _time(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat(timespec="milliseconds")


def queue(whole: Whole, workers: Sequence[WorkerView]) -> Shape:
    """`ready scheduled retry running dead done` count jobs; `workers` those alive that serve the
    queue; `partitions` how many it has, all added up here.
    """
    view = whole.view
    return {
        "queue": view.name,
        **{
            state: view.jobs[state]
            for state in ("ready", "scheduled", "retry", "running", "dead", "done")
        },
        "paused": view.paused_at is not None,
        "paused_at": _time(view.paused_at),
        "next_job": view.head,
        "next_job_waits_seconds": view.head_waits,
        "next_due_seconds": view.due_in,
        "workers": whole.workers(workers),
        "partitions": len(whole.parts),
    }


def queue_details(whole: Whole, workers: Sequence[WorkerView]) -> Shape:
    """As `queue`, and its settings, classes, holders (workers that hold or may hold jobs) and
    counters; `parts` has each partition as `queue` shows it, when there are several.
    """
    view = whole.view
    parts = [Whole(part, (part,)) for part in whole.parts] if len(whole.parts) > 1 else []
    return {
        **queue(whole, workers),
        "policy": view.policy,
        "horizon_seconds": view.horizon,
        "max_jobs": view.max_jobs,
        "classes": view.classes,
        "holders": [
            {"worker": worker, "running": count, "life": word}
            for worker, (count, word) in sorted(view.holders.items())
        ],
        "counters": dict(sorted(view.counters.items())),
        "parts": [queue(part, workers) for part in parts],
    }


def worker(view: WorkerView) -> Shape:
    """`cpu` is percent of one core, `rss` bytes; `health` is `ok`, or `silent` without a
    heartbeat.
    """
    return {
        "worker": view.id,
        "host": view.host,
        "pid": view.pid,
        "queues": list(view.queues),
        "tasks": sorted(view.tasks),
        "provides": sorted(view.provides),
        "running": view.running,
        "concurrency": view.concurrency,
        "slots": view.slots,
        "taken": view.taken,
        "process_slots": view.process_slots,
        "done": view.done,
        "failed": view.failed,
        "cpu": view.cpu,
        "rss": view.rss,
        "loop_lag_seconds": view.loop_lag,
        "beat_age_seconds": round(view.beat_age, 3),
        "started_at": _time(view.started_at),
        "python": view.python,
        "alive": view.alive,
        "health": view.health,
    }


def unserved(found: Unserved, advice: str) -> Shape:
    """Ready jobs nobody alive can run; `class` is null for the queue as a whole, `missing` has the
    parts of the class that no living worker of the queue has.
    """
    return {
        "queue": found.queue,
        "class": found.job_class or None,
        "jobs": found.jobs,
        "missing": list(found.missing),
        "advice": advice,
    }


def job(info: JobInfo) -> Shape:
    """What lists show of a job."""
    return {
        "id": info.id,
        "queue": info.queue,
        "task": info.task,
        "state": str(info.state),
        "priority": info.priority,
        "attempt": info.attempt,
        "crashes": info.crashes,
        "deadline_at": _time(info.deadline),
        "enqueued_at": _time(info.enqueued_at),
        "started_at": _time(info.started_at),
        "ended_at": _time(info.ended_at),
        "worker": info.worker,
        "reason": info.reason,
        "error": info.error,
        "progress": info.progress,
        "note": info.note,
        "cancel_requested": info.cancel_requested,
        "class": info.job_class or None,
    }


def listed_job(entry: Entry) -> Shape:
    """As `job`, and `due_at` of a scheduled or retrying one."""
    waits = entry.info.state in ("scheduled", "retry")
    return {**job(entry.info), "due_at": _time(entry.when) if waits else None}


def peeked_job(entry: Entry, place: int, policy: str) -> Shape:
    """As `job`, and its `place` (1 is next), `rank` and the rank in words."""
    return {
        **job(entry.info),
        "place": place,
        "rank": entry.score,
        "rank_words": describe(entry.score, policy),
    }


def job_details(info: JobInfo, codec: Codec) -> Shape:
    """As `job`, and `args`, `kwargs`, `result` (null when they cannot be decoded here),
    `traceback`, `token`, `headers`.
    """
    args, kwargs, problem = arguments(info, codec)
    return {
        **job(info),
        "args": args,
        "kwargs": kwargs,
        "payload_bytes": len(info.payload),
        "payload_problem": problem,
        "result": result(info, codec),
        "traceback": info.traceback,
        "token": info.token,
        "headers": headers(info, codec),
    }


def arguments(info: JobInfo, codec: Codec) -> tuple[list[Any] | None, Shape | None, str | None]:
    """(args, kwargs, why not) of a job's payload."""
    try:
        args, kwargs = codec.decode_call(info.payload)
    except TaskqError as error:
        return None, None, str(error)
    return jsonable(args), jsonable(kwargs), None


def result(info: JobInfo, codec: Codec) -> Any:
    """A completed job's result; null when there is none or it cannot be decoded here."""
    packed = info.fields.get("result")
    try:
        return jsonable(codec.decode_value(packed)) if packed else None
    except TaskqError:
        return None


def headers(info: JobInfo, codec: Codec) -> dict[str, str]:
    """The headers that travel with a job."""
    try:
        return codec.decode_headers(info.fields.get("headers", b""))
    except TaskqError:
        return {}
