"""The state machine: draws one call at a time, and repeats calls whose reply might have been lost.

Three workers, two capability classes, few ids, a clock that the machine turns. What a call is and
how it is checked: tests/model/pair.py. Rules of several calls: tests/model/stories.py.
"""

from __future__ import annotations

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from taskq.commands import Ack, Failure, NewJob
from tests.model.calls import BEAT_MS, Calls
from tests.model.rules_claim import Wish
from tests.model.strategies import (
    HOUR_MS,
    SCENES,
    Lease,
    classes,
    definitions,
    few,
    id_lists,
    ids,
    indexes,
    keeps,
    limits,
    new_jobs,
    plainly,
    queue_settings,
    rooms,
    slots,
    workers,
)
from tests.model.world import ENDED, Record, of_class


class QueueMachine(Calls, RuleBasedStateMachine):
    """One call a rule."""

    @initialize(scene=SCENES, limits=definitions(rates=False), rates=definitions(rates=True))
    def begin(self, scene: frozenset[str], limits: Record, rates: Record) -> None:
        """`scene`: what this queue uses."""
        self.scene, self.tampering = scene, "damage" in scene
        for worker in ("w1", "w2", "w3"):
            self.heartbeat(worker)
        if "limits" in scene:
            self.limit(rates if "rates" in scene else limits)
        if "fair" in scene:
            self.configure({"policy": "fair"})

    @precondition(lambda self: self.again is not None)
    @rule()
    def the_reply_was_lost_and_the_call_is_sent_again(self) -> None:
        assert self.again is not None
        counters = self.now.hash("stats")
        self.repeatable(self.again, lasting=self.lasting)
        for name, count in self.now.hash("stats").items():
            # An ack claims too, and does so again.
            assert name in ("claimed", "expired") or count == counters.get(name), f"{name} twice"

    # Producers

    @rule(job=new_jobs(), max_jobs=st.sampled_from([1000, 1000, 1000, 2]), strict=st.booleans())
    def a_producer_enqueues(self, job: NewJob, max_jobs: int, strict: bool) -> None:
        dressed = plainly([job], self.scene)
        self.repeatable(lambda: self.enqueue(dressed, max_jobs, strict))

    @rule(
        jobs=st.lists(new_jobs(), min_size=2, max_size=8),
        max_jobs=st.sampled_from([1000, 1000, 6]),
        strict=st.booleans(),
    )
    def a_producer_enqueues_many(self, jobs: list[NewJob], max_jobs: int, strict: bool) -> None:
        dressed = plainly(jobs, self.scene)
        self.repeatable(lambda: self.enqueue(dressed, max_jobs, strict))

    # Workers

    @rule(worker=workers)
    def a_worker_beats(self, worker: str) -> None:
        self.heartbeat(worker)

    @rule(tokens=st.sampled_from([1, 4]))
    def idle_workers_wake_up(self, tokens: int) -> None:
        """They take wake tokens off the list; what they then do is drawn by other rules."""
        for job_class in self.world.wakes:
            self.client.lpop(self.keys.prefix + of_class("wake", job_class), tokens)
            self.world.wakes[job_class] = max(0, self.world.wakes[job_class] - tokens)
        self.look_anew()

    @rule(worker=workers)
    def a_worker_retires(self, worker: str) -> None:
        self.retire(worker)

    @rule(worker=workers, limit=limits, slots=slots, keep=keeps, room=rooms)
    def a_worker_claims(
        self, worker: str, limit: int, slots: dict[str, int], keep: int, room: int | None
    ) -> None:
        self.claim(worker, Wish(keep, limit, slots, 1 + limit % 3, room))

    @rule(worker=workers, slots=slots)
    def a_worker_beats_and_claims(self, worker: str, slots: dict[str, int]) -> None:
        self.heartbeat(worker, looks=True)
        self.claim(worker, Wish(HOUR_MS, 3, slots))

    @precondition(lambda self: bool(self.leases))
    @rule(data=st.data(), keep=keeps, done_max=few, limit=limits, slots=slots)
    def a_worker_acks(
        self, data: st.DataObject, keep: int, done_max: int, limit: int, slots: dict[str, int]
    ) -> None:
        worker, leases = self.draw_leases(data)
        result = data.draw(st.sampled_from([b"", b"42"]))
        own_keep, room = data.draw(keeps), data.draw(rooms)
        acks = [Ack(job_id, token, result, own_keep) for job_id, token in leases]
        claims = data.draw(st.booleans())
        if claims and data.draw(st.booleans()):
            self.heartbeat(worker)
        self.repeatable(
            lambda: self.ack(
                worker,
                acks,
                done_max,
                Wish(keep or HOUR_MS, limit if claims else 0, slots, 1 + limit % 3, room),
            ),
            lasting=True,
        )

    @precondition(lambda self: bool(self.leases))
    @rule(data=st.data(), dead_max=few, keep=keeps)
    def a_worker_fails(self, data: st.DataObject, dead_max: int, keep: int) -> None:
        worker, leases = self.draw_leases(data)
        afters = st.sampled_from([0, 1, 5_000, None, None])
        failures = [
            Failure(job_id, token, data.draw(afters), "error", "ValueError: no", "trace")
            for job_id, token in leases
        ]
        self.repeatable(lambda: self.fail(worker, failures, dead_max, keep), lasting=True)

    @precondition(lambda self: bool(self.leases))
    @rule(data=st.data(), keep=keeps)
    def a_worker_releases(self, data: st.DataObject, keep: int) -> None:
        worker, leases = self.draw_leases(data)
        jobs = [
            (job_id, token, "" if job_id in self.tampered else data.draw(classes))
            for job_id, token in leases
        ]
        self.repeatable(lambda: self.release(worker, jobs, keep), lasting=True)

    @rule(data=st.data(), fraction=st.sampled_from([0.0, 0.5, 1.0]))
    def a_worker_reports_progress(self, data: st.DataObject, fraction: float) -> None:
        self.progress(self.draw_lease(data), fraction)

    @rule(worker=workers)
    def a_worker_asks_what_it_holds(self, worker: str) -> None:
        self.held(worker)

    def running(self) -> list[Lease]:
        """The leases that count now."""
        return [
            (job_id, job["worker"], job["token"])
            for job_id, job in self.world.jobs.items()
            if job["state"] == "running"
        ]

    def draw_lease(self, data: st.DataObject) -> Lease:
        """(id, worker, token): mostly of a running job, else an old one, a wrong one, or
        nonsense.
        """
        kinds = ["now", "now", "now", "now", "old", "old", "worker", "token", "none"]
        kind = data.draw(st.sampled_from(kinds))
        running = self.running()
        if kind == "old" and self.leases:
            return data.draw(st.sampled_from(self.leases[-20:]))
        if kind == "none" or not running:
            return data.draw(ids), data.draw(workers), "123"
        job_id, worker, token = data.draw(st.sampled_from(running))
        if kind == "worker":
            worker = data.draw(workers)
        return job_id, worker, str(int(token) + 1) if kind == "token" else token

    def draw_leases(self, data: st.DataObject) -> tuple[str, list[tuple[str, str]]]:
        """One worker, and a few leases it may or may not have; the same twice, too."""
        leases = [self.draw_lease(data) for _ in range(data.draw(st.sampled_from([1, 1, 2, 3])))]
        return leases[0][1], [(job_id, token) for job_id, _, token in leases]

    # Upkeep

    @rule(limit=st.sampled_from([100, 100, 1, 2]))
    def due_jobs_are_promoted(self, limit: int) -> None:
        self.promote(limit)

    @rule(max_crashes=st.integers(1, 3), dead_max=few, keep=keeps, limit=st.sampled_from([100, 1]))
    def lost_workers_are_reaped(
        self, max_crashes: int, dead_max: int, keep: int, limit: int
    ) -> None:
        self.reap(max_crashes, dead_max, keep, limit)

    @rule(
        worker=workers,
        max_crashes=st.integers(1, 3),
        dead_max=few,
        keep=keeps,
        limit=st.sampled_from([100, 1]),
        works=st.booleans(),
    )
    def a_worker_is_seen_to_die(
        self, worker: str, max_crashes: int, dead_max: int, keep: int, limit: int, works: bool
    ) -> None:
        if works:
            self.heartbeat(worker)
            self.claim(worker, Wish(HOUR_MS, 3, {"": 3, "gpu": 2}))
        self.repeatable(lambda: self.bury(worker, max_crashes, dead_max, keep, limit))
        if self.world.index(f"running:{worker}"):
            self.again = None  # the next call takes more

    # People

    @rule(job_id=ids, keep=keeps)
    def somebody_cancels(self, job_id: str, keep: int) -> None:
        self.repeatable(lambda: self.cancel(job_id, keep, "", ""))

    @rule(data=st.data(), keep=keeps)
    def a_worker_confirms_a_cancellation(self, data: st.DataObject, keep: int) -> None:
        job_id, worker, token = self.draw_lease(data)
        self.repeatable(lambda: self.cancel(job_id, keep, token, worker))

    def draw_ids(self, data: st.DataObject) -> list[str]:
        """A few ids, more often of ended jobs; the same twice, too."""
        ended = sorted(i for i, job in self.world.jobs.items() if job["state"] in ENDED)
        some = st.sampled_from(ended) | ids if ended else ids
        return data.draw(st.lists(some, min_size=1, max_size=4))

    @rule(data=st.data())
    def somebody_revives(self, data: st.DataObject) -> None:
        job_ids = self.draw_ids(data)
        self.repeatable(lambda: self.revive(job_ids))

    @rule(data=st.data())
    def somebody_forgets(self, data: st.DataObject) -> None:
        job_ids = self.draw_ids(data)
        self.repeatable(lambda: self.forget(job_ids))

    @rule(index=indexes, limit=st.sampled_from([200, 1, 2]))
    def somebody_purges(self, index: str, limit: int) -> None:
        self.purge(index, limit)

    @rule(goes_on=st.sampled_from([True, True, True, False]))
    def somebody_pauses_or_resumes(self, goes_on: bool) -> None:
        if goes_on:
            self.resume()
        else:
            self.repeatable(self.pause)

    @rule(settings=queue_settings)
    def somebody_configures(self, settings: dict[str, str]) -> None:
        if "fair" not in self.scene and settings.get("policy") == "fair":
            settings = {**settings, "policy": "strict"}
        self.repeatable(lambda: self.configure(settings))

    @rule(job_ids=id_lists, clients=st.sets(st.sampled_from(["c1", "c2", ""]), min_size=1))
    def clients_wait(self, job_ids: list[str], clients: set[str]) -> None:
        for job_id in job_ids:
            for client in sorted(clients):
                self.watch(job_id, client)

    @rule()
    def somebody_looks(self) -> None:
        self.stats()

    @precondition(lambda self: not self.tampering)
    @rule()
    def the_doctor_looks(self) -> None:
        self.audit()

    # Time

    @rule(ms=st.sampled_from([1, 700, 1_500, 4_000, 10_000, BEAT_MS, -3_000, 3 * HOUR_MS]))
    def time_passes(self, ms: int) -> None:
        self.pass_time(ms)

    @rule(early=st.sampled_from([0, 0, 1]))
    def the_next_job_is_due(self, early: int) -> None:
        """Up to the ms at which a job may start, or has missed its deadline; or one before."""
        due = [*self.world.index("scheduled").values(), *self.world.index("retry").values()]
        due += self.world.index("timers").values()
        due += [int(job["deadline_ms"]) for job in self.world.jobs.values() if "deadline_ms" in job]
        ahead = [at for at in due if self.world.now + early < at < math.inf]
        if ahead:
            self.pass_time(int(min(ahead)) - early - self.world.now)
            self.promote(100)

    @rule()
    def the_next_record_runs_out(self) -> None:
        """Up to the ms at which the first ended job is forgotten by itself; its index may
        remember it longer.
        """
        ends = [at for key, at in self.world.expiry.items() if key.startswith("job:")]
        if ends:
            self.pass_time(min(ends) + 1 - self.world.now)
