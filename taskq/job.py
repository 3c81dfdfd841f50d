"""What a job is, as plain values: ids, states, and what can be read of one. No I/O, no Redis
names.
"""

from __future__ import annotations

import enum
import itertools
import os
import time
from dataclasses import dataclass
from datetime import datetime

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


class State(enum.StrEnum):
    """Where a job is in its life. The last four are ends."""

    BLOCKED = "blocked"
    SCHEDULED = "scheduled"
    READY = "ready"
    RUNNING = "running"
    RETRY = "retry"
    COMPLETED = "completed"
    DEAD = "dead"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True when no script but revive moves the job any more."""
        return self in (State.COMPLETED, State.DEAD, State.EXPIRED, State.CANCELLED)


def _base32(number: int, width: int) -> str:
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(5 * (width - 1), -1, -5))


class JobIds:
    """Makes job ids: 24 characters of Crockford base32 that sort by time.

    9 characters of Unix ms, 4 of a counter, 11 (55 random bits) of the process: unique without
    asking anybody, in order within one process. Safe from threads and after a fork.
    """

    __slots__ = ("_counter", "_ms", "_pid", "_process", "_time")

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._process = _base32(int.from_bytes(os.urandom(7), "big"), 11)
        self._counter = itertools.count(int.from_bytes(os.urandom(2), "big"))
        self._ms = 0
        self._time = ""

    def new(self) -> str:
        """A new id."""
        if os.getpid() != self._pid:
            self._begin()
        ms = time.time_ns() // 1_000_000
        number = next(self._counter) & 0xFFFFF
        if ms <= self._ms and not number:
            # The counter starts again within one time prefix (a clock that stepped back): a new
            # prefix.
            ms = self._ms + 1
        if ms > self._ms:
            self._time = _base32(ms, 9)
            self._ms = ms
        return self._time + _PAIRS[number >> 10] + _PAIRS[number & 1023] + self._process


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """What Redis knows of one job. Times are aware (UTC); absent ones are None."""

    id: str
    queue: str
    task: str
    state: State
    priority: int
    attempt: int
    """Runs that ended in the task's own error."""
    crashes: int
    """Workers lost while they ran it."""
    rank: float | None
    deadline: datetime | None
    enqueued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    worker: str | None
    token: str | None
    reason: str | None
    error: str | None
    traceback: str | None
    progress: float | None
    note: str | None
    cancel_requested: bool
    job_class: str
    payload: bytes
    """The encoded arguments; `taskq.codec.decode_call` reads them."""
    fields: dict[str, bytes]
    """Everything, as stored."""
