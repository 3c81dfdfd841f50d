"""The state machine: draws one call at a time, and repeats calls whose reply might have been lost.

Three workers, two capability classes, few ids, a clock that the machine turns. What a call is and
how it is checked: tests/model/pair.py. Rules of several calls: tests/model/stories.py.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from taskq.commands import Ack, Failure, NewJob
from tests.model.calls import BEAT_MS, Calls
from tests.model.rules_claim import Wish
from tests.model.world import ENDED, START_US, of_class

HOUR_MS = 3_600_000

ids = st.integers(0, 8).map("j{}".format)
id_lists = st.lists(ids, min_size=1, max_size=5)
workers = st.sampled_from(["w1", "w2", "w3"])
classes = st.sampled_from(["", "", "gpu"])
keeps = st.sampled_from([HOUR_MS, HOUR_MS, 2 * HOUR_MS, 0])
few = st.sampled_from([1000, 1000, 1, 3])
limits = st.sampled_from([1, 1, 2, 3, 5, 0])
slots = st.sampled_from(
    [
        {"": 5},
        {"": 2},
        {"": 5, "gpu": 5},
        {"": 5, "fragile": 1},
        {"fragile": 2, "gpu": 2, "": 2},
        {"": 1, "gpu": 3},
        {"": 3, "gpu": 0},
        {"fragile+gpu": 1, "gpu": 2},
    ]
)
moments = st.sampled_from(
    [""] * 16
    + ["+0", "+1", "+1500", "+4000", f"+{BEAT_MS}"]
    + [str(START_US // 1000 + ms) for ms in (-5_000, 2_000, 30_000)]
)
indexes = st.sampled_from(
    [
        "ready",
        "ready:gpu",
        "ready:fragile",
        "turned",
        "scheduled",
        "retry",
        "dead",
        "dead",
        "done",
        "done",
    ]
)
queue_settings = st.fixed_dictionaries(
    {},
    optional={
        "policy": st.sampled_from(["", "aging"]),
        "horizon_ms": st.sampled_from(["", "1000", "0"]),
        "patience_ms": st.sampled_from(["", "9000 8000 7000 6000 5000 4000 3000 2000 100 0"]),
        "max_jobs": st.sampled_from(["", "", "5"]),
    },
)
Lease = tuple[str, str, str]


@st.composite
def new_jobs(draw: st.DrawFn) -> NewJob:
    """A job to enqueue. The payload is its id's own, mostly, so that the same id means the same
    job.
    """
    job_id = draw(ids)
    payload = draw(st.sampled_from([job_id, job_id, job_id, "other"])).encode()
    # 8 and 9: ranks of 14 and of 13 digits, which a comparison as text would turn round.
    priority = draw(st.sampled_from([5, 5, 9, 8, 0]))
    extras = draw(st.sampled_from([(), (), ("on_miss", "run"), ("timeout_ms", 500)]))
    return NewJob(
        job_id, "task", payload, priority, draw(moments), draw(moments), draw(classes), extras
    )


class QueueMachine(Calls, RuleBasedStateMachine):
    """One call a rule."""

    @initialize(tampering=st.sampled_from([False, False, False, True]))
    def begin(self, tampering: bool) -> None:
        self.tampering = tampering
        for worker in ("w1", "w2", "w3"):
            self.heartbeat(worker)

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
        self.repeatable(lambda: self.enqueue([job], max_jobs, strict))

    @rule(
        jobs=st.lists(new_jobs(), min_size=2, max_size=8),
        max_jobs=st.sampled_from([1000, 1000, 6]),
        strict=st.booleans(),
    )
    def a_producer_enqueues_many(self, jobs: list[NewJob], max_jobs: int, strict: bool) -> None:
        self.repeatable(lambda: self.enqueue(jobs, max_jobs, strict))

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

    @rule(worker=workers, limit=limits, slots=slots, keep=keeps)
    def a_worker_claims(self, worker: str, limit: int, slots: dict[str, int], keep: int) -> None:
        self.claim(worker, Wish(keep, limit, slots, 1 + limit % 3))

    @rule(worker=workers, slots=slots)
    def a_worker_beats_and_claims(self, worker: str, slots: dict[str, int]) -> None:
        self.heartbeat(worker)
        self.claim(worker, Wish(HOUR_MS, 3, slots))

    @precondition(lambda self: bool(self.leases))
    @rule(data=st.data(), keep=keeps, done_max=few, limit=limits, slots=slots)
    def a_worker_acks(
        self, data: st.DataObject, keep: int, done_max: int, limit: int, slots: dict[str, int]
    ) -> None:
        worker, leases = self.draw_leases(data)
        result = data.draw(st.sampled_from([b"", b"42"]))
        own_keep = data.draw(keeps)
        acks = [Ack(job_id, token, result, own_keep) for job_id, token in leases]
        claims = data.draw(st.booleans())
        if claims and data.draw(st.booleans()):
            self.heartbeat(worker)
        self.repeatable(
            lambda: self.ack(
                worker,
                acks,
                done_max,
                Wish(keep or HOUR_MS, limit if claims else 0, slots, 1 + limit % 3),
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
    )
    def a_worker_is_seen_to_die(
        self, worker: str, max_crashes: int, dead_max: int, keep: int, limit: int
    ) -> None:
        self.repeatable(lambda: self.bury(worker, max_crashes, dead_max, keep, limit))

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
        due += [int(job["deadline_ms"]) for job in self.world.jobs.values() if "deadline_ms" in job]
        ahead = [at for at in due if at > self.world.now + early]
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
