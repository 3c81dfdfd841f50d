"""Why a job is where it is, in words: pure rules over what the inspector saw."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from taskq.classes import PROCESS, TASK, is_label, parts
from taskq.cli.screen import ago, span
from taskq.inspect import missing, serves
from taskq.job import JobInfo, State
from taskq.rank import describe
from taskq.views import Place, QueueView, Unserved, WorkerView, moment


def advice(found: Unserved) -> str:
    """What is missing, and what to do, about ready jobs that nobody alive can run."""
    if not found.missing and not found.workers:
        return f"no worker alive serves the queue: run `taskq worker APP -q {found.queue}`"
    if not found.missing:
        named = " and ".join(parts(found.job_class))
        return f"no live worker has {named} together: start one on queue {found.queue} that has all"
    return "; ".join(_lacking(found, part) for part in found.missing)


def _lacking(found: Unserved, part: str) -> str:
    if part == PROCESS:
        return (
            "they need a process and no worker alive has process slots:"
            f" start a worker of an app with process tasks on queue {found.queue}"
        )
    if part.startswith(TASK):
        name = part.removeprefix(TASK)
        return (
            f"no worker alive knows task {name!r}: start one whose app has it, or cancel the jobs"
        )
    return f"{part}: no live worker provides it: run `taskq worker APP -q {found.queue}{_provide(found)}`"


def _provide(found: Unserved) -> str:
    labels = [part for part in parts(found.job_class) if is_label(part)]
    return f" --provides {','.join(labels)}" if labels else ""


def explain(
    job: JobInfo, view: QueueView, workers: Sequence[WorkerView], place: Place | None
) -> list[str]:
    """Reasons, the first is the one that matters most."""
    if job.state.ended:
        return _ended(job)
    if job.state == State.RUNNING:
        return _running(job, view)
    reasons = []
    if job.state in (State.SCHEDULED, State.RETRY):
        reasons.append(_due(job, view, place))
    if view.paused_at is not None:
        reasons.append(
            f"queue {job.queue} is paused since {_clock(view.paused_at)}:"
            f" `taskq queue resume {job.queue}`"
        )
    if job.state == State.READY:
        reasons += _ready(job, view, workers, place)
    elif not any(serves(worker, job.queue, job.job_class) for worker in workers):
        reasons.append(advice(missing(job.queue, job.job_class, 1, workers)))
    return reasons


def _ended(job: JobInfo) -> list[str]:
    words = {
        State.COMPLETED: f"it completed {ago(job.ended_at)}",
        State.CANCELLED: f"it was cancelled {ago(job.ended_at)}; `taskq job retry {job.id}` runs it again",
        State.EXPIRED: f"its deadline passed before it could run, {ago(job.ended_at)};"
        f" `taskq job retry {job.id}` runs it without a deadline",
        State.DEAD: f"it is dead since {_clock(job.ended_at)}, reason {job.reason or 'unknown'}"
        f" after {job.attempt} failed and {job.crashes} lost runs: {job.error or 'no error kept'};"
        f" mend the cause, then `taskq job retry {job.id}`",
    }
    return [words[job.state]]


def _running(job: JobInfo, view: QueueView) -> list[str]:
    reasons = [f"it is running on {job.worker or 'a worker'} since {_clock(job.started_at)}"]
    life = view.holders.get(job.worker or "", (0, "gone"))[1]
    if life != "alive":
        reasons.append(
            f"that worker is {life}: no heartbeat; the job is ready again within about 12 s,"
            " when any worker serves the queue"
        )
    if job.cancel_requested:
        reasons.append(
            "its cancellation was asked for; the worker hears of it at its next heartbeat"
        )
    return reasons


def _due(job: JobInfo, view: QueueView, place: Place | None) -> str:
    what = (
        "scheduled"
        if job.state == State.SCHEDULED
        else f"waiting to retry after {job.attempt} failures"
    )
    if place is None:
        return f"it is {what}"
    due = moment(place.score)
    left = (place.score - view.now_ms) / 1000
    when = (
        f"due in {span(left)}" if left > 0 else f"due since {span(-left)}, a worker will promote it"
    )
    error = f"; last error: {job.error}" if job.error else ""
    return f"it is {what}: {when} ({_clock(due)}){error}"


def _ready(
    job: JobInfo, view: QueueView, workers: Sequence[WorkerView], place: Place | None
) -> list[str]:
    reasons = []
    cost = _cost(job)
    able = [worker for worker in workers if serves(worker, job.queue, job.job_class)]
    if not able:
        reasons.append(advice(missing(job.queue, job.job_class, 1, workers)))
    elif all(worker.taken >= worker.slots for worker in able):
        reasons.append(f"all {len(able)} workers that could run it are busy")
    elif cost > 1 and all(min(cost, worker.slots) > worker.slots - worker.taken for worker in able):
        reasons.append(
            f"it takes {cost} slots, and none of the {len(able)} workers that could run it has so"
            " many free; after 5 s no other job is taken before it"
        )
    if place is not None:
        before = f"{place.before} jobs go first" if place.before else "it is the next"
        among = f" of class {job.job_class}" if job.job_class else ""
        reasons.append(f"{before}{among}; its rank: {describe(place.score, view.policy)}")
    else:
        reasons.append("it has just left the ready set; look again")
    return reasons


def _cost(job: JobInfo) -> int:
    text = job.fields.get("cost", b"1")
    return int(text) if text.isdigit() else 1


def _clock(when: datetime | None) -> str:
    return "unknown" if when is None else when.strftime("%Y-%m-%d %H:%M:%S UTC")
