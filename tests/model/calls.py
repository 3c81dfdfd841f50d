"""The calls, named after their scripts: each is made on the server and on the model.

No Hypothesis here: tests/model/machine.py draws what to do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from taskq import commands
from taskq.commands import Ack, Call, Claims, Failure, Measure, NewJob, Place, Stored
from taskq.keys import type_of_key
from tests.model import (
    rules_claim,
    rules_cron,
    rules_enqueue,
    rules_jobs,
    rules_limits,
    rules_order,
    rules_people,
    rules_workers,
)
from tests.model.invariants import check_claims
from tests.model.pair import Pair
from tests.model.rules_claim import Wish
from tests.model.world import DEAD_KEEP_MS, Record, World

BEAT_MS = 60_000
EVERY_MS, GRACE_MS = 2_000, 2_500


class Calls(Pair):
    """What can be done to a queue."""

    def enqueue(self, jobs: list[NewJob], max_jobs: int, strict: bool) -> None:
        jobs = [job._replace(job_class="") if job.id in self.tampered else job for job in jobs]
        call = commands.enqueue(self.keys, jobs, max_jobs=max_jobs, all_or_none=strict)
        reply: Any = self.agree(
            lambda world: rules_enqueue.enqueue(world, jobs, max_jobs, strict),
            Call(call.script, call.keys, call.args, _enqueued),
        )
        if reply[0] != "OK":
            self.unchanged()

    def heartbeat(
        self, worker: str, told: int = 0, measures: Sequence[Measure] = (), looks: bool = False
    ) -> None:
        every_ms = EVERY_MS if looks else 0
        self.agree(
            lambda world: rules_workers.heartbeat(world, worker, BEAT_MS, told, measures, every_ms),
            commands.heartbeat(
                self.keys,
                worker,
                ttl_ms=BEAT_MS,
                rss=rules_workers.RSS,
                slots=rules_workers.SLOTS,
                told=told,
                measures=measures,
                every_ms=every_ms,
            ),
        )

    def limit(
        self,
        definitions: Record,
        *,
        gently: bool = False,
        again: bool = False,
        strike: str = "",
    ) -> None:
        self.agree(
            lambda world: rules_limits.limit(
                world, definitions, gently=gently, again=again, strike=strike
            ),
            commands.limit(self.keys, definitions, gently=gently, again=again, strike=strike),
        )

    def schedule(self, name: str, seen: Stored, definition: str, due_ms: int | None) -> None:
        self.agree(
            lambda world: rules_cron.schedule(world, name, seen, definition, due_ms),
            commands.schedule(self.keys, name, seen=seen, definition=definition, due_ms=due_ms),
        )

    def retire(self, worker: str) -> None:
        held = self.agree(
            lambda world: rules_workers.retire(world, worker), commands.retire(self.keys, worker)
        )
        if held:
            self.unchanged()

    def claim(self, worker: str, wish: Wish) -> None:
        call = commands.claim(
            self.keys,
            worker,
            keep_ms=wish.keep_ms,
            limit=wish.limit,
            slots=wish.slots,
            look=wish.look,
        )
        claims = self.agree(
            lambda world: rules_claim.claim(world, worker, wish), _with_room(call, wish)
        )
        self.note_claims(claims, worker, wish)

    def note_claims(self, claims: Any, worker: str, wish: Wish) -> None:
        self.leases += [(job["id"], worker, job["token"]) for job in claims[5]]
        check_claims(self.before, self.now, claims, wish)

    def ack(self, worker: str, acks: list[Ack], done_max: int, wish: Wish) -> None:
        call = commands.ack(
            self.keys,
            worker,
            acks,
            keep_ms=wish.keep_ms,
            done_max=done_max,
            limit=wish.limit,
            slots=wish.slots,
            look=wish.look,
        )
        claims: Any = self.agree(
            lambda world: rules_claim.ack(world, worker, acks, done_max, wish),
            _with_room(call, wish),
        )
        if wish.limit:
            self.note_claims(claims, worker, wish)
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
        # The server goes through the classes in an order of its own, which a fair queue shows.
        turned = [name for name in self.world.classes if self.world.index(f"turned:{name}")]
        orders = itertools.permutations(sorted(turned)) if len(turned) < 4 else [turned]

        def choice(order: Sequence[str]) -> Callable[[World], object]:
            return lambda world: rules_jobs.promote(world, limit, order)

        self.agree_on([choice(order) for order in orders], commands.promote(self.keys, limit))
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
            lambda world: rules_order.configure(world, settings),
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


def _enqueued(reply: list[Any]) -> tuple[object, ...]:
    """The words of the script as they are, paired."""
    words = [word.decode() if isinstance(word, bytes) else word for word in reply]
    if words[0] != "OK":
        return tuple(words)
    odd = list(zip(words[3::2], words[4::2], strict=True))
    return ("OK", int(words[1]), words[2], odd)


def _with_room(call: Call[Claims], wish: Wish) -> Call[Claims]:
    """The same, and how many slots the worker has in all."""
    if wish.room is None:
        return call
    args = [*call.args, 1] if wish.look == 1 else list(call.args)
    return Call(call.script, call.keys, [*args, wish.room], call.parse)
