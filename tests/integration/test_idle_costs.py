"""What a worker with nothing to do sends, counted by command; and that what it does not ask for
any more still reaches it.

The bound of one command a second, with default settings, is kept by proportion: here beats and
waits come ten times as often, and commands are counted by beat and by wait. One that somebody adds,
or that comes more often than it did, fails this.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis

from taskq import TaskQ, commands
from taskq.commands import Call
from taskq.errors import StoreUnavailable
from taskq.keys import QueueKeys, SharedKeys
from taskq.scripts import ScriptSet
from taskq.settings import Settings
from taskq.worker import heart, upkeep
from tests.helpers import eventually
from tests.integration.conftest import MakeApp
from tests.integration.workers import idle, working
from tests.servers import Server

#: Heartbeats that are watched: the roster is told at every fifth.
BEATS = 20
HEARTBEAT, BLOCK = 0.2, 1.0

#: A line of MONITOR: time, where from, the command, and for a script its digest.
SAID = re.compile(rb'^(\d+\.\d+) \[\d+ (\S+)\] "([^"]*)"(?: "([0-9a-f]{40})")?')


class Heard:
    """Commands that reached a server from one heartbeat to another, the last not counted; a call of
    a script goes by the script's name.
    """

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.inside: Counter[str] = Counter()
        self.seconds = 0.0


class Monitor:
    """Hears all that reaches a server from now on."""

    def __init__(self, server: Server) -> None:
        self._client: Any = redis.Redis.from_url(server.url)
        self._connection = self._client.connection_pool.make_connection()
        self._connection.connect()
        self._connection.send_command("MONITOR")
        self._connection.read_response()
        scripts = ScriptSet()
        self._names = {scripts.get(name).sha: name for name in scripts.names()}

    def listen(self, beats: int) -> Heard:
        """Blocks until so many heartbeats and one more were heard."""
        heard, began = Heard(), 0.0
        while heard.sent["heartbeat"] < beats:
            line = self._connection.read_response()
            found = SAID.match(line if isinstance(line, bytes) else line.encode())
            if not found:
                continue
            at, where, command, digest = found.groups()
            name = self._names.get((digest or b"").decode(), command.decode().lower())
            if not began and (where == b"lua" or name != "heartbeat"):
                continue
            began = began or float(at)
            heard.seconds = float(at) - began
            (heard.inside if where == b"lua" else heard.sent)[name] += 1
        return heard

    def close(self) -> None:
        self._connection.disconnect()
        self._client.close()


def with_a_task(app: TaskQ) -> TaskQ:
    @app.task
    async def noop() -> None: ...

    return app


@pytest.mark.parametrize("workers", [1, 3])
async def test_an_idle_worker_sends_at_most_a_command_a_second(
    server: Server, make_app: MakeApp, workers: int
) -> None:
    """However many there are, each sends as much: nobody asks whether the others live."""
    short = {"heartbeat": HEARTBEAT, "heartbeat_ttl": 30.0, "grace": 6.0, "block": BLOCK}
    async with AsyncExitStack() as stack:
        for _ in range(workers):
            app = await stack.enter_async_context(with_a_task(make_app(**short)))
            worker = await stack.enter_async_context(working(app))
            await idle(worker)
        # What only a worker that starts does is over when it has slept once and looked again.
        first = worker.pump.asked_at
        await eventually(lambda: worker.pump.asked_at > first, timeout=10 * BLOCK + 10)
        monitor = Monitor(server)
        stack.callback(monitor.close)
        heard = await asyncio.to_thread(monitor.listen, BEATS)
    sent, waits = heard.sent, workers * (heard.seconds / BLOCK + 1)
    tellings = BEATS / heart.ROSTER_EVERY + workers - 1
    assert set(sent) <= {"heartbeat", "hset", "pexpire", "blpop", "claim"}, sent
    assert max(sent["hset"], sent["pexpire"]) <= tellings, sent
    assert sent["blpop"] <= waits, sent
    assert sent["claim"] <= waits, sent
    # 11 a beat, 2 to 4 when it looks at the others (at every 0.75th beat of all), 11 a claim.
    assert sum(heard.inside.values()) <= 15 * BEATS + 11 * sent["claim"], heard.inside


def test_with_default_settings_that_is_a_command_a_second() -> None:
    """The sum of what the test above allows, and of what comes once a minute."""
    default = Settings()
    with_beats = (1 + 2 / heart.ROSTER_EVERY) / default.heartbeat
    now_and_then = 1 / upkeep.CLASSES_EVERY + 1 / heart.LISTED_EVERY
    assert with_beats + 2 / default.block + now_and_then <= 1.0


async def test_a_worker_that_nobody_wakes_hears_of_a_new_class_with_its_heartbeat(
    make_app: MakeApp, raw: redis.Redis, namespace: str
) -> None:
    app = with_a_task(make_app(provides=("gpu",), heartbeat=0.1))
    async with app, working(app) as worker:
        await idle(worker)
        raw.sadd(QueueKeys(namespace, "default").classes, "gpu")
        await eventually(lambda: "gpu" in worker.pump.classes["default"])


async def test_a_worker_without_news_looks_for_classes_now_and_then(
    make_app: MakeApp, raw: redis.Redis, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody exchanged one for another, so that their number tells nothing."""
    classes = QueueKeys(namespace, "default").classes
    raw.sadd(classes, "other")
    app = with_a_task(make_app(provides=("gpu",), heartbeat=0.1))
    async with app, working(app) as worker:
        await idle(worker)
        await eventually(lambda: worker.heart._beats > 2)
        raw.eval(
            "redis.call('SREM', KEYS[1], 'other') redis.call('SADD', KEYS[1], 'gpu')", 1, classes
        )
        assert "gpu" not in worker.pump.classes["default"]
        monkeypatch.setattr(upkeep, "CLASSES_EVERY", 0.1)
        await eventually(lambda: "gpu" in worker.pump.classes["default"])


