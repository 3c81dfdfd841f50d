"""The state machine: draws calls at random, makes each on the server and on the model, and compares
all there is.

Three workers, two capability classes, few ids, a clock that the machine turns. Every rule is one
call (or a short story of calls); after each call the whole keyspace is compared with the model and
checked by itself.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import redis
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

from taskq import commands
from taskq.address import Address
from taskq.commands import Ack, Call, ClaimedJob, Claims, Failure, Held, NewJob
from taskq.errors import TaskqError
from taskq.keys import QueueKeys
from taskq.scripts import ScriptSet
from taskq.store_sync import SyncStore
from tests.model import rules_jobs, rules_people, rules_workers
from tests.model.snapshot import CLOCK, CLOCK_LUA, Snapshot, check_alone, check_step, look
from tests.model.world import DEAD_KEEP_MS, START_US, World

HOUR_MS = 3_600_000
BEAT_MS = 60_000
EVERY_MS, GRACE_MS = 2_000, 2_500
#: No key may run out by the real clock in the middle of an example; virtual time removes it (see
#: `pass_time`).
LEAST_TTL_MS = 60_000

ids = st.integers(0, 9).map("j{:02}".format)
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
    ]
)
moments = st.sampled_from(
    ["", "", "", "+0", "+1", "+1500", "+4000", f"+{BEAT_MS}"]
    + [str(START_US // 1000 + ms) for ms in (-5_000, 2_000, 30_000)]
)


@st.composite
def new_jobs(draw: st.DrawFn) -> NewJob:
    """A job to enqueue. The payload is its id's own, mostly, so that the same id means the same
    job.
    """
    job_id = draw(ids)
    payload = draw(st.sampled_from([job_id, job_id, job_id, "other"])).encode()
    extras = draw(st.sampled_from([(), (), ("on_miss", "run"), ("timeout_ms", 500)]))
    return NewJob(
        job_id,
        "task",
        payload,
        draw(st.sampled_from([5, 5, 9, 0, 7])),
        draw(moments),
        draw(moments),
        draw(classes),
        extras,
    )


class QueueMachine(RuleBasedStateMachine):
    """One queue on a real server beside its model. `steps` counts calls over all examples."""

    socket: str
    folder: Path | None = None
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.client = redis.Redis(unix_socket_path=self.socket, protocol=2, socket_timeout=10)
        self.client.flushall()
        self.client.set(CLOCK, START_US)
        self.keys = QueueKeys("taskq", "q")
        scripts = self.scripts(self.folder)
        self.store = SyncStore(Address(path=self.socket), scripts=scripts, client=self.client)
        self.ears = self.client.pubsub(ignore_subscribe_messages=True)
        self.ears.psubscribe(self.keys.ended_channel("*"))
        self.world = World()
        self.before = self.now = Snapshot({}, {})
        self.leases: list[tuple[str, str, str]] = []
        self.tampering = False
        self.tampered: set[str] = set()
        self.again: Callable[[], object] | None = None
        self.lasting = False

    _sets: ClassVar[dict[Path | None, ScriptSet]] = {}

    @classmethod
    def scripts(cls, folder: Path | None) -> ScriptSet:
        """The scripts with the machine's clock, read once."""
        if folder not in cls._sets:
            cls._sets[folder] = ScriptSet(folder, replace={"now_us": CLOCK_LUA})
        return cls._sets[folder]

    def teardown(self) -> None:
        self.ears.close()
        self.store.close()

    @initialize(beats=st.sets(workers), tampering=st.sampled_from([False, False, False, True]))
    def begin(self, beats: set[str], tampering: bool) -> None:
        self.tampering = tampering
        for worker in sorted(beats):
            self.beat(worker)

    # One call, on both sides

    def agree(self, expected: Callable[[World], object], call: Call[Any]) -> object:
        """Make a call on the model and on the server; the replies and all keys must be the same."""
        return self.agree_on([expected], call)

    def agree_on(self, choices: Sequence[Callable[[World], object]], call: Call[Any]) -> object:
        """As `agree`, where the server is free to do one of several things."""
        type(self).steps += 1
        if not self.lasting:
            self.again = None
        actual = _outcome(lambda: self.store.run(call))
        self.before, self.now = self.now, look(self.client, self.keys.prefix)
        world, reply = self.world, None
        for choice in choices:
            world = copy.deepcopy(self.world) if len(choices) > 1 else self.world
            reply = _outcome(functools.partial(choice, world))
            world.tidy()
            if reply == actual and world.keyspace() == self.now.keys:
                break
        self.world = world
        assert actual == reply, f"{call.script} answered {actual}, the model {reply}"
        self.compare()
        self.world.now_us += 1
        return actual

    def compare(self) -> None:
        expected, actual = self.world.keyspace(), self.now.keys
        for key in sorted(expected.keys() | actual.keys()):
            assert actual.get(key) == expected.get(key), (
                f"{key} is {actual.get(key)}, the model says {expected.get(key)}"
            )
        assert self.now.ttl.keys() == self.world.expiry.keys()
        for key, ms in self.now.ttl.items():
            left = max(LEAST_TTL_MS, self.world.expiry[key] - self.world.now)
            assert -1 <= left - ms < 50_000, f"{key} lives {ms} ms more, the model says {left}"
        check_alone(self.now, self.tampered)
        check_step(self.before, self.now, self.tampered)
        self.check_conserved()
        self.check_told()

    def check_conserved(self) -> None:
        """Nothing appears and nothing vanishes: by the server's own counters."""
        count = self.now.counter
        came = count("enqueued") + count("revived")
        ended = sum(count(word) for word in ("completed", "dead", "expired", "cancelled"))
        live = sum(len(self.now.index(name)) for name in self.now.live_indexes())
        if not self.tampering:
            assert came == live + ended + self.world.live_lost, (
                f"{came} came, {live} live, {ended} ended"
            )
        failed = count("retried") + count("dead") - self.world.dead_by_crash
        assert count("failed") == failed, "a failed job is retried or dead"

    def check_told(self) -> None:
        """Those who wait for a job hear of its end, once."""
        self.ears.ping()
        heard = []
        while (message := self.ears.parse_response(block=True))[0] != b"pong":
            if message[0] == b"pmessage":
                heard.append((message[2].decode(), message[3].decode()))
        assert sorted(heard) == sorted(self.world.told)
        self.world.told.clear()

    def look_anew(self) -> None:
        """After something that was no call: a key ran out, or somebody wrote by hand."""
        self.now = look(self.client, self.keys.prefix)
        self.world.tidy()
        self.compare()
        self.world.now_us += 1

    def unchanged(self) -> None:
        """The last call wrote nothing at all."""
        assert self.now.keys == self.before.keys

    def repeatable(self, call: Callable[[], object], *, lasting: bool = False) -> None:
        """Make a call, and remember it as one that may be sent again and must not count again: at
        once, or (`lasting`) at any later time, because its token is used up.
        """
        self.lasting = False
        call()
        self.again, self.lasting = call, lasting

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
    def enqueue(self, job: NewJob, max_jobs: int, strict: bool) -> None:
        self.repeatable(lambda: self.do_enqueue([job], max_jobs, strict))

    @rule(
        jobs=st.lists(new_jobs(), min_size=2, max_size=8),
        max_jobs=st.sampled_from([1000, 1000, 6]),
        strict=st.booleans(),
    )
    def enqueue_many(self, jobs: list[NewJob], max_jobs: int, strict: bool) -> None:
        self.repeatable(lambda: self.do_enqueue(jobs, max_jobs, strict))

    def do_enqueue(self, jobs: list[NewJob], max_jobs: int, strict: bool) -> None:
        jobs = [job._replace(job_class="") if job.id in self.tampered else job for job in jobs]
        reply = self.agree(
            lambda world: rules_jobs.enqueue(world, jobs, max_jobs, strict),
            commands.enqueue(self.keys, jobs, max_jobs=max_jobs, all_or_none=strict),
        )
        if isinstance(reply, str):
            self.unchanged()

    # Workers

    @rule(worker=workers)
    def beat(self, worker: str) -> None:
        self.agree(
            lambda world: rules_workers.heartbeat(world, worker, BEAT_MS),
            commands.heartbeat(self.keys, worker, ttl_ms=BEAT_MS),
        )

    @rule(worker=workers)
    def retire(self, worker: str) -> None:
        held = self.agree(
            lambda world: rules_workers.retire(world, worker), commands.retire(self.keys, worker)
        )
        if held:
            self.unchanged()

    @rule(worker=workers, limit=limits, slots=slots, keep=keeps)
    def claim(self, worker: str, limit: int, slots: dict[str, int], keep: int) -> None:
        claims = self.agree(
            lambda world: rules_workers.claim(world, worker, keep, limit, slots),
            commands.claim(self.keys, worker, keep_ms=keep, limit=limit, slots=slots),
        )
        self.check_claims(claims, worker, limit, slots)

    @rule(worker=workers, slots=slots)
    def beat_and_claim(self, worker: str, slots: dict[str, int]) -> None:
        self.beat(worker)
        self.claim(worker, 3, slots, HOUR_MS)

    def check_claims(self, claims: Any, worker: str, limit: int, slots: dict[str, int]) -> None:
        """Nothing due to expire was granted, nothing better was left behind, nothing while
        paused.
        """
        word, now_ms, granted = claims[0], claims[1], claims[5]
        assert not granted or (word == "OK" and "paused" not in self.now.hash("meta"))
        self.leases += [(job["id"], worker, job["token"]) for job in granted]
        for job in granted:
            if job.get("on_miss") != "run":
                assert int(job.get("deadline_ms", now_ms + 1)) > now_ms, f"{job['id']} is too late"
        gone: dict[str, list[tuple[float, str]]] = {}
        for name in slots:
            index = f"ready:{name}" if name else "ready"
            left = self.now.index(index)
            was = self.before.index(index).items()
            gone[index] = [(rank, job_id) for job_id, rank in was if job_id not in left]
            assert len(gone[index]) <= slots[name]
        taken = sorted(itertools.chain(*gone.values()))
        assert len(taken) <= limit
        assert [job["id"] for job in granted] == [
            job_id for _, job_id in taken if job_id in {job["id"] for job in granted}
        ], "not in the order of rank"
        if word != "OK":
            return
        for name, room in slots.items():
            index = f"ready:{name}" if name else "ready"
            left_behind = [(rank, job_id) for job_id, rank in self.now.index(index).items()]
            if left_behind and len(gone[index]) < room:
                assert len(taken) == limit, f"{index} has jobs and the worker has room"
                assert not taken or min(left_behind) > taken[-1], "a better job was left behind"
            assert not left_behind or not gone[index] or min(left_behind) > max(gone[index])

    def draw_lease(self, data: st.DataObject) -> tuple[str, str, str]:
        """(id, worker, token): mostly of a running job, else an old one, a wrong one, or
        nonsense.
        """
        running = [
            (job_id, job["worker"], job["token"])
            for job_id, job in self.world.jobs.items()
            if job["state"] == "running"
        ]
        kind = data.draw(st.sampled_from(["now", "now", "now", "old", "worker", "token", "none"]))
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
        worker = leases[0][1]
        return worker, [(job_id, token) for job_id, _, token in leases]

    @rule(data=st.data(), keep=keeps, done_max=few, limit=limits, slots=slots)
    def ack(
        self, data: st.DataObject, keep: int, done_max: int, limit: int, slots: dict[str, int]
    ) -> None:
        worker, leases = self.draw_leases(data)
        result = data.draw(st.sampled_from([b"", b"42"]))
        own_keep = data.draw(keeps)
        acks = [Ack(job_id, token, result, own_keep) for job_id, token in leases]
        if data.draw(st.booleans()):
            limit = 0
        self.repeatable(
            lambda: self.do_ack(worker, acks, keep or HOUR_MS, done_max, limit, slots),
            lasting=True,
        )

    def do_ack(
        self,
        worker: str,
        acks: list[Ack],
        keep: int,
        done_max: int,
        limit: int,
        slots: dict[str, int],
    ) -> None:
        claims: Any = self.agree(
            lambda world: rules_workers.ack(world, worker, acks, keep, done_max, limit, slots),
            commands.ack(
                self.keys,
                worker,
                acks,
                keep_ms=keep,
                done_max=done_max,
                limit=limit,
                slots=slots,
            ),
        )
        if limit:
            self.check_claims(claims, worker, limit, slots)
        elif len(claims[4]) == len(acks):
            self.unchanged()

    @rule(data=st.data(), dead_max=few, keep=keeps)
    def fail(self, data: st.DataObject, dead_max: int, keep: int) -> None:
        worker, leases = self.draw_leases(data)
        afters = st.sampled_from([0, 1, 700, 5_000, None])
        failures = [
            Failure(job_id, token, data.draw(afters), "error", "ValueError: no", "trace")
            for job_id, token in leases
        ]
        self.repeatable(lambda: self.do_fail(worker, failures, dead_max, keep), lasting=True)

    def do_fail(self, worker: str, failures: list[Failure], dead_max: int, keep: int) -> None:
        words: Any = self.agree(
            lambda world: rules_workers.fail(world, worker, failures, dead_max, keep),
            commands.fail(
                self.keys,
                worker,
                failures,
                dead_keep_ms=DEAD_KEEP_MS,
                dead_max=dead_max,
                keep_ms=keep,
            ),
        )
        if len(words) == len(failures) and set(words.values()) <= {"STALE", "ALREADY", "GONE"}:
            self.unchanged()

    @rule(data=st.data(), keep=keeps)
    def release(self, data: st.DataObject, keep: int) -> None:
        worker, leases = self.draw_leases(data)
        jobs = [
            (job_id, token, "" if job_id in self.tampered else data.draw(classes))
            for job_id, token in leases
        ]
        self.repeatable(lambda: self.do_release(worker, jobs, keep), lasting=True)

    def do_release(self, worker: str, jobs: list[tuple[str, str, str]], keep: int) -> None:
        words: Any = self.agree(
            lambda world: rules_workers.release(world, worker, jobs, keep),
            commands.release(self.keys, worker, jobs, keep_ms=keep),
        )
        if len(words) == len(jobs) and set(words.values()) <= {"STALE", "GONE"}:
            self.unchanged()

    @rule(data=st.data(), fraction=st.sampled_from([0.0, 0.5, 1.0]))
    def progress(self, data: st.DataObject, fraction: float) -> None:
        job_id, worker, token = self.draw_lease(data)
        word = self.agree(
            lambda world: rules_workers.progress(world, job_id, token, worker, fraction, "note"),
            commands.progress(self.keys, job_id, token, worker, fraction, "note"),
        )
        if word != "OK":
            self.unchanged()

    @rule(worker=workers)
    def held(self, worker: str) -> None:
        self.agree(
            lambda world: rules_workers.held(world, worker), commands.held(self.keys, worker)
        )
        self.unchanged()

    # Upkeep

    @rule(limit=st.sampled_from([100, 100, 1, 2]))
    def promote(self, limit: int) -> None:
        now_ms = self.world.now
        self.agree(
            lambda world: rules_jobs.promote(world, limit), commands.promote(self.keys, limit)
        )
        for name in ("scheduled", "retry"):
            for job_id, due in self.before.index(name).items():
                assert due <= now_ms or job_id in self.now.index(name), f"{job_id}: too early"

    @rule(
        max_crashes=st.integers(1, 3), dead_max=few, keep=keeps, limit=st.sampled_from([100, 1, 2])
    )
    def reap(self, max_crashes: int, dead_max: int, keep: int, limit: int) -> None:
        if self.tampering:
            max_crashes = 99  # a damaged id must not come to be ready in two classes
        lost = rules_jobs.lost_workers(self.world, EVERY_MS, GRACE_MS)

        def choice(order: tuple[str, ...]) -> Callable[[World], object]:
            return lambda world: rules_jobs.reap(
                world, EVERY_MS, GRACE_MS, max_crashes, dead_max, keep, limit, order
            )

        self.agree_on(
            [choice(order) for order in itertools.permutations(lost)],
            commands.reap(
                self.keys,
                every_ms=EVERY_MS,
                grace_ms=GRACE_MS,
                max_crashes=max_crashes,
                dead_keep_ms=DEAD_KEEP_MS,
                dead_max=dead_max,
                keep_ms=keep,
                limit=limit,
            ),
        )

    @rule(job_id=ids, worker=workers, dies=st.booleans(), later=st.sampled_from(["", "+9000"]))
    def an_id_is_used_again_when_its_record_is_gone(
        self, job_id: str, worker: str, dies: bool, later: str
    ) -> None:
        """A result is kept for an hour, the end of its job is listed for two; then the id means
        a new job.
        """
        job = NewJob(job_id, "task", job_id.encode())
        self.do_enqueue([job], 1000, False)
        self.beat_and_claim(worker, {"": 5})
        leases = [(i, token) for i, who, token in self.leases if (i, who) == (job_id, worker)]
        if not leases:
            return
        if dies:
            failure = Failure(*leases[-1], None, "error", "ValueError: no", "")
            self.do_fail(worker, [failure], 1000, HOUR_MS)
        acks = [Ack(*leases[-1], b"1", HOUR_MS)]
        self.do_ack(worker, acks, 2 * HOUR_MS, 1000, 0, {"": 0})
        self.the_next_record_runs_out()
        self.do_enqueue([job._replace(at=later)], 1000, False)

    @rule(worker=workers, comes_back=st.booleans(), max_crashes=st.sampled_from([3, 3, 1]))
    def a_worker_goes_silent(self, worker: str, comes_back: bool, max_crashes: int) -> None:
        """Its heartbeat is missing; it is suspected, then lost, unless it comes back in time."""
        if worker in self.world.alive:
            self.client.delete(self.keys.alive(worker))
            self.world.drop(f"alive:{worker}")
            self.look_anew()
        self.pass_time(EVERY_MS)
        self.reap(max_crashes, 1000, HOUR_MS, 100)
        self.pass_time(GRACE_MS)
        if comes_back:
            self.beat(worker)
        self.reap(max_crashes, 1000, HOUR_MS, 100)

    # People

    @rule(job_id=ids, keep=keeps)
    def cancel(self, job_id: str, keep: int) -> None:
        self.repeatable(lambda: self.do_cancel(job_id, keep, "", ""))

    @rule(data=st.data(), keep=keeps)
    def cancel_as_owner(self, data: st.DataObject, keep: int) -> None:
        job_id, worker, token = self.draw_lease(data)
        self.repeatable(lambda: self.do_cancel(job_id, keep, token, worker))

    @rule(data=st.data())
    def cancel_a_running_job(self, data: st.DataObject) -> None:
        self.do_cancel(self.draw_lease(data)[0], HOUR_MS, "", "")

    def do_cancel(self, job_id: str, keep: int, token: str, worker: str) -> None:
        reply = self.agree(
            lambda world: rules_people.cancel(world, job_id, keep, token, worker),
            commands.cancel(self.keys, job_id, keep_ms=keep, token=token, worker=worker),
        )
        if isinstance(reply, str):
            self.unchanged()

    @rule(job_ids=id_lists)
    def revive(self, job_ids: list[str]) -> None:
        self.repeatable(
            lambda: self.agree(
                lambda world: rules_people.revive(world, job_ids),
                commands.revive(self.keys, job_ids),
            )
        )

    @rule(job_ids=id_lists)
    def forget(self, job_ids: list[str]) -> None:
        self.repeatable(
            lambda: self.agree(
                lambda world: rules_people.forget(world, job_ids),
                commands.forget(self.keys, job_ids),
            )
        )

    @rule(
        index=st.sampled_from(
            ["ready", "ready:gpu", "ready:fragile", "scheduled", "retry", "dead", "done", "done"]
        ),
        limit=st.sampled_from([200, 1, 2]),
    )
    def purge(self, index: str, limit: int) -> None:
        self.agree(
            lambda world: rules_people.purge(world, index, limit),
            commands.purge(self.keys, index, limit),
        )

    @rule()
    def pause(self) -> None:
        self.repeatable(lambda: self.agree(rules_people.pause, commands.pause(self.keys)))

    @rule()
    def resume(self) -> None:
        self.agree(rules_people.resume, commands.resume(self.keys))

    @rule(
        settings=st.fixed_dictionaries(
            {},
            optional={
                "policy": st.sampled_from(["", "aging"]),
                "horizon_ms": st.sampled_from(["", "1000", "0"]),
                "patience_ms": st.sampled_from(
                    ["", "9000 8000 7000 6000 5000 4000 3000 2000 100 0"]
                ),
                "max_jobs": st.sampled_from(["", "", "5"]),
            },
        )
    )
    def configure(self, settings: dict[str, str]) -> None:
        self.repeatable(
            lambda: self.agree(
                lambda world: rules_people.configure(world, settings),
                commands.configure(self.keys, settings),
            )
        )

    @rule(job_id=ids, client=st.sampled_from(["c1", "c2", ""]))
    def watch(self, job_id: str, client: str) -> None:
        channel = client and self.keys.ended_channel(client)
        self.agree(
            lambda world: rules_people.watch(world, job_id, channel),
            commands.watch(self.keys, job_id, channel),
        )

    @rule()
    def stats(self) -> None:
        self.agree(rules_people.stats, commands.stats(self.keys))
        self.unchanged()

    # Time and damage

    @rule(ms=st.sampled_from([1, 700, 1_499, 4_000, 10_000, BEAT_MS, BEAT_MS, -3_000]))
    def pass_time(self, ms: int) -> None:
        """Turn the clock. Keys whose life is over go; the others get what is left to them, or a
        minute.
        """
        over = self.world.pass_time(ms)
        with self.client.pipeline() as pipe:
            pipe.set(CLOCK, self.world.now_us)
            for key in over:
                pipe.delete(self.keys.prefix + key)
            for key, at in self.world.expiry.items():
                pipe.pexpire(self.keys.prefix + key, max(LEAST_TTL_MS, at - self.world.now))
            pipe.execute()
        if over and not self.lasting:
            self.again = None
        self.before = self.now
        self.look_anew()

    @rule()
    def the_next_record_runs_out(self) -> None:
        """Up to the ms at which the first ended job is forgotten by itself; its index may
        remember it longer.
        """
        ends = [at for key, at in self.world.expiry.items() if key.startswith("job:")]
        if ends:
            self.pass_time(min(ends) - self.world.now)

    @rule()
    def hours_pass(self) -> None:
        self.pass_time(3 * HOUR_MS)

    @precondition(lambda self: self.tampering)
    @rule(data=st.data())
    def somebody_lists_a_running_job_as_ready(self, data: st.DataObject) -> None:
        running = [i for i, job in self.world.jobs.items() if job["state"] == "running"]
        if running:
            job_id = data.draw(st.sampled_from(running))
            if "class" not in self.world.jobs[job_id]:
                self.client.zadd(self.keys.ready, {job_id: 7})
                self.world.ready("")[job_id] = 7
                self.tampered.add(job_id)
                self.look_anew()

    @precondition(lambda self: self.tampering)
    @rule(job_id=ids)
    def somebody_deletes_a_live_record(self, job_id: str) -> None:
        job = self.world.jobs.get(job_id)
        if job and f"job:{job_id}" not in self.world.expiry and "class" not in job:
            self.client.delete(self.keys.job(job_id))
            self.world.forget_record(job_id)
            self.tampered.add(job_id)
            self.again, self.lasting = None, False
            self.look_anew()


def _outcome(do: Callable[[], object]) -> object:
    """A reply in a form that can be compared: the error's class, claims as plain fields."""
    try:
        reply = do()
    except TaskqError as error:
        return type(error).__name__
    if isinstance(reply, Claims):
        return (*reply[:5], [_job(job) for job in reply.jobs])
    if isinstance(reply, Held):
        return (reply.total, [_job(job) for job in reply.jobs], reply.ids)
    if isinstance(reply, commands.Beat):
        return reply._replace(cancels=sorted(reply.cancels))
    return reply


def _job(job: ClaimedJob | dict[str, str]) -> dict[str, str]:
    if isinstance(job, dict):
        return job
    return {name.decode(): value.decode() for name, value in job.fields.items()}
