"""One queue twice: on a real server and in the model. Every call is made on both, and all there is
is compared.

No Hypothesis here, and no single calls: tests/model/calls.py has them.
"""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import redis

from taskq.address import Address
from taskq.commands import Beat, Buried, Call, ClaimedJob, Claims, Held, Reaped
from taskq.errors import TaskqError
from taskq.keys import QueueKeys
from taskq.scripts import ScriptSet
from taskq.store_sync import SyncStore
from tests.model.invariants import check_features
from tests.model.snapshot import CLOCK, CLOCK_LUA, Snapshot, check_alone, check_step, look
from tests.model.world import START_US, World, alike

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
        self.ears: Any = self.client.pubsub(ignore_subscribe_messages=True)
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
        self.seen.update(name.partition(":")[0] for name in self.now.keys if name[:4] != "job:")
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
        check_features(self.before, self.now, self.world.now, self.tampered)
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
        return alike(job)
    return alike({name.decode(): value.decode() for name, value in job.fields.items()})


def _words(script: str, reply: object) -> Iterable[str]:
    """What a reply says, in words to count."""
    words: list[str] = []
    if isinstance(reply, str):
        words = [reply]
    elif isinstance(reply, dict):
        words = list(reply.values())
    elif isinstance(reply, (Reaped, Buried)):
        words = [word for _, word, _ in reply.jobs]
    elif script == "enqueue" and isinstance(reply, tuple):
        words = [str(reply[0])]
        if reply[0] == "OK":
            words = ["new"] * reply[2] + [word.split()[0] for _, word in reply[3]]
    elif isinstance(reply, Beat):
        words = ["asked"] * len(reply.cancels) + ["lapsed"] * reply.lapsed
        words += ["silent"] * bool(reply.silent)
    elif script in ("claim", "ack") and isinstance(reply, tuple):
        words = [reply[0], *reply[4].values(), *["job"] * len(reply[5])]
    elif script in ("promote", "purge") and isinstance(reply, tuple):
        words = ["job"] * reply[0]
    elif isinstance(reply, bool):
        words = [str(reply)]
    return ["calls", script, *(f"{script} {word}" for word in words)]
