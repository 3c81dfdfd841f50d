"""Sorts every job of a scenario by what happened to it, from the ledger and a last look at Redis.

Pure: no I/O, no clock. The classes are those of Jepsen's queue checker, with duplicates sorted by
whether something explains them. What a scenario may find is the scenario's to say, not this file's.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.chaos.ledger import RUN_WHATS, Event

ENDED = frozenset({"completed", "dead", "expired", "cancelled"})
#: A fault may show its effect a little after it is over, s.
AFTER = 2.0

#: Longest time for which a worker may owe the report of a run that is done, s.
UNREPORTED = 8.0
#: Faults of single processes in which these cannot run, and so cannot stop what they run in time.
UNFENCED = frozenset({"frozen", "interpreter held"})

#: How long after it a death is noted, at most, s.
NOTED = 0.1
#: Nobody can kill a thread: one whose job was given back goes on until it looks at its context, s.
THREAD_LOOKS = 0.3

#: What a verdict may hold beside `ok`, `recovered` and explained duplicates.
VIOLATIONS = (
    "lost",
    "unexpected",
    "unexplained",
    "overlapping",
    "tokens",
    "results",
    "homes",
    "charges",
)


class Record(NamedTuple):
    """One job in Redis at the end. `homes`: names of the indexes that list it."""

    state: str
    token: int = 0
    attempt: int = 0
    crashes: int = 0
    reason: str = ""
    error: str = ""
    result: str | None = None
    homes: tuple[str, ...] = ()
    worker: str = ""
    task: str = ""


@dataclass(slots=True)
class Run:
    """One run of a job: from its start in the ledger to the last that was heard of it."""

    job: str
    token: int
    worker: str
    pid: int
    mark: str
    began: float
    last: float
    thread: bool = False
    ticks: bool = False
    ended: float | None = None
    how: str = ""
    told: float | None = None
    died: float | None = None

    @property
    def until(self) -> float:
        """When it was surely over. A run that gives signs of life lived until the last of them."""
        if self.ended is not None:
            return self.ended
        if self.ticks:
            return self.last
        if self.died is None:
            return math.inf
        # Killed before its first sign of life; when, is known to no more than the watch's interval.
        return max(self.began, self.died - NOTED)


@dataclass(slots=True)
class Verdict:
    """Job ids by class; `runs` and `why` for reports."""

    ok: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    overlapping: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    homes: list[str] = field(default_factory=list)
    charges: list[str] = field(default_factory=list)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    unfenced: int = 0
    """Runs that overlapped with one of a process that could not run: nobody can prevent that."""
    threads: int = 0
    """Runs that overlapped for a moment with one on a thread that had not looked yet."""
    longest_recovery: float = 0.0
    """From the last that was heard of a run whose worker died to the start of the next run, s."""

    def accused(self) -> list[str]:
        """Jobs in any class of violation."""
        return list(dict.fromkeys(job for name in VIOLATIONS for job in getattr(self, name)))

    @property
    def jobs(self) -> int:
        return len(self.ok) + len(self.lost) + len(self.recovered) + len(self.absent)

    @property
    def duplicates(self) -> int:
        """Runs beyond the first of all jobs together."""
        return sum(len(runs) - 1 for runs in self.runs.values())

    def violations(self, allow: Collection[str] = ()) -> list[str]:
        """One line for each class that is not empty and not in `allow`."""
        unknown = set(allow) - set(VIOLATIONS)
        if unknown:
            raise ValueError(f"no such class: {', '.join(sorted(unknown))}")
        lines = []
        for name in VIOLATIONS:
            found = getattr(self, name)
            if found and name not in allow:
                shown = "; ".join(f"{job}: {self.why.get(job, '?')}" for job in found[:5])
                lines.append(f"{name} {len(found)}: {shown}")
        return lines

    def summary(self) -> str:
        """The figures that say something, for people."""
        extra = self.duplicates
        words = [f"{self.jobs:,} jobs", f"{len(self.lost)} lost"]
        for name in ("recovered", "absent", "unexpected"):
            if found := len(getattr(self, name)):
                words.append(f"{found} {name}")
        if not extra:
            return ", ".join([*words, "none ran twice"])
        words.append(f"{extra} extra runs ({_counts(self.reasons)})")
        for name in VIOLATIONS[3:]:
            if found := len(getattr(self, name)):
                words.append(f"{found} {name}")
        return ", ".join(words)

    def figures(self) -> str:
        """All figures, in one line."""
        words = [f"jobs {self.jobs}", f"ok {len(self.ok)}"]
        words += [f"{name} {len(getattr(self, name))}" for name in ("lost", "recovered", "absent")]
        words += [f"unexpected {len(self.unexpected)}", f"extra runs {self.duplicates}"]
        words += [f"of jobs explained {len(self.explained)} unexplained {len(self.unexplained)}"]
        words += [f"{name} {len(getattr(self, name))}" for name in VIOLATIONS[3:]]
        words += [f"beside a frozen run {self.unfenced}", f"beside a thread {self.threads}"]
        return ", ".join([*words, f"longest recovery {self.longest_recovery:.2f} s"])


def _counts(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())


class Fault(NamedTuple):
    """A declared fault. No pids: it hits everybody."""

    kind: str
    since: float
    until: float
    pids: frozenset[int]

    def hits(self, run: Run, until: float) -> bool:
        """Could it have touched this run, between its start and `until`?"""
        return (
            self.since <= until
            and run.began <= self.until + AFTER
            and (not self.pids or run.pid in self.pids)
        )


def runs_of(events: Iterable[Event]) -> dict[str, list[Run]]:
    """All runs by job, in order of their start, with what became of each."""
    runs: dict[tuple[str, int, int], Run] = {}
    deaths: dict[int, float] = {}
    by_job: dict[str, list[Run]] = defaultdict(list)
    for event in events:
        what = event["what"]
        if what == "died":
            deaths.setdefault(event["pid"], event["at"])
        elif what == "start":
            run = Run(
                job=event["job"],
                token=event["token"],
                worker=event["worker"],
                pid=event["pid"],
                mark=event["mark"],
                began=event["at"],
                last=event["at"],
                thread=event.get("thread", False),
            )
            runs[run.job, run.token, run.pid] = run
            by_job[run.job].append(run)
        elif what in RUN_WHATS:
            run = runs[event["job"], event["token"], event["pid"]]
            run.last = max(run.last, event["at"])
            if what == "tick":
                run.ticks = True
            elif what == "told" and run.told is None:
                run.told = event["at"]
            elif what == "end":
                run.ended, run.how = event["at"], event["how"]
    for listed in by_job.values():
        listed.sort(key=lambda run: run.began)
        for run in listed:
            run.died = deaths.get(run.pid)
    return dict(by_job)


def judge(events: Iterable[Event], records: Mapping[str, Record]) -> Verdict:
    """The verdict on one scenario."""
    listed = list(events)
    verdict = Verdict(runs=runs_of(listed), records=dict(records))
    faults = [
        Fault(e["kind"], e["since"], e["until"] or math.inf, frozenset(e.get("pids") or ()))
        for e in listed
        if e["what"] == "fault"
    ]
    _sort_jobs(verdict, listed, records)
    for job, runs in verdict.runs.items():
        _judge_duplicates(verdict, job, runs, faults)
        _judge_overlaps(verdict, job, runs, faults)
        _judge_tokens(verdict, job, runs, faults)
    _judge_sinks(verdict, listed)
    troubled = bool(faults) or any(e["what"] == "died" or e.get("how") == "exits" for e in listed)
    for job, record in records.items():
        _judge_record(verdict, job, record, troubled=troubled)
    return verdict


def _sort_jobs(verdict: Verdict, events: list[Event], records: Mapping[str, Record]) -> None:
    marks = {e["job"]: e["mark"] for e in events if e["what"] == "tried"}
    outcome: dict[str, str] = {}
    for event in events:
        if event["what"] in ("returned", "refused", "unknown"):
            outcome[event["job"]] = event["what"]
    for job in marks:
        record = records.get(job)
        word = outcome.get(job, "unknown")  # its producer died before it heard
        seen = record is not None or job in verdict.runs
        ended = record is not None and record.state in ENDED
        if word == "returned":
            (verdict.ok if ended else verdict.lost).append(job)
            if not ended:
                state = "in no record" if record is None else f"still {record.state}"
                verdict.why[job] = f"{state}, {len(verdict.runs.get(job, []))} runs"
        elif word == "refused" and seen:
            _add(verdict, "unexpected", job, "refused, and yet there")
        elif word == "unknown" and seen and not ended:
            verdict.lost.append(job)
            verdict.why[job] = "its outcome was unknown; it is there and has not ended"
        elif word == "unknown":
            (verdict.recovered if seen else verdict.absent).append(job)
    for job in {*records, *verdict.runs} - set(marks):
        _add(verdict, "unexpected", job, "nobody sent it")
    for job, runs in verdict.runs.items():
        if job in marks and any(run.mark != marks[job] for run in runs):
            _add(verdict, "unexpected", job, "ran with arguments nobody sent")


def _add(verdict: Verdict, name: str, job: str, why: str) -> None:
    found: list[str] = getattr(verdict, name)
    if job not in found:
        found.append(job)
        verdict.why[job] = why


def explain(run: Run, following: Run, faults: Iterable[Fault]) -> str:
    """Why another run came after this one; '' when nothing explains it."""
    if run.how == "failed":
        return "failed"
    if run.told is not None:
        return "stopped"  # cancelled, released or fenced, and it knew
    # What was done and reported long before a death or a fault is no concern of theirs.
    latest = run.ended + UNREPORTED if run.ended is not None else math.inf
    died = run.died is not None and run.died <= min(following.began + AFTER, latest)
    if run.how == "exits" or died:
        return "worker died"
    for fault in faults:
        if fault.since <= latest and fault.hits(run, following.began):
            return fault.kind
    return ""


def _judge_duplicates(verdict: Verdict, job: str, runs: list[Run], faults: Iterable[Fault]) -> None:
    reasons = [explain(one, two, faults) for one, two in itertools.pairwise(runs)]
    for reason, (one, two) in zip(reasons, itertools.pairwise(runs), strict=True):
        verdict.reasons[reason or "unexplained"] += 1
        if reason == "worker died":
            verdict.longest_recovery = max(verdict.longest_recovery, two.began - one.last)
    if "" in reasons:
        place = reasons.index("")
        one, two = runs[place], runs[place + 1]
        _add(
            verdict,
            "unexplained",
            job,
            f"run {place + 1} of {len(runs)} (worker {one.worker}, {one.how or 'no end'} at"
            f" {one.until:.3f}) was followed by one on {two.worker} at {two.began:.3f}",
        )
    elif reasons:
        verdict.explained.append(job)


def _judge_overlaps(verdict: Verdict, job: str, runs: list[Run], faults: Collection[Fault]) -> None:
    for place, one in enumerate(runs):
        for two in runs[place + 1 :]:
            told = one.told is not None and one.told <= two.began
            if two.began >= one.until or told:
                continue
            if any(f.kind in UNFENCED and f.pids and f.hits(one, two.began) for f in faults):
                verdict.unfenced += 1
                continue
            late = min(one.until, one.told or math.inf) - two.began
            if one.thread and late < THREAD_LOOKS:
                verdict.threads += 1
                continue
            why = f"still ran on {one.worker} {late:.3f} s after it began on {two.worker}"
            _add(verdict, "overlapping", job, why)


def _judge_tokens(verdict: Verdict, job: str, runs: list[Run], faults: Iterable[Fault]) -> None:
    tokens = [run.token for run in runs]
    if len(set(tokens)) < len(tokens):
        _add(verdict, "tokens", job, f"the same token twice: {tokens}")
        return
    for one, two in itertools.pairwise(runs):
        # A worker that stood still between its claim and the start may start late.
        if two.token < one.token and not any(fault.hits(two, one.began) for fault in faults):
            _add(verdict, "tokens", job, f"a later run has a smaller token: {tokens}")


def _judge_sinks(verdict: Verdict, events: Iterable[Event]) -> None:
    largest: dict[str, int] = {}
    for event in events:
        if event["what"] == "sink" and event["accepted"]:
            job, token = event["job"], event["token"]
            if token < largest.get(job, 0):
                _add(verdict, "tokens", job, f"the sink took {token} after {largest[job]}")
            largest[job] = max(token, largest.get(job, 0))


def _judge_record(verdict: Verdict, job: str, record: Record, *, troubled: bool) -> None:
    runs = verdict.runs.get(job, [])
    if record.state == "completed":
        winners = [run for run in runs if run.token == record.token]
        if not winners or all(run.how != "done" for run in winners):
            _add(verdict, "results", job, f"completed by token {record.token}, which never ended")
        elif record.result is not None and record.result != f"{winners[0].mark} {record.token}":
            _add(verdict, "results", job, f"result {record.result!r} is not token {record.token}'s")
    if len(record.homes) != 1:
        _add(verdict, "homes", job, f"{record.state}, listed in {list(record.homes) or 'nothing'}")
    failed = sum(run.told is not None or run.how in ("failed", "", "exits") for run in runs)
    # The process of a task may be killed before the task has begun, and after it is done.
    failed += record.error.startswith("ProcessDied")
    if record.attempt > failed:
        _add(verdict, "charges", job, f"{record.attempt} attempts, {failed} failed runs")
    # A worker may die between its claim and the start, so a crash need not have a run; but it needs
    # a death or a fault somewhere.
    if record.crashes and not troubled:
        _add(verdict, "charges", job, f"{record.crashes} crashes, though nothing happened")
