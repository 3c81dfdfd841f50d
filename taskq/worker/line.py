"""One queue, or one partition of one, as a worker sees it: its keys, what is to be reported, and
when to look at it again. No I/O.
"""

from __future__ import annotations

import math
import time

from taskq.commands import Ack, Failure
from taskq.keys import QueueKeys
from taskq.partition import queue_of
from taskq.worker.tally import Tally


class Line:
    """The worker's side of one queue or partition."""

    __slots__ = (
        "acks",
        "barren",
        "beaten_at",
        "cancelled",
        "curious",
        "deep",
        "due_at",
        "failures",
        "fenced",
        "flying",
        "held_until",
        "hot",
        "keys",
        "looked_at",
        "lost",
        "name",
        "queue",
        "ranks",
        "refused",
        "released",
        "rests_until",
        "tally",
        "turn_at",
        "unsure",
        "worker",
    )

    def __init__(self, keys: QueueKeys, worker: str) -> None:
        self.keys = keys
        self.queue = keys.queue
        self.name = queue_of(keys.queue)
        """What users call it: the same for all partitions of a queue."""
        self.worker = worker
        """The id under which this process works here; a new one after it was cut off."""
        self.beaten_at = time.monotonic()
        """When the last heartbeat that Redis answered was sent, monotonic s: the lease counts from
        there.
        """
        self.fenced = False
        """True from the moment its lease ran out unrenewed until it is back under a new id."""
        self.acks: list[Ack] = []
        self.failures: list[Failure] = []
        self.released: list[tuple[str, str, str]] = []
        """(id, token, class) to give back unrun."""
        self.cancelled: list[tuple[str, str]] = []
        """(id, token) of runs that were stopped because their cancellation was asked for."""
        self.lost: set[tuple[str, str]] = set()
        """Leases (id, token) whose runs were stopped because Redis no longer knew of them. Should
        one come back (an index was mended), it is given back: a token is for one run.
        """
        self.tally = Tally()
        """How long runs took; the heart tells Redis."""
        self.hot = True
        """There may be ready jobs."""
        self.curious = False
        """It was woken, perhaps for a class of jobs that is not known here yet."""
        self.barren = 0
        """Claims in a row that left jobs behind and brought none."""
        self.ranks: tuple[float, ...] = ()
        """Ranks of the best jobs that were ready at the last look, best first. Only partitions are
        asked for more than one.
        """
        self.deep = False
        """There may have been more than these."""
        self.looked_at = -math.inf
        """Event-loop time of the last look for ready jobs."""
        self.flying = False
        """A call that acknowledges or claims is on its way and not answered yet."""
        self.unsure = False
        """A claim's reply was lost: the worker may hold jobs it has not heard of."""
        self.refused = 0
        """How often in a row Redis refused a call for this queue."""
        self.rests_until = 0.0
        """Event-loop time before which a queue that was refused is left alone."""
        self.due_at = math.inf
        """Event-loop time at which a scheduled or retrying job, or a timer, is due."""
        self.turn_at: float | None = None
        """Event-loop time at which this worker fires the tick that is due, should nobody have until
        then; None while none is.
        """
        self.held_until = -math.inf
        """Event-loop time until which a tick that is due is left alone: others may fire it, or it
        cannot be enqueued now. What else is due waits so long.
        """

    def know(self, ranks: tuple[float, ...], wanted: int) -> None:
        """Note what waits here: `ranks`, where at most `wanted` were asked for."""
        self.ranks = ranks
        self.deep = len(ranks) >= wanted

    def know_due(self, next_due_ms: int, now: float) -> None:
        """Note when something is due next, as Redis said it at `now`: in so many ms, -1 never."""
        self.due_at = math.inf
        if next_due_ms != 0:
            self.turn_at = None
        if next_due_ms >= 0:
            self.due_at = max(now + next_due_ms / 1000, self.held_until)

    @property
    def owes(self) -> bool:
        """True while something is to be reported, is on its way, or may be held unknown to us."""
        reports = self.acks or self.failures or self.released or self.cancelled
        return bool(self.unsure or self.flying or reports)

    def unreported(self) -> set[tuple[str, str]]:
        """Leases (id, token) whose end is known here but may not be known to Redis."""
        given = {(job[0], job[1]) for job in (*self.released, *self.cancelled)}
        failed = {(failure.id, failure.token) for failure in self.failures}
        return given | failed | {(ack.id, ack.token) for ack in self.acks}
