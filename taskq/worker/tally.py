"""What a worker measured on one queue: how long runs took, how jobs stood to their deadlines.

No I/O: it travels with the heartbeat. The event loop adds, the heart's thread reads. Totals only
grow, and each is replaced as a whole: no lock is needed, and what is told is the difference to what
was told before.
"""

from __future__ import annotations

import math

from taskq.commands import MEASURES, Measure

#: Runs and their ms; jobs with a deadline that began, ms left to them then, the least of it, runs
#: that were late.
_Times = tuple[int, float]
_Slacks = tuple[int, float, float, int]
_NO_TIMES: _Times = (0, 0.0)
_NO_SLACKS: _Slacks = (0, 0.0, math.inf, 0)


class Tally:
    """Totals by task since the worker began, and what of them Redis knows."""

    __slots__ = ("_pending", "_told_slacks", "_told_times", "number", "slacks", "times")

    def __init__(self) -> None:
        self.times: dict[str, _Times] = {}
        self.slacks: dict[str, _Slacks] = {}
        self.number = 0
        """Of the measures that are told or being told; see heartbeat.lua."""
        self._told_times: dict[str, _Times] = {}
        self._told_slacks: dict[str, _Slacks] = {}
        self._pending: list[Measure] = []

    def ended(self, task: str, seconds: float) -> None:
        """A run took so long. On the way of every job: it must stay cheap."""
        runs, ms = self.times.get(task, _NO_TIMES)
        self.times[task] = (runs + 1, ms + seconds * 1000)

    def began(self, task: str, slack: float) -> None:
        """A job that has a deadline began when so much was left, s."""
        jobs, total, least, late = self.slacks.get(task, _NO_SLACKS)
        self.slacks[task] = (jobs + 1, total + slack * 1000, min(least, slack * 1000), late)

    def was_late(self, task: str) -> None:
        """A run went on to its deadline, or past it."""
        jobs, total, least, late = self.slacks.get(task, _NO_SLACKS)
        self.slacks[task] = (jobs, total, least, late + 1)

    def to_tell(self) -> list[Measure]:
        """What is to be told under `number`; the same again until `told`."""
        if not self._pending:
            self._pending = self._news()
            if self._pending:
                self.number += 1
        return self._pending

    def told(self) -> None:
        """Redis has heard it."""
        for one in self._pending:
            runs, ms = self._told_times.pop(one.task, _NO_TIMES)
            self._told_times[one.task] = (runs + one.runs, ms + one.ms)
            jobs, total, _, late = self._told_slacks.get(one.task, _NO_SLACKS)
            had = (jobs + one.starts, total + one.slack_ms, one.least_ms, late + one.late)
            self._told_slacks[one.task] = had
        self._pending = []

    def _news(self) -> list[Measure]:
        # Who was told longest ago comes first: more tasks than fit into one beat take turns.
        order = {task: at for at, task in enumerate(self._told_times)}
        names = sorted(
            {*list(self.times), *list(self.slacks)}, key=lambda task: order.get(task, -1)
        )
        found: list[Measure] = []
        for task in names:
            one = self._measure(task)
            if one.runs or one.starts or one.late:
                found.append(one)
            if len(found) == MEASURES:
                break
        return found

    def _measure(self, task: str) -> Measure:
        runs, ms = self.times.get(task, _NO_TIMES)
        told_runs, told_ms = self._told_times.get(task, _NO_TIMES)
        jobs, total, least, late = self.slacks.get(task, _NO_SLACKS)
        told_jobs, told_total, _, told_late = self._told_slacks.get(task, _NO_SLACKS)
        return Measure(
            task,
            runs - told_runs,
            ms - told_ms,
            jobs - told_jobs,
            total - told_total,
            least if math.isfinite(least) else 0.0,
            late - told_late,
        )
