"""Rules about limits, unique keys, schedules, weights and measures: what a queue uses beside jobs.

What is used is drawn once for each example (`scene`): see tests/model/strategies.py.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from taskq.commands import Measure, NewJob, Stored
from tests.model.invariants import name_of, words_of
from tests.model.machine import QueueMachine
from tests.model.rules_claim import Wish
from tests.model.rules_cron import stored
from tests.model.strategies import HOUR_MS, definitions, workers
from tests.model.world import Record

MINUTE_MS = 60_000


class FeatureMachine(QueueMachine):
    """More calls, one a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.starts: dict[tuple[str, str], list[int]] = defaultdict(list)
        """When jobs started under a rate (instance, definition), us."""
        self.fired: dict[tuple[str, str], str] = {}
        """(schedule, tick) to the id of its job."""
        self.told = 0

    # Limits

    @precondition(lambda self: "limits" in self.scene)
    @rule(
        data=st.data(),
        gently=st.booleans(),
        again=st.booleans(),
        strike=st.sampled_from(["", "", "+other", "-other", "+task", "-task", "+*", "-*", "-*"]),
    )
    def somebody_sets_limits(
        self, data: st.DataObject, gently: bool, again: bool, strike: str
    ) -> None:
        wanted = data.draw(definitions(rates="rates" in self.scene))
        self.repeatable(lambda: self.limit(wanted, gently=gently, again=again, strike=strike))

    def note_claims(self, claims: Any, worker: str, wish: Wish) -> None:
        """No rate is exceeded, in whatever span of time."""
        super().note_claims(claims, worker, wish)
        at = self.world.now_us - 1
        for granted in claims[5]:
            job = self.now.hash(f"job:{granted['id']}")
            for instance in self.instances(job):
                words = words_of(self.now, job, instance)
                if "every_us" not in words:
                    continue
                starts = self.starts[instance, str(words)]
                starts.append(at)
                every, burst = int(words["every_us"]), int(words.get("burst_us", 0))
                for ago, start in enumerate(reversed(starts)):
                    assert ago * every <= at - start + burst, f"{instance}: {starts}"

    def instances(self, job: Record) -> list[str]:
        """What a job is under, by its own record."""
        scopes = {"queue", f"task.{job['task']}", f"group.{job.get('group', '')}"}
        found = [word.rpartition("|")[2] for word in job.get("limits", "").split()]
        for name, words in self.now.hash("limits").items():
            if words.rpartition("on=")[2].split()[0] in scopes:
                found.append(name)
        return [one for one in dict.fromkeys(found) if name_of(job, one)]

    # Fair shares

    @precondition(lambda self: "fair" in self.scene or "room" in self.scene)
    @rule(
        worker=workers,
        runs=st.sampled_from([1, 3, 10]),
        ms=st.sampled_from([0.0, 1.5, 100.0, 12_000.0]),
        again=st.booleans(),
    )
    def a_worker_tells_how_long_runs_took(
        self, worker: str, runs: int, ms: float, again: bool
    ) -> None:
        self.told += 1
        measures = [Measure("task", runs, ms), Measure("other", 0, 0.0, 1, 5.0, 5.0, 1)]
        for _ in range(1 + again):
            self.heartbeat(worker, self.told, measures)

    # Schedules

    @precondition(lambda self: "cron" in self.scene)
    @rule(
        name=st.sampled_from(["night", "day"]),
        definition=st.sampled_from(["often", "often", "rarely", ""]),
        due=st.sampled_from([0, 1, 1_000, MINUTE_MS, None]),
        stale=st.sampled_from([False, False, False, True]),
    )
    def somebody_writes_a_schedule(
        self, name: str, definition: str, due: int | None, stale: bool
    ) -> None:
        seen = Stored("old", "5") if stale else stored(self.world, name)
        at = None if due is None else self.world.now + due
        self.repeatable(lambda: self.schedule(name, seen, definition, at))

    @precondition(lambda self: any(m.startswith("cron:") for m in self.world.index("timers")))
    @rule(
        data=st.data(),
        later=st.sampled_from([1_000, MINUTE_MS, None]),
        workers_too=st.sampled_from([1, 2, 3]),
        keyed=st.sampled_from(["", "queued keep", "running keep", "queued replace"]),
        crashes=st.booleans(),
    )
    def workers_fire_a_tick(
        self,
        data: st.DataObject,
        later: int | None,
        workers_too: int,
        keyed: str,
        crashes: bool,
    ) -> None:
        """All that saw the same timer do; each has an id of its own for it only if it is wrong,
        and even then there is one job.
        """
        due = {m: at for m, at in self.world.index("timers").items() if m.startswith("cron:")}
        member = data.draw(st.sampled_from(sorted(due)))
        name, at = member.removeprefix("cron:"), due[member]
        following = "inf"
        if later is not None and at < math.inf:
            following = f"{max(self.world.now, at) + later:.0f}"
        extras: tuple[str, ...] = ("@tick", f"{name} {at:.0f} {following}")
        if keyed and "keys" in self.scene:
            extras += ("@unique", keyed, "key", "k")
        same = data.draw(st.booleans())
        for number in range(workers_too):
            tick = f"{name}-{at:.0f}" if same else f"{name}-{at:.0f}-{number}"
            job = NewJob(tick, "tick", b"", extras=extras)
            created = self.before_and_after(job)
            if created:
                assert (name, f"{at:.0f}") not in self.fired or at == math.inf, "fired twice"
                self.fired[name, f"{at:.0f}"] = tick
            if crashes:
                break

    def before_and_after(self, job: NewJob) -> bool:
        """Enqueue it; was it created?"""
        counted = self.now.counter("enqueued")
        self.enqueue([job], 1000, False)
        return self.now.counter("enqueued") > counted

    @precondition(lambda self: "keys" in self.scene)
    @rule(key=st.sampled_from(["k", "l"]), worker=workers)
    def the_owner_of_a_key_runs(self, key: str, worker: str) -> None:
        """Whoever else wants the key then is told by its mode."""
        if key in self.world.locks and self.world.locks[key] in self.world.jobs:
            self.heartbeat(worker)
            self.claim(worker, Wish(HOUR_MS, 5, {"": 5, "gpu": 5}))
