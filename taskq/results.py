"""How a job's end becomes a return value or an error; and how a stored record becomes a JobInfo.
Pure.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from taskq.codec import Codec
from taskq.commands import Outcome
from taskq.errors import (
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    ResultExpired,
    ResultTimeout,
)
from taskq.job import JobInfo, State


def value_of(outcome: Outcome, codec: Codec, job_id: str, queue: str, *, known: bool) -> Any:
    """The task's return value, or the error that says why there is none.

    `known`: this process enqueued the job, so a missing record has expired and the id is not wrong.
    """
    state = outcome.state
    if state == State.COMPLETED:
        return codec.decode_value(outcome.result) if outcome.result else None
    if state == State.DEAD:
        raise JobFailed(
            f"job {job_id} is dead ({outcome.reason}): {outcome.error}",
            job_id=job_id,
            error=outcome.error,
            traceback=outcome.traceback,
            reason=outcome.reason,
        )
    if state == State.CANCELLED:
        if outcome.reason == "replaced":
            raise JobCancelled(f"job {job_id} gave way to a newer one with its key", job_id=job_id)
        raise JobCancelled(f"job {job_id} was cancelled", job_id=job_id)
    if state == State.EXPIRED:
        if outcome.reason == "dropped":
            raise JobExpired(f"job {job_id} was dropped: its queue was full", job_id=job_id)
        raise JobExpired(f"job {job_id} missed its deadline and did not run", job_id=job_id)
    if state == "purged":
        raise JobNotFound(f"job {job_id} was purged from queue {queue!r}", job_id=job_id)
    if known:
        raise ResultExpired(
            f"job {job_id} has ended and its record is kept no longer; raise result_ttl",
            job_id=job_id,
        )
    raise JobNotFound(
        f"no job {job_id!r} in queue {queue!r}: the id is wrong, or its record has expired",
        job_id=job_id,
    )


def timed_out(job_id: str, timeout: float) -> ResultTimeout:
    """The error for a result that did not come in time."""
    return ResultTimeout(
        f"job {job_id} has no result after {timeout:g} s; it lives on, ask again later",
        job_id=job_id,
    )


def _when(fields: dict[str, bytes], name: str) -> datetime | None:
    ms = _number(fields, name)
    try:
        return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None  # no clock has this time: not what taskq wrote


def _number(fields: dict[str, bytes], name: str) -> float | None:
    try:
        number = float(fields[name])
    except (KeyError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _text(fields: dict[str, bytes], name: str) -> str | None:
    value = fields.get(name)
    return None if value is None else value.decode("utf-8", "replace")


def info_of(job_id: str, queue: str, flat: list[bytes]) -> JobInfo | None:
    """A JobInfo from what HGETALL answers; None when there is no record."""
    pairs = iter(flat)
    fields = {
        name.decode("utf-8", "replace"): value for name, value in zip(pairs, pairs, strict=False)
    }
    state = _text(fields, "state")
    if state is None or state not in list(State):
        return None
    return JobInfo(
        id=job_id,
        queue=queue,
        task=_text(fields, "task") or "",
        state=State(state),
        priority=int(_number(fields, "priority") or 0) if "priority" in fields else 5,
        attempt=int(_number(fields, "attempt") or 0),
        crashes=int(_number(fields, "crashes") or 0),
        rank=_number(fields, "rank"),
        deadline=_when(fields, "deadline_ms"),
        enqueued_at=_when(fields, "enqueued_ms"),
        started_at=_when(fields, "started_ms"),
        ended_at=_when(fields, "ended_ms"),
        worker=_text(fields, "worker"),
        token=_text(fields, "token"),
        reason=_text(fields, "reason"),
        error=_text(fields, "error"),
        traceback=_text(fields, "traceback"),
        progress=_number(fields, "progress"),
        note=_text(fields, "note"),
        cancel_requested="cancel" in fields,
        job_class=_text(fields, "class") or "",
        payload=fields.get("payload", b""),
        fields=fields,
    )
