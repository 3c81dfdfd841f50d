"""Schedules on real servers: every worker fires, each tick is enqueued once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from taskq import Context, TaskQ, commands
from taskq.commands import NewJob
from taskq.cron.steps import put
from taskq.errors import (
    InvalidOption,
    ScheduleNotFound,
    StoreUnavailable,
    WrongState,
)
from taskq.keys import QueueKeys
from taskq.partition import partition_names
from taskq.store import Store
from taskq.worker.line import Line
from taskq.worker.worker import Worker
from tests.helpers import eventually
from tests.integration.conftest import MakeApp
from tests.integration.workers import idle, worker_process, working
from tests.servers import Server
from tests.topologies import cluster


@pytest.fixture(autouse=True)
def cleared(request: pytest.FixtureRequest) -> Iterator[None]:
    """Schedules stay until somebody removes them."""
    yield
    if "server" not in request.fixturenames:
        return
    namespace = request.getfixturevalue("namespace")
    with contextlib.closing(request.getfixturevalue("server").client()) as client:
        # And what ticked while the last worker of the test stopped has not been run.
        for ready in client.keys(f"{namespace}:*:ready"):
            base = ready.decode().removesuffix("ready")
            jobs = [f"{base}job:{one.decode()}" for one in client.zrange(ready, 0, -1)]
            client.unlink(ready, *jobs, *client.keys(f"{base}unique:*"))
        for family in ("schedules", "timers"):
            for key in client.keys(f"{namespace}:*:{family}"):
                client.unlink(key)


def keys_of(app: TaskQ, queue: str = "default") -> QueueKeys:
    return QueueKeys(app.settings.namespace, queue)


def job_ids(raw: redis.Redis, keys: QueueKeys) -> list[str]:
    """Of all jobs of a queue, sorted."""
    return sorted(key.decode().removeprefix(keys.job("")) for key in raw.keys(keys.job("*")))  # type: ignore[union-attr]


def instants(ids: list[str]) -> list[int]:
    """The times in ids of ticks, Unix s."""
    form = "%Y%m%dT%H%M%S%z"
    words = [one.rsplit("-", 1)[1].replace("Z", "+0000") for one in ids]
    return [round(datetime.strptime(word, form).timestamp()) for word in words]


def make_late(raw: redis.Redis, keys: QueueKeys, name: str, seconds: int) -> None:
    """Let the next tick have been due that long before it will be: nobody fired it."""
    due = raw.zincrby(keys.timers, -seconds * 1000, f"cron:{name}")
    raw.hset(keys.meta, "timer_ms", f"{due:.0f}")


def a_task(app: TaskQ) -> tuple[Any, list[str]]:
    """A task that notes the ids of its jobs."""
    ran: list[str] = []

    @app.task
    async def note(ctx: Context, word: str = "") -> str:
        ran.append(ctx.job_id)
        return word

    return note, ran


async def test_three_workers_fire_each_tick_once(app: TaskQ, raw: redis.Redis) -> None:
    note, ran = a_task(app)
    app.every(1, missed="all", args=["x"])(note)

    async with app, working(app), working(app), working(app):
        await eventually(lambda: len(ran) >= 4, timeout=30)

    seconds = instants(sorted(ran))
    assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))
    assert set(ran) <= set(job_ids(raw, keys_of(app)))


async def test_of_many_connections_that_fire_a_tick_at_once_one_enqueues_it(
    server: Server, app: TaskQ, raw: redis.Redis
) -> None:
    """Also when they would enqueue it under different ids."""
    keys, stores = keys_of(app), [Store(server.address) for _ in range(30)]
    for store in stores:
        await store.connect()
    for due in range(1000, 21_000, 1000):
        raw.zadd(keys.timers, {"cron:night": due})
        calls = [
            commands.enqueue(
                keys,
                [NewJob(f"{due}-{n % 3}", "t", b"", extras=("@tick", f"night {due} {due + 1000}"))],
                max_jobs=10**6,
                all_or_none=False,
            )
            for n in range(len(stores))
        ]

        done = await asyncio.gather(
            *(store.run(call) for store, call in zip(stores, calls, strict=True))
        )

        assert Counter(one.created for one in done) == {0: len(stores) - 1, 1: 1}
        assert raw.zscore(keys.timers, "cron:night") == due + 1000
    assert len(job_ids(raw, keys)) == 20
    for store in stores:
        await store.close()
    await app.client.store.run(commands.purge(keys, "ready"))


@pytest.mark.keeps_keys("a worker is killed")
def test_a_killed_worker_takes_no_tick_with_it(
    server: Server, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ticks"
    monkeypatch.setenv("TICKS", str(path))
    words = {"app": "tests.integration.cron_chores:app"}
    with (
        worker_process(server, namespace, **words) as first,  # type: ignore[arg-type]
        worker_process(server, namespace, **words) as second,  # type: ignore[arg-type]
    ):
        first.lines(path, 3)
        first.send(signal.SIGKILL)
        first.wait()
        left = len(path.read_text().splitlines())
        second.lines(path, left + 3, timeout=30)
        second.send(signal.SIGTERM)
        second.wait()
    runs = Counter(path.read_text().splitlines())

    seconds = instants(sorted(runs))
    assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))
    # Delivery is at least once: what the killed one was running may have run again.
    assert sum(runs.values()) <= len(runs) + 1


@pytest.mark.parametrize(("missed", "enqueued"), [("skip", 0), ("once", 1), ("all", 5)])
async def test_missed_ticks(app: TaskQ, raw: redis.Redis, missed: str, enqueued: int) -> None:
    note, ran = a_task(app)
    now = time.time()
    # So that the newest tick was a while ago, and the next one is to come.
    step = next(step for step in (7000, 5000, 3000) if 120 < now % step < step - 120)
    async with app:
        await app.schedules.add("x", note, every=step, missed=missed)
        following = round(now // step + 1) * step
        make_late(raw, keys_of(app), "x", 5 * step)

        async with working(app):
            await eventually(lambda: raw.zscore(keys_of(app).timers, "cron:x") == following * 1000)
            await eventually(lambda: len(ran) == enqueued)

    late = [following - step * n for n in range(5, 0, -1)]
    assert instants(sorted(ran)) == late[len(late) - enqueued :]


async def test_more_missed_ticks_than_one_look_takes(app: TaskQ, raw: redis.Redis) -> None:
    note, ran = a_task(app)
    async with app:
        await app.schedules.add("minutely", note, every=60, missed="all")
        make_late(raw, keys_of(app), "minutely", 250 * 60)

        async with working(app):
            await eventually(lambda: len(ran) >= 250, timeout=30)

    seconds = instants(sorted(ran))
    assert seconds == list(range(seconds[0], seconds[0] + 60 * len(seconds), 60))


async def test_without_overlap_no_tick_is_enqueued_while_the_last_job_goes_on(
    app: TaskQ, raw: redis.Redis
) -> None:
    began: list[str] = []
    go_on = asyncio.Event()

    @app.every(1, overlap="skip", missed="all")
    @app.task
    async def slow(ctx: Context) -> None:
        began.append(ctx.job_id)
        await go_on.wait()

    async with app, working(app):
        await eventually(lambda: began)
        timer = raw.zscore(keys_of(app).timers, "cron:slow")
        assert timer is not None
        await eventually(lambda: raw.zscore(keys_of(app).timers, "cron:slow") >= timer + 2000)
        assert len(began) == len(job_ids(raw, keys_of(app))) == 1
        for same in (
            await app.schedules.trigger("slow"),
            await asyncio.to_thread(app.schedules.trigger_sync, "slow"),
        ):
            assert (same.id, same.duplicate) == (began[0], True)

        go_on.set()

        await eventually(lambda: len(began) >= 2)
    first, second = instants(sorted(began))[:2]
    assert second - first >= 3


async def test_pausing_resuming_triggering_and_removing(app: TaskQ, raw: redis.Redis) -> None:
    note, ran = a_task(app)
    app.every(1)(note)

    async with app, working(app):
        await eventually(lambda: ran)
        assert await app.schedules.pause("note") is True
        assert await app.schedules.pause("note") is False
        paused = await app.schedules.get("note")
        assert (paused.next_at, paused.declared) == (None, True)
        assert paused.paused_at is not None

        job = await app.schedules.trigger("note")
        assert await job.result(timeout=5) == ""
        assert job.id.startswith("note-")
        assert job.id in ran
        count = len(ran)
        async with working(app):  # a worker that starts leaves the pause alone
            again = await app.schedules.get("note")
            assert (again.paused_at, again.next_at) == (paused.paused_at, None)
        assert len(ran) == count

        assert await app.schedules.resume("note") is True
        assert await app.schedules.resume("note") is False
        await eventually(lambda: len(ran) > count)

        await app.schedules.remove("note")
        with pytest.raises(ScheduleNotFound):
            await app.schedules.get("note")
        assert await app.schedules.list() == []
        assert not raw.exists(keys_of(app).schedules, keys_of(app).timers)
        assert raw.hget(keys_of(app).meta, "timer_ms") is None


@pytest.mark.parametrize("verb", ["get", "pause", "resume", "trigger", "remove"])
async def test_a_schedule_that_is_not_there(app: TaskQ, verb: str) -> None:
    words = "no schedule 'x' in queue 'default': `taskq cron ls` shows those there are"
    async with app:
        with pytest.raises(ScheduleNotFound, match=words):
            await getattr(app.schedules, verb)("x")
        with pytest.raises(ScheduleNotFound, match=words):
            await asyncio.to_thread(getattr(app.schedules, verb + "_sync"), "x")


async def test_blocking_code_has_the_same_verbs(app: TaskQ) -> None:
    note, ran = a_task(app)
    schedules = app.schedules

    def work() -> None:
        info = schedules.add_sync("old", note, cron="0 0 1 1 *", tz="Europe/Rome", args=["x"])
        assert (info.cron, info.tz, info.call) == ("0 0 1 1 *", "Europe/Rome", "note('x')")
        assert not info.declared
        assert schedules.list_sync() == [info] == schedules.list_sync("default")
        assert schedules.list_sync("other") == []
        assert schedules.pause_sync("old") is True
        assert schedules.get_sync("old").next_at is None
        assert schedules.resume_sync("old") is True
        assert schedules.get_sync("old") == info
        assert schedules.trigger_sync("old").result_sync(timeout=5) == "x"
        schedules.remove_sync("old")
        assert schedules.list_sync() == []

    async with app, working(app):
        await asyncio.to_thread(work)
    assert len(ran) == 1


async def test_what_cannot_be_scheduled_is_refused_before_anything_is_sent(app: TaskQ) -> None:
    note, _ = a_task(app)
    async with app:
        for words in ({}, {"cron": "* * * * *", "every": 5}):
            with pytest.raises(InvalidOption, match="either cron= or every="):
                await app.schedules.add("x", note, **words)
        with pytest.raises(InvalidOption, match="4 fields"):
            await app.schedules.add("x", note, cron="* * * *")
        with pytest.raises(InvalidOption, match="id belongs to one job"):
            await app.schedules.add("x", note, every=5, id="y")
        assert await app.schedules.list() == []


async def test_a_worker_fires_what_others_run(make_app: MakeApp, raw: redis.Redis) -> None:
    """A schedule is data: who fires it need not have its code."""
    here, there = make_app(), make_app()
    a_task(here)
    elsewhere, ran = a_task(there)
    there.tasks["elsewhere"] = there.tasks.pop("note")
    elsewhere.name = "elsewhere"
    async with here, there:
        await here.schedules.add("far", "elsewhere", every=1)
        async with working(here):
            await eventually(lambda: job_ids(raw, keys_of(here)))
            async with working(there):
                await eventually(lambda: ran)
                await here.schedules.remove("far")
                await eventually(lambda: not raw.zcard(keys_of(here).ready_of("task.elsewhere")))
                await eventually(lambda: not raw.zcard(keys_of(here).ready))


async def test_of_two_versions_of_the_code_the_one_that_starts_last_counts(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    old, new = make_app(), make_app()
    for app, seconds, word in ((old, 3600, "old"), (new, 1, "new")):
        note, _ = a_task(app)
        app.every(seconds, args=[word])(note)

    async with old, new, working(old):
        first = await old.schedules.get("note")
        assert (first.every, first.call) == (3600, "note('old')")
        async with working(new):
            second = await old.schedules.get("note")
            assert (second.every, second.call) == (1, "note('new')")
            await eventually(lambda: len(job_ids(raw, keys_of(old))) >= 2)
        async with working(old):  # rolled back
            third = await new.schedules.get("note")
            assert third == first
    ids = job_ids(raw, keys_of(old))
    assert len(ids) == len(set(instants(ids)))


async def test_a_definition_that_has_not_changed_keeps_its_tick_and_one_that_has_does_not(
    app: TaskQ, raw: redis.Redis
) -> None:
    note, _ = a_task(app)
    async with app:
        await app.schedules.add("x", note, every=3600)
        make_late(raw, keys_of(app), "x", 3600)
        late = (await app.schedules.get("x")).next_at

        assert (await app.schedules.add("x", note, every=3600)).next_at == late
        assert (await app.schedules.add("x", note, every=3600, args=["y"])).next_at == late
        moved = await app.schedules.add("x", note, every=1800)
        assert moved.next_at is not None
        assert moved.next_at > datetime.now(UTC)


async def test_a_schedule_that_many_change_while_it_fires_stays_whole(app: TaskQ) -> None:
    note, ran = a_task(app)
    async with app, working(app):
        await app.schedules.add("x", note, every=1)
        for _ in range(5):
            changes = [app.schedules.pause("x") for _ in range(10)]
            changes += [app.schedules.resume("x") for _ in range(10)]

            await asyncio.gather(*changes)

            found = await app.schedules.get("x")
            assert (found.next_at is None) == (found.paused_at is not None)
        await app.schedules.resume("x")
        count = len(ran)
        await eventually(lambda: len(ran) > count)


async def test_a_worker_that_stops_leaves_ticks_to_others(app: TaskQ, raw: redis.Redis) -> None:
    go_on = asyncio.Event()
    running: list[str] = []

    @app.task
    async def hold(ctx: Context) -> None:
        running.append(ctx.job_id)
        await go_on.wait()

    note, _ = a_task(app)
    async with app, working(app) as worker:
        await hold.enqueue()
        await eventually(lambda: running)
        worker.stop()
        await eventually(lambda: not worker.pump.accepting)
        await app.schedules.add("x", note, every=1)
        (line,) = worker.lines
        line.due_at = 0.0  # it looks
        worker.pump.ring()
        due = raw.zscore(keys_of(app).timers, "cron:x")
        assert due is not None
        await eventually(lambda: time.time() * 1000 > due + 1000)
        assert raw.zscore(keys_of(app).timers, "cron:x") == due
        await app.schedules.remove("x")
        go_on.set()


async def test_a_full_queue_keeps_the_tick_until_there_is_room(
    make_app: MakeApp, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(max_jobs=3)
    note, ran = a_task(app)
    keys = keys_of(app)
    async with app:
        await app.schedules.add("x", note, every=86400)
        make_late(raw, keys, "x", 86400)
        late = raw.zscore(keys.timers, "cron:x")
        jobs = [await note.options(delay=3600).enqueue() for _ in range(3)]
        async with working(app):
            await eventually(lambda: "is full" in caplog.text)
            assert raw.zscore(keys.timers, "cron:x") == late
            assert not ran

            for job in jobs:
                await job.cancel()

            await eventually(lambda: ran)
            assert raw.zscore(keys.timers, "cron:x") > late
    assert caplog.text.count("is full") == 1, "told once"


async def test_jobs_go_on_while_redis_refuses_new_ones(
    app: TaskQ, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """As a server without free memory does, or one whose user may not enqueue."""
    note, ran = a_task(app)
    async with app, working(app) as worker:
        run, refusing = worker.store.run, True

        async def fail(call: Any, **words: Any) -> Any:
            if call.script == "enqueue" and refusing:
                raise StoreUnavailable("out of memory")
            return await run(call, **words)

        worker.store.run = fail  # type: ignore[method-assign, assignment]
        await app.schedules.add("x", note, every=1)
        await eventually(lambda: "out of memory" in caplog.text)
        for _ in range(5):
            assert await (await note.options(delay=0.05).enqueue("on")).result(timeout=5) == "on"
        assert not [one for one in ran if one.startswith("x-")]
        assert caplog.text.count("out of memory") == 1

        refusing = False
        await eventually(lambda: [one for one in ran if one.startswith("x-")])


@pytest.mark.parametrize("refused", ["note", "*"])
async def test_a_struck_task_and_a_closed_queue_lose_their_ticks(
    app: TaskQ, raw: redis.Redis, refused: str
) -> None:
    note, ran = a_task(app)
    async with app, working(app):
        raw.hset(keys_of(app).meta, "struck", f" {refused} ")
        await app.schedules.add("x", note, every=1)
        due = raw.zscore(keys_of(app).timers, "cron:x")
        assert due is not None
        await eventually(lambda: raw.zscore(keys_of(app).timers, "cron:x") > due)
        assert ran == []

        raw.hdel(keys_of(app).meta, "struck")
        await eventually(lambda: ran)


async def test_jobs_go_on_while_a_tick_cannot_be_enqueued(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = make_app(max_jobs=3)
    note, ran = a_task(app)
    async with app:
        await app.schedules.add("x", note, every=86400)
        for _ in range(3):
            await note.options(delay=3600).enqueue()
        make_late(raw, keys_of(app), "x", 86400)
        async with working(app):
            app.client._limits = app.client._limits._replace(max_jobs=100)

            assert await note.options(delay=0.1).enqueue() is not None
            await eventually(lambda: ran, timeout=5)
    raw.delete(keys_of(app).scheduled, *raw.keys(keys_of(app).job("*")))  # type: ignore[misc]


async def test_what_cannot_be_read_ticks_no_more_and_can_be_removed(
    app: TaskQ, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    note, _ = a_task(app)
    keys = keys_of(app)
    async with app:
        raw.hset(keys.schedules, "broken", "{oops")
        raw.zadd(keys.timers, {"cron:broken": 1, "cron:gone": 2})
        await app.schedules.add("odd", note, every=60, missed="all")
        raw.zadd(keys.timers, {"cron:odd": -(10.0**17)})
        raw.hset(keys.meta, "timer_ms", 1)
        async with working(app):
            await eventually(lambda: raw.zscore(keys.timers, "cron:broken") == float("inf"))
            await eventually(lambda: raw.zscore(keys.timers, "cron:gone") is None)
            assert "schedule broken of queue default cannot be read" in caplog.text
            await eventually(lambda: raw.zscore(keys.timers, "cron:odd") == float("inf"))
            await app.schedules.remove("odd")
            (info,) = await app.schedules.list("default")
            assert info.problem.startswith("cannot be read (JSONDecodeError")
            for verb in ("pause", "resume", "trigger"):
                with pytest.raises(WrongState, match="cannot be read: remove it"):
                    await getattr(app.schedules, verb)("broken")

            await app.schedules.remove("broken")
            assert not raw.exists(keys.schedules, keys.timers)
            assert raw.hget(keys.meta, "timer_ms") is None
            await (await note.enqueue("on")).result(timeout=5)


async def test_a_time_that_somebody_wrote_by_hand_is_a_tick_like_others(
    app: TaskQ, raw: redis.Redis
) -> None:
    note, ran = a_task(app)
    async with app:
        await app.schedules.add("x", note, every=86400)
        raw.zadd(keys_of(app).timers, {"cron:x": 1_600_000_000_000.5})
        raw.hset(keys_of(app).meta, "timer_ms", 1_600_000_000_000)
        async with working(app):
            await eventually(lambda: ran)
            due = raw.zscore(keys_of(app).timers, "cron:x")
            assert due is not None
            assert due > time.time() * 1000


async def test_a_worker_does_not_spin_on_a_tick_that_stays_due(
    app: TaskQ, raw: redis.Redis
) -> None:
    note, _ = a_task(app)
    keys = keys_of(app)
    async with app, working(app) as worker:
        run, fired = worker.store.run, 0

        async def do_nothing(call: Any, **words: Any) -> Any:
            nonlocal fired
            if call.script == "enqueue":
                fired += 1
                return commands.Enqueued(0, 1)
            return await run(call, **words)

        worker.store.run = do_nothing  # type: ignore[method-assign, assignment]
        await app.schedules.add("x", note, every=86400)
        make_late(raw, keys, "x", 86400)
        worker.pump.heat()
        await eventually(lambda: fired >= 3)
        began, count = time.monotonic(), fired
        await eventually(lambda: fired >= count + 2)
        assert time.monotonic() - began > 0.5
        worker.store.run = run  # type: ignore[method-assign]
        await app.schedules.remove("x")


async def test_a_time_zone_unknown_on_this_machine_is_left_to_others(
    app: TaskQ, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    note, ran = a_task(app)
    keys = keys_of(app)
    async with app:
        await app.schedules.add("x", note, cron="0 0 * * *", tz="Europe/Rome")
        text = raw.hget(keys.schedules, "x")
        assert isinstance(text, bytes)
        raw.hset(keys.schedules, "x", text.replace(b"Europe/Rome", b"Mars/Base"))
        make_late(raw, keys, "x", 86400)
        async with working(app):
            await eventually(lambda: "no such time zone here" in caplog.text)
            assert raw.zscore(keys.timers, "cron:x") is not None

            raw.hset(keys.schedules, "x", text)

            await eventually(lambda: ran)


async def test_with_partitions_a_schedule_is_in_the_first_and_its_jobs_are_found(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = make_app()
    app.queue("mail", partitions=4)
    ran: list[str] = []

    @app.every(1, overlap="skip")
    @app.task(queue="mail")
    async def post(ctx: Context) -> str:
        ran.append(ctx.job_id)
        return "sent"

    async with app, working(app, queues=["mail"]):
        await eventually(lambda: len(ran) >= 2)
        job = await app.schedules.trigger("post", queue="mail")
        assert job.queue == "mail"
        for one in [job.id, *ran[:2]]:
            handle = app.job(one, queue="mail")
            assert handle.queue == "mail"
            assert await handle.result(timeout=5) == "sent"
        (info,) = await app.schedules.list()
        assert (info.queue, info.name) == ("mail", "post")
    for name in partition_names("mail", 4)[1:]:
        assert not raw.exists(keys_of(app, name).schedules, keys_of(app, name).timers)


async def test_in_a_cluster(namespace: str) -> None:
    with cluster("valkey") as group:
        app = TaskQ(group.url, namespace=namespace)
        ran: dict[str, list[str]] = {"mail": [], "reports": [], "default": []}

        def noting(found: list[str]) -> Any:
            async def note(ctx: Context) -> None:
                found.append(ctx.job_id)

            return note

        for queue, found in ran.items():
            task = app.task(name=f"note-{queue}")(noting(found))
            app.every(1, name=f"in-{queue}", queue=queue)(task)
        async with app, working(app, queues=list(ran)):
            await eventually(lambda: all(len(found) >= 2 for found in ran.values()), timeout=20)
            assert [info.name for info in await app.schedules.list()] == [
                "in-default", "in-mail", "in-reports",
            ]  # fmt: skip
        assert all(len(found) == len(set(found)) for found in ran.values())


async def test_a_queue_without_schedules_pays_nothing(app: TaskQ) -> None:
    note, ran = a_task(app)
    asked: list[Line] = []

    async def on_tick(line: Line) -> float:
        asked.append(line)
        return 0.0

    async with app, working(app) as worker:
        worker.pump.on_tick = on_tick
        await app.enqueue_many([note.options(delay=0.05 * n).s() for n in range(20)])
        await eventually(lambda: len(ran) == 20)
        await idle(worker)

    assert asked == []


async def test_an_idle_worker_sleeps_until_the_tick(app: TaskQ) -> None:
    note, _ = a_task(app)
    async with app, working(app) as worker:
        await app.schedules.add("x", note, cron="0 0 1 1 *")
        due = (await app.schedules.get("x")).next_at
        assert due is not None

        (line,) = worker.lines
        await eventually(
            lambda: abs(line.due_at - asyncio.get_running_loop().time()
                        - (due - datetime.now(UTC)).total_seconds()) < 5
        )  # fmt: skip


async def test_what_redis_could_not_take_when_the_worker_started_is_written_later(
    app: TaskQ, caplog: pytest.LogCaptureFixture
) -> None:
    note, _ = a_task(app)
    app.every(3600)(note)
    worker = Worker(app)
    run, refused = worker.store.run, 0

    async def fail(call: Any, **words: Any) -> Any:
        nonlocal refused
        if call.script == "schedule" and refused < 2:
            refused += 1
            raise StoreUnavailable("the node is away")
        return await run(call, **words)

    worker.store.run = fail  # type: ignore[method-assign, assignment]
    running = asyncio.create_task(worker.run())
    async with app:
        await eventually(lambda: "its schedules are not written yet" in caplog.text)
        await eventually(app.schedules.list)
        worker.stop()
        await running
    assert refused == 2


async def test_what_the_code_says_no_more_is_told_but_not_removed(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = make_app(), make_app()
    for app in (old, new):
        note, _ = a_task(app)
        app.every(3600, name="kept")(note)
    old.every(3600, name="dropped")(old.tasks["note"])
    async with old, new:
        async with working(old):
            pass
        await new.schedules.add("by-hand", "note", every=3600)
        caplog.clear()
        async with working(new):
            names = [info.name for info in await new.schedules.list()]

    assert names == ["by-hand", "dropped", "kept"]
    told = [record.getMessage() for record in caplog.records]
    told = [message for message in told if "has it no more" in message]
    assert len(told) == 1
    assert told[0].startswith("schedule dropped of queue default goes on")


async def test_a_schedule_that_is_written_over_and_over_gives_up_in_words(app: TaskQ) -> None:
    note, _ = a_task(app)
    app.every(60)(note)
    (declared,) = app.declared.values()
    steps = put(keys_of(app), declared.schedule(app))
    (call,), writes = next(steps), 0
    with pytest.raises(StoreUnavailable, match="was changed by others 50 times in a row"):  # noqa: PT012
        while True:
            answer = {"HGET": "", "ZMSCORE": [""], "TIME": 0}.get(str((*call.args, "")[0]))
            if call.script == "schedule":
                writes += 1
                answer = commands.Stored("other", str(writes))
            (call,) = steps.send([answer])
    assert writes == 50
