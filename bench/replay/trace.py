"""Traces: what arrives when, from a seed. Knows no queue and no policy.

Times are seconds of the trace; a replay through real workers divides them all by one factor. The
mean run time is one second, so `duration * slots * load` is both the work and the number of jobs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

Mix = tuple[tuple[float, int, float], ...]
#: Share of jobs, priority, share of those with a deadline. Urgent ones are few, as anywhere.
MIXED: Mix = ((0.1, 9, 1.0), (0.6, 5, 0.5), (0.3, 1, 0.0))
#: One priority, and everything has a deadline: nothing can give way.
ALL_DUE: Mix = ((1.0, 5, 1.0),)
#: Arrivals come calmly or in a burst: mean length of a phase, s, and its rate against the other's.
_CALM, _BURST = (20.0, 1.0), (4.0, 4.0)
#: Run times: Pareto, infinite variance but for the bound (times the least).
_TAIL, _LONGEST = 1.5, 100.0
#: Time to spare beside the run itself: lognormal, median s and sigma.
_SLACK, _SLACK_SIGMA = 6.0, 0.7


@dataclass(frozen=True, slots=True)
class Arrival:
    """One job: when it comes, how long it runs, how urgent it is, whose it is."""

    at: float
    service: float
    priority: int = 5
    deadline: float | None = None
    """From its arrival to when it must have ended, s."""
    tenant: str = "a"
    task: str = "work"


@dataclass(frozen=True, slots=True)
class Trace:
    """Arrivals in order of time, for so many slots."""

    name: str
    seed: int
    slots: int
    arrivals: tuple[Arrival, ...]
    weights: tuple[tuple[str, float], ...] = ()

    @property
    def work(self) -> float:
        """Slot-seconds that all jobs take."""
        return sum(job.service for job in self.arrivals)


def _bursts(random_: random.Random, rate: float, duration: float) -> Iterator[float]:
    """Arrival times: Poisson within phases of calm and burst, `rate` a second in the mean."""
    share = _BURST[0] / (_CALM[0] + _BURST[0])
    unit = rate / ((1 - share) * _CALM[1] + share * _BURST[1])
    now, burst, ends = 0.0, False, random_.expovariate(1 / _CALM[0])
    while True:
        step = random_.expovariate(unit * (_BURST if burst else _CALM)[1])
        if now + step < ends:
            now += step
            if now >= duration:
                return
            yield now
        else:  # memoryless: the rest of the step is drawn anew, at the next phase's rate
            now, burst = ends, not burst
            ends = now + random_.expovariate(1 / (_BURST if burst else _CALM)[0])


def _service(random_: random.Random) -> float:
    """A run time with a heavy tail; scaled afterwards."""
    return min(random_.paretovariate(_TAIL), _LONGEST)


def _scaled(arrivals: list[Arrival], work: float) -> tuple[Arrival, ...]:
    """The same with run times that add up to `work` exactly: the load is given, not drawn."""
    factor = work / sum(job.service for job in arrivals)
    return tuple(replace(job, service=job.service * factor) for job in arrivals)


def mixed(
    load: float, *, seed: int, slots: int = 16, duration: float = 200.0, mix: Mix = MIXED
) -> Trace:
    """Bursts of jobs of three priorities, some with deadlines; `load` of what the slots can do.

    Every deadline can be kept: it leaves the run time and something to spare.
    """
    random_ = random.Random(f"mixed {load} {seed}")
    plain = [Arrival(at, _service(random_)) for at in _bursts(random_, load * slots, duration)]
    jobs = []
    for job in _scaled(plain, load * slots * duration):
        shares = [share for share, _, _ in mix]
        _, priority, due = random_.choices(mix, shares)[0]
        slack = random_.lognormvariate(0, _SLACK_SIGMA) * _SLACK
        deadline = job.service + slack if random_.random() < due else None
        tenant = "abcd"[min(3, int(random_.expovariate(1.0)))]
        jobs.append(replace(job, priority=priority, deadline=deadline, tenant=tenant))
    return Trace(f"load {load:.0%}", seed, slots, tuple(jobs))


def flood(
    *, seed: int, slots: int = 16, jobs: int = 100, times: int = 100, over: float = 0.0
) -> Trace:
    """Two tenants, the same work: one sends a hundred times what the other does.

    All of it waits when the first slot opens; with `over`, it comes evenly within so many seconds,
    and each tenant's first jobs run before its last have come.
    """
    random_ = random.Random(f"flood {seed}")
    names = ["flooder"] * (jobs * times) + ["other"] * jobs
    random_.shuffle(names)
    plain = [
        Arrival(over * number / len(names), _service(random_), tenant=name)
        for number, name in enumerate(names)
    ]
    name = f"flood {times}:1" + (f" within {over:g} s" if over else "")
    return Trace(name, seed, slots, _scaled(plain, float(len(plain))))


def late(
    *, seed: int, slots: int = 16, jobs: int = 5_000, begins: float = 60.0, lasts: float = 80.0
) -> Trace:
    """A flood into a new queue, and a minute later a tenant that wants most of the slots."""
    random_ = random.Random(f"late {seed}")
    plain = [Arrival(0.0, _service(random_), tenant="flooder") for _ in range(jobs)]
    wanted = _bursts(random_, 0.8 * slots, lasts)
    plain += [Arrival(begins + at, _service(random_), tenant="other") for at in wanted]
    name = f"flood, then the other {begins:g} s later"
    return Trace(name, seed, slots, _scaled(plain, float(len(plain))))


def rivals(
    *,
    seed: int,
    slots: int = 16,
    duration: float = 200.0,
    longer: float = 5.0,
    same_task: bool = False,
) -> Trace:
    """Two tenants that both want more than half of everything, all the time; the jobs of one run
    `longer` times as long, and are of another task unless it is the `same_task`.
    """
    random_ = random.Random(f"rivals {seed}")
    jobs = []
    for tenant, task, load, mean in (
        ("flooder", "long", 3.0, longer),
        ("other", "short", 0.8, 1.0),
    ):
        name = "work" if same_task else task
        times = list(_bursts(random_, load * slots / mean, duration))
        plain = [Arrival(at, _service(random_), tenant=tenant, task=name) for at in times]
        jobs += _scaled(plain, mean * len(plain))
    jobs.sort(key=lambda job: job.at)
    kind = "of the same task" if same_task else "of another task"
    return Trace(f"jobs {longer:g} times as long, {kind}", seed, slots, tuple(jobs))


def steady(*, seed: int, slots: int = 16, jobs: int = 2000, backlog: int = 200) -> Trace:
    """A backlog that neither grows nor shrinks: `backlog` jobs at once, then Poisson at full load.

    One priority, no deadlines: what a predicted start can know.
    """
    random_ = random.Random(f"steady {seed}")
    at, plain = 0.0, []
    for number in range(jobs):
        if number >= backlog:
            at += random_.expovariate(slots)
        plain.append(Arrival(at, random_.expovariate(1.0)))
    return Trace("steady backlog", seed, slots, _scaled(plain, float(jobs)))