@pytest.mark.parametrize("lost", ["all", "the list"])
async def test_a_worker_that_fell_off_the_roster_is_on_it_again(
    make_app: MakeApp,
    raw: redis.Redis,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
) -> None:
    if lost == "the list":
        monkeypatch.setattr(heart, "LISTED_EVERY", 0.3)
    shared = SharedKeys(namespace)
    app = with_a_task(make_app(heartbeat=0.1))
    async with app, working(app) as worker:
        await eventually(lambda: raw.zscore(shared.workers, worker.id))
        if lost == "all":
            raw.delete(shared.worker(worker.id))
        raw.delete(shared.workers)
        await eventually(lambda: raw.zscore(shared.workers, worker.id))


async def test_what_a_beat_told_is_seen_to_although_redis_refused_at_first(
    make_app: MakeApp, raw: redis.Redis, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One beat may tell of a silent worker; nobody repeats it once a pass was made."""
    app = with_a_task(make_app(heartbeat=0.1))
    asked: list[str] = []
    async with app, working(app) as worker:
        await idle(worker)
        really = worker.store.run

        async def run(call: Call[Any], *, tries: int = 1) -> Any:
            asked.append(call.script)
            if call.script == "reap" and asked.count("reap") == 1:
                raise StoreUnavailable("away")
            return await really(call, tries=tries)

        monkeypatch.setattr(worker.store, "run", run)
        worker.upkeep.hear(worker.lines[0], commands.Beat(0, False, 0, [], silent=1))
        await eventually(lambda: asked.count("reap") == 2)
        # Nobody is silent in fact: that was the last call.
        beats = worker.heart._beats
        await eventually(lambda: worker.heart._beats > beats + 5)
        assert asked.count("reap") == 2


async def test_a_worker_that_died_is_found_by_the_beats_of_the_others(
    make_app: MakeApp, raw: redis.Redis, namespace: str
) -> None:
    """One that says nothing and holds a job: it is a suspect, then its job is ready again."""
    keys = QueueKeys(namespace, "default")
    app = with_a_task(make_app(heartbeat=0.1, grace=0.3))
    async with app, working(app) as worker:
        await idle(worker)
        raw.hset(
            keys.job("a"),
            mapping={
                "state": "running",
                "task": "noop",
                "payload": b"\x92\x90\x80",
                "worker": "gone",
                "token": 1,
                "enqueued_ms": 1,
            },
        )
        raw.zadd(keys.running("gone"), {"a": 1})
        raw.sadd(keys.holders, "gone")
        await eventually(lambda: not raw.sismember(keys.holders, "gone"))
        await eventually(lambda: raw.hget(keys.job("a"), "crashes") == b"1")
        await eventually(lambda: not raw.hlen(keys.suspects))
