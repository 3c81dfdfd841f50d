"""Which workers serve which jobs; jobs that nobody alive can run, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taskq.classes import PROCESS, TASK, is_label, lacks, parts
from taskq.partition import queue_of
from taskq.views import QueueView, Unserved, WorkerView


def serves(worker: WorkerView, queue: str, job_class: str) -> bool:
    """Would this worker run a ready job of that class in that queue?"""
    return worker.alive and queue in worker.queues and not _lacks(worker, job_class)


def _lacks(worker: WorkerView, job_class: str) -> list[str]:
    return lacks(job_class, worker.provides, worker.tasks, worker.process_slots > 0)


def missing(queue: str, job_class: str, jobs: int, workers: Sequence[WorkerView]) -> Unserved:
    """What it is that no living worker has, for jobs that none of them can run."""
    there = [worker for worker in workers if worker.alive and queue in worker.queues]
    lacking = [set(_lacks(worker, job_class)) for worker in there] or [
        set(lacks(job_class, (), (), processes=False))
    ]
    nobody = sorted(set.intersection(*lacking))
    return Unserved(queue, job_class, jobs, tuple(nobody), len(there))


def unserved(queues: Iterable[QueueView], workers: Sequence[WorkerView]) -> list[Unserved]:
    """Ready jobs that nobody alive can run, by queue and class."""
    found = []
    for queue in queues:
        common = queue.jobs["ready"] - sum(queue.classes.values())
        for job_class, jobs in (("", common), *sorted(queue.classes.items())):
            if jobs > 0 and not any(serves(worker, queue.name, job_class) for worker in workers):
                found.append(missing(queue.name, job_class, jobs, workers))
    return found


def lacking_code(found: Unserved) -> str:
    """One word for what is missing, for programs."""
    if not found.workers:
        return "no_worker"
    for part in found.missing:
        if part == PROCESS:
            return "no_worker_with_process"
        if part.startswith(TASK):
            return "no_worker_with_task"
    return "no_worker_with_label" if found.missing else "no_worker_with_all"


def advice(found: Unserved) -> str:
    """What is missing, and what to do, about ready jobs that nobody alive can run."""
    queue = queue_of(found.queue)
    if not found.missing and not found.workers:
        return f"no worker alive serves the queue: run `taskq worker APP -q {queue}`"
    if not found.missing:
        named = " and ".join(parts(found.job_class))
        return f"no live worker has {named} together: start one on queue {queue} that has all"
    return "; ".join(_lacking(found, part, queue) for part in found.missing)


def _lacking(found: Unserved, part: str, queue: str) -> str:
    if part == PROCESS:
        return (
            "they need a process and no worker alive has process slots:"
            f" start a worker of an app with process tasks on queue {queue}"
        )
    if part.startswith(TASK):
        name = part.removeprefix(TASK)
        return (
            f"no worker alive knows task {name!r}: start one whose app has it, or cancel the jobs"
        )
    return f"{part}: no live worker provides it: run `taskq worker APP -q {queue}{_provide(found)}`"


def _provide(found: Unserved) -> str:
    labels = [part for part in parts(found.job_class) if is_label(part)]
    return f" --provides {','.join(labels)}" if labels else ""
