"""Why a job is where it is: pure rules over one look of lua/explain.lua and the roster of workers.

The first reason is the one that matters most. Words here, so that the API and the command line say
the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime

from taskq.classes import parts
from taskq.commands import LimitSeen, Seen
from taskq.job import State
from taskq.partition import queue_of
from taskq.rank import describe
from taskq.reasons_limits import LimitReasons
from taskq.served import advice, lacking_code, missing, serves
from taskq.spoken import clock, jobs, span
from taskq.views import Explanation, Reason, WorkerView, moment

#: How long after a worker's last heartbeat its jobs are ready again, with the default settings, s.
REAPED_AFTER = 12


def explanation(job_id: str, place: str, seen: Seen, workers: Sequence[WorkerView]) -> Explanation:
    """Every reason that applies. `place`: the job's queue or partition."""
    case = _Case(job_id, place, seen, workers)
    return Explanation(
        id=job_id,
        queue=place,
        task=case.task,
        state=case.state,
        reasons=tuple(case.reasons()),
        predicted_start=case.predicted_start(),
    )


class _Case:
    """One job, and what was seen of it."""

    def __init__(self, job_id: str, place: str, seen: Seen, workers: Sequence[WorkerView]) -> None:
        self.id = job_id
        self.place = place
        self.queue = queue_of(place)
        self.seen = seen
        self.workers = workers
        self.task = self.text("task")
        self.job_class = self.text("class")
        try:
            self.state = State(self.text("state"))
        except ValueError:
            self.state = State.DEAD  # no state of ours: `taskq doctor` says more
        self.able = [one for one in workers if serves(one, place, self.job_class)]

    def text(self, name: str) -> str:
        return self.seen.fields.get(name, b"").decode("utf-8", "replace")

    def number(self, name: str) -> int:
        value = self.text(name)
        return int(value) if value.isdecimal() and len(value) < 18 else 0

    def when(self, name: str) -> datetime | None:
        ms = self.number(name)
        return moment(ms) if ms else None

    def since(self, name: str) -> str:
        ms = self.number(name)
        return span(max(0.0, (self.seen.now_ms - ms) / 1000)) + " ago" if ms else "some time ago"

    # Which rules apply

    def reasons(self) -> Iterator[Reason]:
        if self.state.ended:
            yield self._ended()
            return
        if self.state == State.RUNNING:
            yield from self._running()
            return
        if self.state in (State.SCHEDULED, State.RETRY):
            yield self._due()
        yield from self._held_back()
        blocker = self._blocker()
        yield from LimitReasons(self.seen, blocker, self.queue).reasons()
        if self.state == State.BLOCKED and blocker is None:
            yield self._moving("the limit that blocked it")
        if not self.able:
            yield self._nobody()
        elif self.state == State.READY:
            yield from self._busy()
        if self.state == State.READY:
            yield self._position()

    def _ended(self) -> Reason:
        again = f"taskq job retry {self.id}"
        when = self.since("ended_ms")
        details = {"ended_ms": self.number("ended_ms"), "reason": self.text("reason") or None}
        if self.state == State.COMPLETED:
            return Reason(code="completed", sentence=f"it completed {when}", details=details)
        if self.state == State.CANCELLED:
            return Reason(
                code="cancelled",
                sentence=f"it was cancelled {when}",
                details=details,
                remedies=(f"`{again}` runs it again",),
            )
        if self.state == State.EXPIRED:
            return Reason(
                code="expired",
                sentence=f"its deadline passed before it could run, {when}",
                details=details,
                remedies=(f"`{again}` runs it without a deadline",),
            )
        error = self.text("error") or "no error kept"
        attempts, crashes = self.number("attempt"), self.number("crashes")
        return Reason(
            code="dead",
            sentence=f"it is dead since {clock(self.when('ended_ms'))}, reason"
            f" {self.text('reason') or 'unknown'} after {attempts} failed and {crashes} lost runs,"
            f" {error}",
            details={**details, "error": error, "attempt": attempts, "crashes": crashes},
            remedies=(f"mend the cause, then `{again}`",),
        )

    def _running(self) -> Iterator[Reason]:
        worker = self.text("worker")
        yield Reason(
            code="running",
            sentence=f"it is running on {worker or 'a worker'} since"
            f" {clock(self.when('started_ms'))}, for {self._runs_for()}",
            details={"worker": worker or None, "started_ms": self.number("started_ms")},
            remedies=(f"`taskq job cancel {self.id}` stops it",),
        )
        life = {one.worker: one.life for one in self.seen.holders}.get(worker, "gone")
        if life != "alive":
            yield Reason(
                code="worker_silent",
                sentence=f"that worker is {life}, without a heartbeat; the job is ready again"
                f" within about {REAPED_AFTER} s, when any worker serves the queue",
                details={"worker": worker or None, "life": life},
            )
        if self.text("cancel"):
            yield Reason(
                code="cancel_asked",
                sentence="its cancellation was asked for; the worker hears of it at its next"
                " heartbeat",
            )

    def _runs_for(self) -> str:
        text = span(max(0.0, (self.seen.now_ms - self.number("started_ms")) / 1000))
        usual = self.seen.facts.get("average_ms")
        return text if usual is None else f"{text} (runs of {self.task} take {span(usual / 1000)})"

    def _due(self) -> Reason:
        scheduled = self.state == State.SCHEDULED
        failures = self.number("attempt")
        what = "scheduled" if scheduled else f"waiting to retry after {failures} failures"
        score = self.seen.facts.get("score")
        if score is None:
            return self._moving("its set")
        left = (score - self.seen.now_ms) / 1000
        when = (
            f"due in {span(left)}"
            if left > 0
            else f"due since {span(-left)}, a worker will promote it"
        )
        error = self.text("error")
        return Reason(
            code=str(self.state),
            sentence=f"it is {what}: {when} ({clock(moment(score))})"
            + (f"; last error: {error}" if error else ""),
            details={
                "due_ms": round(max(0.0, min(score, 1e15))),
                "attempt": failures,
                "error": error or None,
            },
        )

    def _held_back(self) -> Iterator[Reason]:
        """What people have stopped."""
        paused = self.seen.meta.get("paused", "")
        if paused:
            since = moment(float(paused)) if paused.isdecimal() else None
            yield Reason(
                code="queue_paused",
                sentence=f"queue {self.place} is paused since {clock(since)}",
                details={"queue": self.place, "since_ms": int(paused) if since else None},
                remedies=(f"`taskq queue resume {self.queue}`",),
            )
        struck = f" {self.task} " in self.seen.meta.get("struck", "")
        if struck:
            yield Reason(
                code="task_struck",
                sentence=f"task {self.task} is struck: it may neither be enqueued nor run",
                details={"task": self.task},
                remedies=(f"`taskq task unstrike {self.task} -q {self.queue}`",),
            )
        for kind, name in (("task", self.task), ("group", self.text("group"))):
            if struck and kind == "task":
                continue  # striking pauses it
            if name and any(one.name == f"pause:{kind}.{name}" for one in self.seen.limits):
                yield Reason(
                    code=f"{kind}_paused",
                    sentence=f"{kind} {name} is paused in queue {self.place}",
                    details={kind: name},
                    remedies=(f"`taskq queue resume {self.queue} --{kind} {name}`",),
                )

    def _blocker(self) -> LimitSeen | None:
        """The limit it is parked on."""
        wanted = self.text("blocked_by") if self.state == State.BLOCKED else ""
        return next((one for one in self.seen.limits if wanted and one.instance == wanted), None)

    # Workers, and the order

    def _nobody(self) -> Reason:
        found = missing(self.place, self.job_class, 1, self.workers)
        return Reason(
            code=lacking_code(found),
            sentence="no live worker can run it",
            details={
                "class": self.job_class or None,
                "needs": list(parts(self.job_class)),
                "missing": list(found.missing),
                "workers": found.workers,
            },
            remedies=(advice(found),),
        )

    def _busy(self) -> Iterator[Reason]:
        cost = max(1, self.number("cost"))
        free = max(one.slots - one.taken for one in self.able)
        details = {"workers": len(self.able), "free_slots": max(0, free), "cost": cost}
        if free <= 0:
            yield Reason(
                code="workers_busy",
                sentence=f"all {len(self.able)} workers that could run it are busy",
                details=details,
                remedies=(f"one more worker: `taskq worker APP -q {self.queue}`",),
            )
        elif all(min(cost, one.slots) > one.slots - one.taken for one in self.able):
            yield Reason(
                code="slots_too_few",
                sentence=f"it takes {cost} slots, and none of the {len(self.able)} workers that"
                " could run it has so many free; after 5 s no other job is taken before it",
                details=details,
            )

    def ahead(self) -> int:
        """Ready jobs that those who could run this one take first: of its class and of others they
        serve. Without such a worker, those of its class.
        """
        return sum(
            one.better
            for one in self.seen.ahead
            if one.job_class == self.job_class
            or any(serves(worker, self.place, one.job_class) for worker in self.able)
        )

    def _position(self) -> Reason:
        score = self.seen.facts.get("score")
        if score is None:
            return self._moving("the ready set")
        if self.seen.facts.get("turned"):
            return Reason(
                code="policy_changed",
                sentence="the queue's policy was changed; a worker gives it its new rank soon",
            )
        ahead = self.ahead()
        own = next((a.better for a in self.seen.ahead if a.job_class == self.job_class), 0)
        rank = describe(score, self.seen.meta.get("policy") or "strict")
        group = self.text("group")
        details = {
            "ahead": ahead,
            "ahead_of_its_class": own,
            "class": self.job_class or None,
            "rank": score,
            "rank_words": rank,
        }
        among = f" of class {self.job_class}" if self.job_class else ""
        first = f"{jobs(ahead)} go first" if ahead > 1 else f"{jobs(ahead)} goes first"
        if ahead and ahead != own:
            first += f", {own} of them{among or ' of its class'}"
        elif ahead and among:
            first += f", all{among}"
        if not ahead:
            first = f"it is the next{among}"
        start = self.predicted_start()
        return Reason(
            code="behind" if ahead else "next",
            sentence=f"{first}; its rank: {rank}"
            + (f", group {group}" if group else "")
            + (f"; may start {clock(start)}" if ahead and start else ""),
            details=details,
            remedies=("a higher priority or a nearer deadline, given at enqueue",) if ahead else (),
        )

    def _moving(self, where: str) -> Reason:
        return Reason(code="moving", sentence=f"it has just left {where}; look again")

    def predicted_start(self) -> datetime | None:
        """The jobs ahead take their average time on the live slots of those who could run it."""
        now, score = self.seen.now_ms, self.seen.facts.get("score")
        if self.state == State.RUNNING:
            return self.when("started_ms")
        if score is None or not math.isfinite(score) or "paused" in self.seen.meta:
            return None
        if self.state in (State.SCHEDULED, State.RETRY):
            return moment(max(score, now))
        if self.state != State.READY or not self.able:
            return None
        mean = self.seen.facts.get("all_average_ms")
        slots = sum(one.slots for one in self.able)
        ahead = self.ahead()
        if not ahead:
            return moment(now)
        return moment(now + ahead * mean / slots) if mean and slots else None
