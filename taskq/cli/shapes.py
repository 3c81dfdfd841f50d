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
from taskq.partitioned import Tasks, Whole
from taskq.rank import describe
from taskq.schedules import ScheduleInfo
from taskq.views import Entry, Explanation, QueueView, Signals, Slack, Unserved, WorkerView

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
    """`ready blocked scheduled retry running dead done` count jobs; `workers` those alive that serve the
    queue; `partitions` how many it has, all added up here.
    """
    view = whole.view
    return {
        "queue": view.name,
        **{
            state: view.jobs[state]
            for state in ("ready", "blocked", "scheduled", "retry", "running", "dead", "done")
        },
        "paused": view.paused_at is not None,
        "paused_at": _time(view.paused_at),
        "next_job": view.head,
        "next_job_waits_seconds": view.head_waits,
        "next_due_seconds": view.due_in,
        "workers": whole.workers(workers),
        "partitions": len(whole.parts),
    }


def queue_details(whole: Whole, workers: Sequence[WorkerView], tasks: Tasks) -> Shape:
    """As `queue`, and its settings, classes, holders (workers that hold or may hold jobs),
    counters, limits, and what was measured of each task (`*` is all); `parts` has each partition as
    `queue` shows it, when there are several.
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
            {"worker": worker, "running": count, "life": word, "slots": view.slots.get(worker, 0)}
            for worker, (count, word) in sorted(view.holders.items())
        ],
        "counters": dict(sorted(view.counters.items())),
        "slots": sum(
            view.slots.get(worker, 0)
            for worker, (_, life) in view.holders.items()
            if life == "alive"
        ),
        **held_back(view),
        "tasks": [
            {"task": task, "average_seconds": seconds, "slack": _slack(slack)}
            for task, (seconds, slack) in sorted(tasks.items())
        ],
        "parts": [queue(part, workers) for part in parts],
    }


def held_back(view: QueueView) -> Shape:
    """What people and limits hold back, and schedules that bring jobs by themselves."""
    return {
        "limits": dict(sorted(view.limits.items())),
        "parked": dict(sorted(view.parked.items())),
        "paused_parts": [{"kind": kind, "name": name} for kind, name in view.paused_parts()],
        "struck": list(view.struck),
        "next_ticks": [
            {"schedule": name, "due_at": _time(when)}
            for name, when in sorted(view.ticks.items(), key=lambda tick: (tick[1], tick[0]))
        ],
    }


def _slack(slack: Slack | None) -> Shape | None:
    if slack is None:
        return None
    return {
        "started": slack.jobs,
        "mean_seconds": slack.mean,
        "least_seconds": slack.least,
        "late": slack.late,
        "expired": slack.expired,
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
        "group": _text(info, "group"),
        "blocked_by": _text(info, "blocked_by") if info.state == "blocked" else None,
    }


def group(entry: Entry) -> str | None:
    """The group a job belongs to."""
    return _text(entry.info, "group")


def blocked_by(entry: Entry) -> str | None:
    """The limit that blocks a job."""
    return _text(entry.info, "blocked_by")


def _text(info: JobInfo, name: str) -> str | None:
    value = info.fields.get(name)
    return value.decode("utf-8", "replace") if value else None


def explanation(found: Explanation) -> Shape:
    """`reason` is the code of the first; `reasons` are lines for people, with what would change it;
    `explained` has each reason as code, sentence, details and remedies.
    """
    return {
        "id": found.id,
        "queue": found.queue,
        "task": found.task,
        "state": str(found.state),
        "reason": found.reason,
        "reasons": found.lines(),
        "remedies": list(found.remedies),
        "predicted_start_at": _time(found.predicted_start),
        "explained": [
            {
                "code": one.code,
                "sentence": one.sentence,
                "details": one.details,
                "remedies": list(one.remedies),
            }
            for one in found.reasons
        ],
    }


def signals(found: Signals) -> Shape:
    """As `Signals`, with units in the names; `exact` false: estimates from the best jobs."""
    return {
        "queue": found.queue,
        "ready": found.ready,
        "due": found.due,
        "blocked": found.blocked,
        "running": found.running,
        "workers": found.workers,
        "slots": found.slots,
        "utilisation": found.utilisation,
        "oldest_age_seconds": found.oldest_age,
        "work_seconds": found.work,
        "time_to_drain_seconds": found.time_to_drain,
        "least_slack_seconds": found.least_slack,
        "late": found.late,
        "workers_needed": found.workers_needed,
        "paused": found.paused,
        "exact": found.exact,
    }


def listed_job(entry: Entry) -> Shape:
    """As `job`, and `due_at` of a scheduled or retrying one."""
    waits = entry.info.state in ("scheduled", "retry")
    return {**job(entry.info), "due_at": _time(entry.when) if waits else None}


def peeked_job(entry: Entry, place: int | None, policy: str) -> Shape:
    """As `job`, and its `place` (1 is next; null when a limit blocks it), `rank` and the rank in
    words.
    """
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
