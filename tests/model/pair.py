"""One queue twice: on a real server and in the model. Every call is made on both, and all there is
is compared.

No Hypothesis here: tests/model/machine.py draws what to do.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import redis

from taskq import commands
from taskq.address import Address
from taskq.commands import (
    Ack,
    Beat,
    Buried,
    Call,
    ClaimedJob,
    Claims,
    Enqueued,
    Failure,
    Held,
    NewJob,
    Place,
    Reaped,
)
from taskq.errors import TaskqError
from taskq.keys import QueueKeys, type_of_key
from taskq.scripts import ScriptSet
from taskq.store_sync import SyncStore
from tests.model import rules_jobs, rules_people, rules_workers
from tests.model.snapshot import (
    CLOCK,
    CLOCK_LUA,
    Snapshot,
    check_alone,
    check_claims,
    check_step,
    look,
)
from tests.model.world import DEAD_KEEP_MS, START_US, World

BEAT_MS = 60_000
EVERY_MS, GRACE_MS = 2_000, 2_500
#: No key may run out by the real clock in the middle of an example; virtual time removes it (see
#: `pass_time`).
LEAST_TTL_MS = 60_000


class Pair:
    """The queue and its model. `seen` counts what the server answered, over all examples."""

    socket: str
    folder: Path | None = None
    seen: ClassVar[Counter[str]]
    _sets: ClassVar[dict[Path | None, ScriptSet]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.client = redis.Redis(unix_socket_path=self.socket, protocol=2, socket_timeout=10)
        self.client.flushall()
        self.client.set(CLOCK, START_US)
        self.keys = QueueKeys("taskq", "q")
        if self.folder not in self._sets:
            self._sets[self.folder] = ScriptSet(self.folder, replace={"now_us": CLOCK_LUA})
        scripts = self._sets[self.folder]
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

    def teardown(self) -> None:
        self.ears.close()
        self.store.close()

    # One call, on both sides

    def agree(self, expected: Callable[[World], object], call: Call[Any]) -> object:
        """Make a call on the model and on the server; the replies and all keys must be the same."""
        return self.agree_on([expected], call)

    def agree_on(self, choices: Sequence[Callable[[World], object]], call: Call[Any]) -> object:
        """As `agree`, where the server is free to do one of several things."""
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
        self.seen.update(_words(call.script, actual))
        return actual

    def compare(self) -> None:
        expected, actual = self.world.keyspace(), self.now.keys
        for key in sorted(expected.keys() | actual.keys()):
            assert actual.get(key) == expected.get(key), (
                f"{key} is {actual.get(key)}, the model says {expected.get(key)}"
            )
        lives, expected_lives = sorted(self.now.ttl), sorted(self.world.expiry)
        assert lives == expected_lives, f"{lives} have a TTL, the model says {expected_lives}"
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
        assert sorted(heard) == sorted(self.world.told), f"told {heard}, not {self.world.told}"
        self.world.told.clear()

    def look_anew(self) -> None:
        """After something that was no call: a key ran out, or somebody wrote by hand."""
        self.now = look(self.client, self.keys.prefix)
        self.world.tidy()
        self.compare()
        self.world.now_us += 1

    def unchanged(self) -> None:
        """The last call wrote nothing at all."""
        assert self.now.keys == self.before.keys, "a refused call, or a look, wrote something"

    def repeatable(self, call: Callable[[], object], *, lasting: bool = False) -> None:
        """Make a call, and remember it as one that may be sent again and must not count again: at
        once, or (`lasting`) at any later time, because its token is used up.
        """
        self.lasting = False
        call()
        self.again, self.lasting = call, lasting

    # Time

    def pass_time(self, ms: int) -> None:
        """Turn the clock. Keys whose life is over go; the others get what is left to them, or a
        minute.
        """
        over = self.world.pass_time(ms)
        with self.client.pipeline() as pipe:
            pipe.set(CLOCK, self.world.now_us)
            for key in over:
                pipe.delete(self.keys.prefix + key)
            self.set_lives(pipe, self.world)
            pipe.execute()
        if over and not self.lasting:
            self.again = None
        self.before = self.now
        self.look_anew()

    def set_lives(self, pipe: Any, world: World) -> None:
        for key, at in world.expiry.items():
            pipe.pexpire(self.keys.prefix + key, max(LEAST_TTL_MS, at - world.now))

    # The calls, named after their scripts

    def enqueue(self, jobs: list[NewJob], max_jobs: int, strict: bool) -> None:
        jobs = [job._replace(job_class="") if job.id in self.tampered else job for job in jobs]
        reply = self.agree(
            lambda world: rules_jobs.enqueue(world, jobs, max_jobs, strict),
            commands.enqueue(self.keys, jobs, max_jobs=max_jobs, all_or_none=strict),
        )
        if isinstance(reply, str):
            self.unchanged()

    def heartbeat(self, worker: str) -> None:
        self.agree(
            lambda world: rules_workers.heartbeat(world, worker, BEAT_MS),
            commands.heartbeat(
                self.keys,
                worker,
                ttl_ms=BEAT_MS,
                rss=rules_workers.RSS,
                slots=rules_workers.SLOTS,
            ),
        )

    def retire(self, worker: str) -> None:
        held = self.agree(
            lambda world: rules_workers.retire(world, worker), commands.retire(self.keys, worker)
        )
        if held:
            self.unchanged()

    def claim(self, worker: str, limit: int, slots: dict[str, int], keep: int) -> None:
        look = 1 + limit % 3
        claims = self.agree(
            lambda world: rules_workers.claim(world, worker, keep, limit, slots, look),
            commands.claim(self.keys, worker, keep_ms=keep, limit=limit, slots=slots, look=look),
        )
        self.note_claims(claims, worker, limit, slots)

    def note_claims(self, claims: Any, worker: str, limit: int, slots: dict[str, int]) -> None:
        self.leases += [(job["id"], worker, job["token"]) for job in claims[5]]
        check_claims(self.before, self.now, claims, limit, slots)

    def ack(
        self,
        worker: str,
        acks: list[Ack],
        keep: int,
        done_max: int,
        limit: int,
        slots: dict[str, int],
    ) -> None:
        look = 1 + limit % 3
        claims: Any = self.agree(
            lambda world: rules_workers.ack(
                world, worker, acks, keep, done_max, limit, slots, look
            ),
            commands.ack(
                self.keys,
                worker,
                acks,
                keep_ms=keep,
                done_max=done_max,
                limit=limit,
                slots=slots,
                look=look,
            ),
        )
        if limit:
            self.note_claims(claims, worker, limit, slots)
        elif len(claims[4]) == len(acks):
            self.unchanged()

    def fail(self, worker: str, failures: list[Failure], dead_max: int, keep: int) -> None:
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

    def release(self, worker: str, jobs: list[tuple[str, str, str]], keep: int) -> None:
        words: Any = self.agree(
            lambda world: rules_workers.release(world, worker, jobs, keep),
            commands.release(self.keys, worker, jobs, keep_ms=keep),
        )
        if len(words) == len(jobs) and set(words.values()) <= {"STALE", "GONE"}:
            self.unchanged()

    def progress(self, lease: tuple[str, str, str], fraction: float) -> None:
        job_id, worker, token = lease
        word = self.agree(
            lambda world: rules_workers.progress(world, job_id, token, worker, fraction, "note"),
            commands.progress(self.keys, job_id, token, worker, fraction, "note"),
        )
        if word != "OK":
            self.unchanged()

    def audit(self) -> None:
        """What the scripts leave is well, in the eyes of the doctor, and repair leaves it alone."""
        places = []
        for name, content in self.now.keys.items():
            if name.startswith("job:"):
                places.append(Place(b"job", name.removeprefix("job:").encode()))
                continue
            kind = type_of_key(name.encode())
            places.append(Place((kind or "stray").encode(), name.encode()))
            if isinstance(content, dict) and (kind == "zset" or name in ("meta", "suspects")):
                places += [Place(name.encode(), member.encode()) for member in content]
        assert len(places) <= 100
        self.agree(lambda world: [], commands.audit(self.keys, places))
        call = commands.repair(self.keys, places, keep_ms=1, dead_keep_ms=1, alive_ms=1)
        self.agree(lambda world: [], call)
        self.unchanged()

    def held(self, worker: str) -> None:
        self.agree(
            lambda world: rules_workers.held(world, worker), commands.held(self.keys, worker)
        )
        self.unchanged()

    def promote(self, limit: int) -> None:
        now_ms = self.world.now
        self.agree(
            lambda world: rules_jobs.promote(world, limit), commands.promote(self.keys, limit)
        )
        for name in ("scheduled", "retry"):
            for job_id, due in self.before.index(name).items():
                assert due <= now_ms or job_id in self.now.index(name), f"{job_id}: too early"

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

    def bury(self, worker: str, max_crashes: int, dead_max: int, keep: int, limit: int) -> None:
        if self.tampering:
            max_crashes = 99
        self.agree(
            lambda world: rules_jobs.bury(
                world, worker, "killed", max_crashes, dead_max, keep, limit
            ),
            commands.bury(
                self.keys,
                worker,
                "killed",
                max_crashes=max_crashes,
                dead_keep_ms=DEAD_KEEP_MS,
                dead_max=dead_max,
                keep_ms=keep,
                limit=limit,
            ),
        )

    def cancel(self, job_id: str, keep: int, token: str, worker: str) -> None:
        reply = self.agree(
            lambda world: rules_people.cancel(world, job_id, keep, token, worker),
            commands.cancel(self.keys, job_id, keep_ms=keep, token=token, worker=worker),
        )
        if isinstance(reply, str):
            self.unchanged()

    def revive(self, job_ids: list[str]) -> None:
        self.agree(
            lambda world: rules_people.revive(world, job_ids), commands.revive(self.keys, job_ids)
        )

    def forget(self, job_ids: list[str]) -> None:
        self.agree(
            lambda world: rules_people.forget(world, job_ids), commands.forget(self.keys, job_ids)
        )

    def purge(self, index: str, limit: int) -> None:
        self.agree(
            lambda world: rules_people.purge(world, index, limit),
            commands.purge(self.keys, index, limit),
        )

    def pause(self) -> None:
        self.agree(rules_people.pause, commands.pause(self.keys))

    def resume(self) -> None:
        self.agree(rules_people.resume, commands.resume(self.keys))

    def configure(self, settings: dict[str, str]) -> None:
        self.agree(
            lambda world: rules_people.configure(world, settings),
            commands.configure(self.keys, settings),
        )

    def watch(self, job_id: str, client: str) -> None:
        channel = client and self.keys.ended_channel(client)
        self.agree(
            lambda world: rules_people.watch(world, job_id, channel),
            commands.watch(self.keys, job_id, channel),
        )

    def stats(self) -> None:
        self.agree(rules_people.stats, commands.stats(self.keys))
        self.unchanged()


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
    if isinstance(reply, Beat):
        return reply._replace(cancels=sorted(reply.cancels))
    return reply


def _job(job: ClaimedJob | dict[str, str]) -> dict[str, str]:
    if isinstance(job, dict):
        return job
    return {name.decode(): value.decode() for name, value in job.fields.items()}


def _words(script: str, reply: object) -> Iterable[str]:
    """What a reply says, in words to count."""
    words: list[str] = []
    if isinstance(reply, str):
        words = [reply]
    elif isinstance(reply, dict):
        words = list(reply.values())
    elif isinstance(reply, (Reaped, Buried)):
        words = [word for _, word, _ in reply.jobs]
    elif isinstance(reply, Enqueued):
        words = ["new"] * reply.created + ["DUP"] * len(reply.duplicates)
        words += ["CONFLICT"] * len(reply.conflicts)
    elif isinstance(reply, Beat):
        words = ["asked"] * len(reply.cancels) + ["lapsed"] * reply.lapsed
    elif script in ("claim", "ack") and isinstance(reply, tuple):
        words = [reply[0], *reply[4].values(), *["job"] * len(reply[5])]
    elif script in ("promote", "purge") and isinstance(reply, tuple):
        words = ["job"] * reply[0]
    elif isinstance(reply, bool):
        words = [str(reply)]
    return ["calls", script, *(f"{script} {word}" for word in words)]
