"""The instruction @tick of lua/enqueue.lua: a schedule's job is created, and its timer moved on, in
one step, if the timer stands where the caller saw it.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from taskq import commands
from taskq.commands import NewJob
from taskq.errors import QueueFull
from tests.helpers import a_hash, a_zset
from tests.lua.engine import START, Engine

LATER = START + 60_000


def fire(
    engine: Engine,
    job_id: str = "night-1",
    due: object = START,
    following: object = LATER,
    *,
    payload: bytes = b"p",
    more: tuple[str, ...] = (),
    max_jobs: int = 1000,
) -> Any:
    extras = ("@tick", f"night {due} {following}", *more)
    job = NewJob(job_id, "t", payload, extras=extras)
    return engine.run(commands.enqueue(engine.keys, [job], max_jobs=max_jobs, all_or_none=False))


@pytest.fixture
def timed(engine: Engine) -> Engine:
    """A queue with a schedule that is due, and one that is due later."""
    engine.client.zadd(engine.keys.timers, {"cron:night": START, "cron:day": LATER - 1})
    engine.client.hset(engine.keys.meta, "timer_ms", START)
    return engine


def timers(engine: Engine) -> tuple[Any, Any]:
    dump = engine.dump()
    return dump["timers"], dump["meta"]


MOVED = (a_zset({"cron:night": LATER, "cron:day": LATER - 1}), a_hash({"timer_ms": LATER - 1}))
STILL = (a_zset({"cron:night": START, "cron:day": LATER - 1}), a_hash({"timer_ms": START}))


def test_a_tick_creates_its_job_and_moves_the_timer(timed: Engine) -> None:
    assert fire(timed).created == 1
    assert timers(timed) == MOVED
    assert "@tick" not in timed.dump()["job:night-1"].content


def test_a_tick_that_somebody_else_has_fired_creates_nothing(timed: Engine) -> None:
    fire(timed)
    before = timed.dump()

    done = fire(timed, "another-id")

    assert (done.created, done.ticked) == (0, {"another-id"})
    assert timed.changed(before) == {}


@pytest.mark.parametrize("due", [START - 1, START + 1, "inf"])
def test_a_timer_that_stands_elsewhere_stays(timed: Engine, due: object) -> None:
    before = timed.dump()

    assert fire(timed, due=due).ticked == {"night-1"}
    assert timed.changed(before) == {}


def test_a_schedule_that_is_gone_ticks_no_more(engine: Engine) -> None:
    assert fire(engine).ticked == {"night-1"}
    assert engine.dump() == {}


def test_the_last_tick_of_all_leaves_a_timer_that_is_never_due(timed: Engine) -> None:
    assert fire(timed, following="inf").created == 1
    assert timers(timed) == (
        a_zset({"cron:night": math.inf, "cron:day": LATER - 1}),
        a_hash({"timer_ms": LATER - 1}),
    )


def test_a_tick_whose_job_is_there_already_moves_on(timed: Engine) -> None:
    """A schedule was changed, and changed back."""
    timed.seed_ready("night-1")

    assert fire(timed).duplicates == {"night-1"}
    assert timers(timed) == MOVED


def test_a_tick_whose_id_is_taken_by_other_work_moves_on(timed: Engine) -> None:
    timed.seed_ready("night-1")

    assert fire(timed, payload=b"other").conflicts == {"night-1"}
    assert timers(timed) == MOVED


def test_a_repeated_call_does_not_move_the_timer_again(timed: Engine) -> None:
    fire(timed)
    before = timed.dump()

    assert fire(timed).duplicates == {"night-1"}
    assert timed.changed(before) == {}


def test_a_tick_that_the_key_forbids_moves_on(timed: Engine) -> None:
    key = ("key", "cron:night", "@unique", "running keep")
    fire(timed, "night-0", more=key)
    timed.client.zadd(timed.keys.timers, {"cron:night": START})

    assert fire(timed, more=key).kept == {"night-1": "night-0"}
    assert timers(timed) == MOVED


def test_a_full_queue_leaves_the_tick_due(timed: Engine) -> None:
    timed.seed_ready("a")
    before = timed.dump()

    with pytest.raises(QueueFull):
        fire(timed, max_jobs=1)
    assert timed.changed(before) == {}
    assert timers(timed) == STILL
