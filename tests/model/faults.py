"""Faults around the calls: workers that crash in the middle of a conversation, a network that sends
calls twice, late and in another order, and a failover to a replica that had not heard the last.

What single calls do is checked by tests/model/pair.py, here as everywhere; this file adds what must
hold across a fault.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from taskq.commands import Ack, Failure
from tests.model.calls import BEAT_MS, EVERY_MS, GRACE_MS
from tests.model.rules_claim import Wish
from tests.model.snapshot import CLOCK, Snapshot
from tests.model.stories import StoryMachine
from tests.model.strategies import HOUR_MS, Lease, classes, workers
from tests.model.world import ENDED, World

ALL_CLASSES = {"": 20, "gpu": 20, "fragile": 20, "fragile+gpu": 20}
#: What ends a lease.
_ENDS = ("completed", "failed", "released", "cancelled")
_MOST_SENT = 12


class Sent(NamedTuple):
    """A call that the network may deliver once more. `era`: after how many failovers it was made.
    `lasting`: it must not count again, because its token is used up.
    """

    era: int
    call: Callable[[], object]
    lasting: bool


class Replica(NamedTuple):
    """What a replica has: every key as DUMP gives it, and the model of that moment."""

    keys: dict[bytes, bytes]
    world: World


class FaultMachine(StoryMachine):
    """The machine the test runs."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []
        self.replica: Replica | None = None
        self.era = 0
        self.issued: dict[str, set[str]] = defaultdict(set)

    def repeatable(self, call: Callable[[], object], *, lasting: bool = False) -> None:
        super().repeatable(call, lasting=lasting)
        self.sent = [*self.sent, Sent(self.era, call, lasting)][-_MOST_SENT:]

    def note_claims(self, claims: Any, worker: str, wish: Wish) -> None:
        """No token is given out twice for a job, in whatever history of the server."""
        super().note_claims(claims, worker, wish)
        for job in claims[5]:
            assert job["token"] not in self.issued[job["id"]], f"{job['id']}: a token again"
            self.issued[job["id"]].add(job["token"])

    def counters(self) -> dict[str, int]:
        return {name: int(count) for name, count in self.now.hash("stats").items()}

    # The network

    @precondition(lambda self: bool(self.sent))
    @rule(data=st.data())
    def a_call_arrives_again_and_late(self, data: st.DataObject) -> None:
        sent = data.draw(st.sampled_from(self.sent))
        before = self.counters()
        sent.call()
        if sent.lasting and sent.era == self.era:
            for name, count in self.counters().items():
                # An ack claims too, and does so again.
                assert name in ("claimed", "expired") or count == before.get(name), f"{name} twice"

    def report(self, lease: Lease, kind: str, job_class: str) -> Callable[[], object]:
        """One call with that lease."""
        job_id, worker, token = lease
        acks = [Ack(job_id, token, b"1", HOUR_MS)]
        again = [Failure(job_id, token, 5_000, "error", "E: e", "")]
        final = [Failure(job_id, token, None, "error", "E: e", "")]
        return {
            "ack": lambda: self.ack(worker, acks, 1000, Wish(HOUR_MS, 0, {"": 0})),
            "retry": lambda: self.fail(worker, again, 1000, HOUR_MS),
            "dead": lambda: self.fail(worker, final, 1000, HOUR_MS),
            "release": lambda: self.release(worker, [(job_id, token, job_class)], HOUR_MS),
            "confirm": lambda: self.cancel(job_id, HOUR_MS, token, worker),
            "progress": lambda: self.progress(lease, 0.5),
            "beat": lambda: self.heartbeat(worker),
        }[kind]

    @precondition(lambda self: bool(self.running()) and not self.tampering)
    @rule(data=st.data())
    def reports_arrive_twice_and_in_any_order(self, data: st.DataObject) -> None:
        """Of all that is said about a lease, the first word counts, and once."""
        leases = data.draw(st.lists(st.sampled_from(self.running()), min_size=1, max_size=3))
        ends = st.sampled_from(["ack", "retry", "dead", "release", "confirm"])
        calls = []
        for lease in leases:
            word = data.draw(ends)
            calls += [self.report(lease, word, data.draw(classes))] * 2
            if data.draw(st.booleans()):
                other = data.draw(ends | st.sampled_from(["progress", "beat"]))
                calls.append(self.report(lease, other, ""))
        before = self.counters()
        for call in data.draw(st.permutations(calls)):
            call()
        after = self.counters()
        counted = sum(after.get(name, 0) - before.get(name, 0) for name in _ENDS)
        assert counted == len(set(leases)), f"{counted} ends of {len(set(leases))} leases"

    # Crashes

    @precondition(lambda self: not self.tampering)
    @rule(
        worker=workers,
        other=workers,
        point=st.sampled_from(
            ["the claim is answered", "an ack is sent", "a failure is sent", "one of two is sent"]
        ),
        late=st.sampled_from(["", "ack", "retry", "release", "confirm", "progress"]),
    )
    def a_worker_crashes_in_the_middle(
        self, worker: str, other: str, point: str, late: str
    ) -> None:
        """It dies before it hears what became of its call; what it had still sent arrives when
        its jobs are with somebody else.
        """
        self.heartbeat(worker)
        self.claim(worker, Wish(HOUR_MS, 4, ALL_CLASSES))
        leases = [lease for lease in self.running() if lease[1] == worker]
        if point == "an ack is sent":
            acks = [Ack(job_id, token, b"1", HOUR_MS) for job_id, _, token in leases]
            if acks:
                self.ack(worker, acks, 1000, Wish(HOUR_MS, 2, {"": 2}))
        elif point == "a failure is sent":
            failures = [Failure(i, token, 1, "error", "E: e", "") for i, _, token in leases]
            if failures:
                self.fail(worker, failures, 1000, HOUR_MS)
        elif point == "one of two is sent" and leases:
            self.report(leases[0], "ack", "")()
        self.die(worker, 3, 100)
        for job_id, _, _ in leases:
            state = self.world.jobs[job_id]["state"]
            assert state in (*ENDED, "ready", "retry"), f"{job_id} is {state} after the crash"
        if worker not in self.world.alive:
            assert f"running:{worker}" not in self.now.keys, "a dead worker holds jobs"
        self.heartbeat(other)
        self.claim(other, Wish(HOUR_MS, 4, ALL_CLASSES))
        for lease in leases if late else ():
            self.report(lease, late, "")()

    # Failover

    @rule()
    def a_replica_hears_all(self) -> None:
        """Up to here; what comes after is lost if it is made the primary."""
        pattern = f"{self.keys.prefix}*"
        names = cast(list[bytes], self.client.keys(pattern))
        pipe = self.client.pipeline()
        for name in names:
            pipe.dump(name)
        keys = dict(zip(names, pipe.execute(), strict=True))
        self.replica = Replica(keys, copy.deepcopy(self.world))

    @precondition(lambda self: self.replica is not None)
    @rule(drift=st.sampled_from([0, 0, 1, 700, -3_000]))
    def the_replica_becomes_the_primary(self, drift: int) -> None:
        """Everything since is lost, and its clock may differ. Workers and producers know nothing:
        they keep their tokens, and send again what they had sent.
        """
        assert self.replica is not None
        world = copy.deepcopy(self.replica.world)
        world.now_us = self.world.now_us
        over = world.pass_time(drift)
        pipe = self.client.pipeline()
        for name in cast(list[bytes], self.client.keys(f"{self.keys.prefix}*")):
            pipe.delete(name)
        for name, content in self.replica.keys.items():
            pipe.restore(name, 0, content)
        for key in over:
            pipe.delete(self.keys.prefix + key)
        self.set_lives(pipe, world)
        pipe.set(CLOCK, world.now_us)
        pipe.execute()
        self.world, self.era = world, self.era + 1
        self.starts.clear()  # what was lost cannot be held against the server
        self.fired.clear()
        self.again, self.lasting = None, False
        self.before = self.now = Snapshot({}, {})
        self.look_anew()
        if not self.tampering:
            self.audit()

    @precondition(lambda self: bool(self.running()))
    @rule(data=st.data(), ms=st.sampled_from([-3_000, 0, 1]), again=st.booleans())
    def a_failover_forgets_a_claim(self, data: st.DataObject, ms: int, again: bool) -> None:
        """A job is given back, the claim after that is lost, and its late report comes after the
        job was claimed anew; the clock may be behind all the time.
        """
        job_id, worker, token = data.draw(st.sampled_from(self.running()))
        self.release(worker, [(job_id, token, "")], HOUR_MS)
        self.pass_time(ms)
        self.heartbeat(worker)
        self.a_replica_hears_all()
        for _ in range(2 if again else 1):
            self.claim(worker, Wish(HOUR_MS, 5, ALL_CLASSES))
            lost = self.own_lease(job_id, worker)
            self.the_replica_becomes_the_primary(0)
        self.claim(worker, Wish(HOUR_MS, 5, ALL_CLASSES))
        if lost is not None:
            before = self.counters()
            self.report(lost, "ack", "")()
            assert self.counters() == before, "the report of a claim that never was counts"

    @precondition(lambda self: not self.tampering)
    @rule()
    def everything_is_worked_off(self) -> None:
        """Whatever happened: one healthy worker brings every live job to its end."""
        self.resume()
        self.limit({name: "" for name in self.world.hash("limits") if name.startswith("pause:")})
        for worker in sorted(set(self.world.alive) - {"w1"}):
            self.client.delete(self.keys.alive(worker))
            self.world.drop(f"alive:{worker}")
        self.look_anew()
        for ms in (0, EVERY_MS, GRACE_MS, BEAT_MS - 1, BEAT_MS - 1):
            self.pass_time(ms)
            self.work_off()
        for _ in range(40):  # one after another, where a limit lets no two run beside each other
            if not self.world.live():
                break
            timers = self.world.index("timers").values()
            due = min((at for at in timers if at > self.world.now), default=self.world.now)
            self.pass_time(int(min(due - self.world.now, 100_000)))
            self.work_off()
        assert not self.world.live(), f"{self.world.live()} jobs never end"

    def work_off(self) -> None:
        """One round of a worker with many slots."""
        self.heartbeat("w1")
        self.reap(99, 1000, HOUR_MS, 100)
        self.promote(100)
        self.claim("w1", Wish(HOUR_MS, 20, ALL_CLASSES))
        acks = [
            Ack(job_id, token, b"1", HOUR_MS)
            for job_id, worker, token in self.running()
            if worker == "w1"
        ]
        if acks:
            self.ack("w1", acks, 1000, Wish(HOUR_MS, 0, {"": 0}))
