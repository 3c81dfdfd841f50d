"""taskq: a Redis-backed job queue with priorities, deadlines and fenced leases.

app = TaskQ()

@app.task
async def greet(name: str) -> str: ...

job = await greet.enqueue("Ada")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.context import Context
    from taskq.errors import (
        DeadlineUnreachable,
        Discard,
        JobCancelled,
        JobConflict,
        JobExpired,
        JobFailed,
        JobNotFound,
        QueueClosed,
        QueueFull,
        ResultExpired,
        ResultTimeout,
        Retry,
        TaskqError,
        TaskStruck,
    )
    from taskq.handle import Job
    from taskq.job import JobInfo, State
    from taskq.limit import Limit
    from taskq.retry import Backoff

__version__ = "0.1.0"

__all__ = [
    "Backoff",
    "Context",
    "DeadlineUnreachable",
    "Discard",
    "Job",
    "JobCancelled",
    "JobConflict",
    "JobExpired",
    "JobFailed",
    "JobInfo",
    "JobNotFound",
    "Limit",
    "QueueClosed",
    "QueueFull",
    "ResultExpired",
    "ResultTimeout",
    "Retry",
    "State",
    "TaskQ",
    "TaskStruck",
    "TaskqError",
]

#: Loaded when first asked for, so that `taskq --help` does not pay for a Redis client.
_HOMES = {
    "TaskQ": "app",
    "Context": "context",
    "Job": "handle",
    "JobInfo": "job",
    "Limit": "limit",
    "State": "job",
    "Backoff": "retry",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'taskq' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"taskq.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
