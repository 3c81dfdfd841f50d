"""A queue on a server, with a clock that the test turns, for tests of one script at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

import redis

from taskq import commands
from taskq.address import Address
from taskq.commands import Ack, Call, ClaimedJob, Claims, Failure, NewJob
from taskq.keys import QueueKeys
from taskq.scripts import ScriptSet
from taskq.store_sync import SyncStore
from tests.helpers import Entry, a_hash, dump_queue

T = TypeVar("T")

#: Where the clock of every test stands at first, Unix ms.
START = 1_700_000_000_000
#: The minute hash of START, without the queue's prefix.
MINUTE = f"stats:{START // 60_000}"
#: The clock stands so many µs after a ms: what is rounded where it must be cut off is noticed.
MICRO = 700
WORKER = "w1"
KEEP = 600_000
DEAD_KEEP = 7 * 86_400_000
_CLOCK = """
local function now_us()
  return tonumber(redis.call('GET', '%s'))
end
"""


@dataclass(kw_only=True)
class Engine:
    """One queue. Times are ms since Unix began; `client` seeds and looks with raw commands."""

    client: redis.Redis
    keys: QueueKeys
    kind: str
    store: SyncStore = field(init=False)
    scripts: ScriptSet = field(init=False)

    def __post_init__(self) -> None:
        # Outside the queue's prefix, inside its hash tag: no part of what is compared.
        self.clock_key = f"{self.keys.namespace}:clock:{{{self.keys.queue}}}"
        self.scripts = ScriptSet(
            replace={"now_us": _CLOCK % self.clock_key}, shebang=self.kind != "fake"
        )
        self.store = self.store_for(self.client)
        self.now = START

    def store_for(self, client: redis.Redis, scripts: ScriptSet | None = None) -> SyncStore:
        """A store with this engine's clock over another client."""
        return SyncStore(Address(host=self.kind), scripts=self.scripts, client=client)

    @property
    def now(self) -> int:
        """The server's clock, ms."""
        return self._now

    @now.setter
    def now(self, ms: int) -> None:
        self._now = ms
        self.client.set(self.clock_key, ms * 1000 + MICRO)

    def run(self, call: Call[T]) -> T:
        return self.store.run(call)

    def raw(self, call: Call[Any]) -> Any:
        """The reply as the script gave it."""
        return self.store.run(Call(call.script, call.keys, call.args, lambda reply: reply))

    def dump(self) -> dict[str, Entry]:
        """The whole keyspace of the queue."""
        return dump_queue(self.client, self.keys.prefix)

    def changed(self, before: dict[str, Entry]) -> dict[str, Entry | None]:
        """What is different from `before` in the whole keyspace; None: the key is gone."""
        after = self.dump()
        names = {*before, *after}
        return {n: after.get(n) for n in sorted(names) if before.get(n) != after.get(n)}

    def ttl(self, name: str) -> int:
        """Life left of a key of the queue, ms; -1 for ever, -2 no such key."""
        left: int = self.client.pttl(self.keys.prefix + name)  # type: ignore[assignment]
        return left

    # Seeding with raw commands.

    def seed_job(self, job_id: str, state: str, **fields: object) -> None:
        """A job's hash, and nothing else."""
        words = {"state": state, "task": "t", "payload": "p", "enqueued_ms": START, **fields}
        self.client.hset(self.keys.job(job_id), mapping={n: str(v) for n, v in words.items()})

    def seed_ready(
        self, job_id: str, rank: float = 1.0, job_class: str = "", **fields: object
    ) -> None:
        if job_class:
            fields["class"] = job_class
        self.seed_job(job_id, "ready", **fields)
        self.client.zadd(self.keys.ready_of(job_class), {job_id: rank})

    def seed_parked(
        self, job_id: str, instance: str, rank: float = 1.0, due: float = inf, **fields: object
    ) -> None:
        """A job that a limit blocks; its timer, as the claim that parked it left it."""
        words = {"rank": f"{rank:.17g}", "blocked_by": instance, "awaits": instance, "tied": 1}
        self.seed_job(job_id, "blocked", **words, **fields)
        prefix = self.keys.prefix
        self.client.zadd(prefix + "blocked", {job_id: rank})
        self.client.zadd(f"{prefix}parked:{instance}", {job_id: rank})
        self.client.zadd(self.keys.timers, {f"limit:{instance}": due})
        self.client.hset(self.keys.meta, "blocked", self.client.zcard(prefix + "blocked"))

    def seed_due(self, state: str, job_id: str, due_ms: int, **fields: object) -> None:
        """A job in `scheduled` or `retry`."""
        self.seed_job(job_id, state, **fields)
        self.client.zadd(self.keys.prefix + state, {job_id: due_ms})

    def seed_running(
        self,
        job_id: str,
        *,
        token: object = 7,
        worker: str = WORKER,
        rank: object = 5,
        **fields: object,
    ) -> None:
        self.seed_job(
            job_id, "running", token=token, worker=worker, rank=rank, started_ms=START, **fields
        )
        self.client.zadd(self.keys.running(worker), {job_id: START})

    def seed_ended(
        self, job_id: str, state: str, *, at: int = START, keep: int = KEEP, **fields: object
    ) -> None:
        self.seed_job(job_id, state, ended_ms=at, **fields)
        self.client.pexpire(self.keys.job(job_id), keep)
        index = self.keys.dead if state == "dead" else self.keys.done
        self.client.zadd(index, {job_id: at})
        self.client.pexpire(index, keep)

    def seed_alive(self, worker: str = WORKER) -> None:
        self.client.set(self.keys.alive(worker), START, px=60_000)
        self.client.sadd(self.keys.holders, worker)

    def limit(self, **definitions: str) -> None:
        """Limits of the queue, as operators set them."""
        self.run(commands.limit(self.keys, definitions))

    def state(self, job_id: str) -> str | None:
        """What a job's record says."""
        word = self.client.hget(self.keys.job(job_id), "state")
        return word.decode() if word else None  # type: ignore[union-attr]

    def held(self, instance: str) -> set[str]:
        """Who takes a place under a limit."""
        found = self.client.smembers(f"{self.keys.prefix}holding:{instance}")
        return {name.decode() for name in found}  # type: ignore[union-attr]

    def parked(self, instance: str) -> list[str]:
        """Whom a limit blocks, best rank first."""
        found = self.client.zrange(f"{self.keys.prefix}parked:{instance}", 0, -1)
        return [name.decode() for name in found]  # type: ignore[union-attr]

    # The calls, with what most tests do not care about filled in.

    def enqueue(self, *jobs: NewJob, max_jobs: int = 1000, all_or_none: bool = False) -> Any:
        return self.run(
            commands.enqueue(self.keys, jobs, max_jobs=max_jobs, all_or_none=all_or_none)
        )

    def claim_call(
        self,
        limit: int = 10,
        slots: dict[str, int] | None = None,
        worker: str = WORKER,
        look: int = 1,
        all_slots: int | None = None,
    ) -> Call[Claims]:
        slots = {"": limit} if slots is None else slots
        return commands.claim(
            self.keys,
            worker,
            keep_ms=KEEP,
            limit=limit,
            slots=slots,
            look=look,
            all_slots=all_slots,
        )

    def claim(
        self,
        limit: int = 10,
        slots: dict[str, int] | None = None,
        worker: str = WORKER,
        look: int = 1,
        all_slots: int | None = None,
    ) -> Claims:
        return self.run(self.claim_call(limit, slots, worker, look, all_slots))

    def ack_call(
        self,
        *acks: Ack,
        limit: int = 0,
        slots: dict[str, int] | None = None,
        worker: str = WORKER,
        done_max: int = 1000,
        look: int = 1,
        all_slots: int | None = None,
    ) -> Call[Claims]:
        return commands.ack(
            self.keys,
            worker,
            acks,
            keep_ms=KEEP,
            done_max=done_max,
            limit=limit,
            slots={"": limit} if slots is None else slots,
            look=look,
            all_slots=all_slots,
        )

    def ack(self, *acks: Ack, **words: Any) -> Claims:
        return self.run(self.ack_call(*acks, **words))

    def fail_call(
        self,
        *failures: Failure,
        worker: str = WORKER,
        dead_max: int = 1000,
        dead_keep_ms: int = DEAD_KEEP,
    ) -> Call[dict[str, str]]:
        return commands.fail(
            self.keys,
            worker,
            failures,
            dead_keep_ms=dead_keep_ms,
            dead_max=dead_max,
            keep_ms=KEEP,
        )

    def fail(self, *failures: Failure, **words: Any) -> dict[str, str]:
        return self.run(self.fail_call(*failures, **words))

    def release(
        self, *jobs: tuple[str, str, str], worker: str = WORKER, keep_ms: int = KEEP
    ) -> dict[str, str]:
        return self.run(commands.release(self.keys, worker, jobs, keep_ms=keep_ms))

    def cancel_raw(
        self, job_id: str, *, token: str = "", worker: str = "", keep_ms: int = KEEP
    ) -> list[bytes]:
        call = commands.cancel(self.keys, job_id, keep_ms=keep_ms, token=token, worker=worker)
        reply: list[bytes] = self.raw(call)
        return reply

    def reap_call(self, **words: int) -> Call[commands.Reaped]:
        settings = {
            "every_ms": 1000,
            "grace_ms": 2500,
            "max_crashes": 3,
            "dead_keep_ms": DEAD_KEEP,
            "dead_max": 1000,
            "keep_ms": KEEP,
            **words,
        }
        return commands.reap(self.keys, **settings)

    def reap(self, **words: int) -> commands.Reaped:
        return self.run(self.reap_call(**words))

    def bury_call(self, worker: str = WORKER, **words: int) -> Call[commands.Buried]:
        settings = {
            "max_crashes": 3,
            "dead_keep_ms": DEAD_KEEP,
            "dead_max": 1000,
            "keep_ms": KEEP,
            **words,
        }
        return commands.bury(self.keys, worker, "killed by SIGKILL", **settings)

    def bury(self, worker: str = WORKER, **words: int) -> commands.Buried:
        return self.run(self.bury_call(worker, **words))

    def lose(self, *workers: str) -> None:
        """Make `workers` holders whose suspicion is old enough, just before a pass of reap."""
        self.client.sadd(self.keys.holders, *workers)
        suspects = dict.fromkeys(workers, self.now - 10_000)
        self.client.hset(self.keys.suspects, mapping=suspects)
        self.client.hset(self.keys.meta, "reaped_ms", self.now - 1000)


def ids(jobs: Iterable[ClaimedJob]) -> list[str]:
    return [job.id for job in jobs]


def failure(job_id: str, token: str = "7", after_ms: int | None = 1000) -> Failure:
    return Failure(job_id, token, after_ms, "error", "ValueError: no", "Traceback")


def job(state: str, *, ttl: bool = False, **fields: object) -> Entry:
    """The hash of a job as `seed_job` makes it, with these fields besides."""
    return a_hash(
        {"state": state, "task": "t", "payload": "p", "enqueued_ms": START, **fields}, ttl=ttl
    )


def counted(**amounts: int) -> dict[str, Entry]:
    """The counters of a queue that counted only this, all at START. `claimed` has no minute."""
    minute = {name: amount for name, amount in amounts.items() if name != "claimed"}
    entries = {"stats": a_hash(amounts)}
    if minute:
        entries[MINUTE] = a_hash(minute, ttl=True)
    return entries
