"""lua/schedule.lua: a schedule and its next tick, written together if both are as they were seen;
and the timers of a queue, the first of which is in its meta.
"""

from __future__ import annotations

import math

import pytest

from taskq import commands
from taskq.commands import Stored
from tests.helpers import Entry, a_hash, a_list, a_zset
from tests.lua.engine import START, Engine

DUE = START + 60_000
NOBODY = Stored()


def put(
    engine: Engine, name: str, seen: Stored, definition: str, due: int | None = None
) -> Stored | None:
    return engine.run(
        commands.schedule(engine.keys, name, seen=seen, definition=definition, due_ms=due)
    )


def seed(engine: Engine, definition: str = "old", due: float = DUE, **others: float) -> Stored:
    """A schedule `night` as it would have been written, and other timers."""
    timers = {"cron:night": due, **{f"cron:{name}": score for name, score in others.items()}}
    engine.client.hset(engine.keys.schedules, "night", definition)
    engine.client.zadd(engine.keys.timers, timers)
    finite = [score for score in timers.values() if score < math.inf]
    if finite:
        engine.client.hset(engine.keys.meta, "timer_ms", f"{min(finite):.0f}")
    return Stored(definition, "inf" if due == math.inf else f"{due:.0f}")


def kept(definition: str, **timers: float) -> dict[str, Entry]:
    """What the keys of schedules look like."""
    finite = [score for score in timers.values() if score < math.inf]
    entries = {
        "schedules": a_hash({"night": definition}),
        "timers": a_zset({f"cron:{name}": score for name, score in timers.items()}),
    }
    if finite:
        entries["meta"] = a_hash({"timer_ms": f"{min(finite):.0f}"})
    return entries


def test_a_new_schedule_gets_its_tick_and_wakes_a_worker_that_must_not_oversleep_it(
    engine: Engine,
) -> None:
    assert put(engine, "night", NOBODY, "new", DUE) is None
    assert engine.dump() == {**kept("new", night=DUE), "wake": a_list(["1"])}


def test_written_twice_it_counts_once_though_what_was_seen_is_old_by_then(engine: Engine) -> None:
    put(engine, "night", NOBODY, "new", DUE)
    before = engine.dump()

    assert put(engine, "night", NOBODY, "new", DUE) is None
    assert engine.changed(before) == {}


@pytest.mark.parametrize("seen", [NOBODY, Stored("older", str(DUE)), Stored("old", str(DUE - 1))])
def test_who_saw_something_else_changes_nothing_and_hears_what_is_there(
    engine: Engine, seen: Stored
) -> None:
    seed(engine)
    before = engine.dump()

    assert put(engine, "night", seen, "new", DUE + 1) == Stored("old", str(DUE))
    assert engine.changed(before) == {}


def test_who_saw_something_else_cannot_remove_it_either(engine: Engine) -> None:
    seed(engine)
    before = engine.dump()

    assert put(engine, "night", Stored("older", str(DUE)), "") == Stored("old", str(DUE))
    assert engine.changed(before) == {}


def test_the_words_of_its_replies(engine: Engine) -> None:
    def raw(seen: Stored, definition: str) -> list[bytes]:
        call = commands.schedule(engine.keys, "night", seen=seen, definition=definition, due_ms=DUE)
        reply: list[bytes] = engine.raw(call)
        return reply

    due = str(DUE).encode()
    assert raw(NOBODY, "new") == [b"OK", due]
    assert raw(NOBODY, "newer") == [b"CHANGED", b"new", due]
    assert raw(Stored("new", str(DUE)), "") == [b"OK", b""]


def test_a_definition_changes_while_its_tick_stays(engine: Engine) -> None:
    seen = seed(engine)

    assert put(engine, "night", seen, "new", DUE) is None
    assert engine.dump() == kept("new", night=DUE)


def test_a_tick_beside_the_first_wakes_nobody(engine: Engine) -> None:
    seen = seed(engine, day=DUE - 5)

    put(engine, "night", seen, "old", DUE - 5)

    assert engine.dump() == kept("old", night=DUE - 5, day=DUE - 5)


def test_a_time_that_somebody_wrote_by_hand_is_compared_as_it_is(engine: Engine) -> None:
    engine.client.hset(engine.keys.schedules, "night", "old")
    engine.client.zadd(engine.keys.timers, {"cron:night": 1.5})
    (due,) = engine.run(commands.next_ticks(engine.keys, ["night"]))

    assert put(engine, "night", Stored("old", due), "old", DUE) is None


def test_a_schedule_that_is_gone_is_not_made_again_by_who_saw_it(engine: Engine) -> None:
    assert put(engine, "night", Stored("old", str(DUE)), "new", DUE) == Stored("", "")
    assert engine.dump() == {}


def test_a_tick_that_moves_back_wakes_nobody(engine: Engine) -> None:
    seen = seed(engine)

    assert put(engine, "night", seen, "old", DUE + 1) is None
    assert engine.dump() == kept("old", night=DUE + 1)


def test_a_tick_that_becomes_the_first_wakes_a_worker(engine: Engine) -> None:
    seen = seed(engine, day=DUE - 1)

    put(engine, "night", seen, "old", DUE - 2)

    assert engine.dump() == {**kept("old", night=DUE - 2, day=DUE - 1), "wake": a_list(["1"])}


def test_a_tick_behind_another_wakes_nobody(engine: Engine) -> None:
    seen = seed(engine, day=DUE - 5)

    put(engine, "night", seen, "old", DUE - 2)

    assert engine.dump() == kept("old", night=DUE - 2, day=DUE - 5)


def test_enough_tokens_are_enough(engine: Engine) -> None:
    engine.client.rpush(engine.keys.wake, *"1111")

    put(engine, "night", NOBODY, "new", DUE)

    assert engine.dump()["wake"] == a_list("1111")


def test_a_paused_schedule_is_due_at_no_time(engine: Engine) -> None:
    seen = seed(engine)

    assert put(engine, "night", seen, "paused", None) is None
    assert engine.dump() == kept("paused", night=math.inf)


def test_the_first_of_the_others_is_in_meta_when_one_is_paused(engine: Engine) -> None:
    seen = seed(engine, day=DUE + 5, never=math.inf)

    put(engine, "night", seen, "paused", None)

    assert engine.dump() == kept("paused", night=math.inf, day=DUE + 5, never=math.inf)


def test_a_paused_schedule_goes_on(engine: Engine) -> None:
    seen = seed(engine, "paused", math.inf)
    assert seen == Stored("paused", "inf")

    assert put(engine, "night", seen, "old", DUE) is None
    assert engine.dump() == {**kept("old", night=DUE), "wake": a_list(["1"])}


def test_a_removed_schedule_leaves_nothing(engine: Engine) -> None:
    seen = seed(engine)

    assert put(engine, "night", seen, "") is None
    assert engine.dump() == {}


def test_removing_twice_is_removing_once(engine: Engine) -> None:
    seen = seed(engine)
    put(engine, "night", seen, "")

    assert put(engine, "night", seen, "") is None
    assert engine.dump() == {}


def test_other_schedules_stay_when_one_is_removed(engine: Engine) -> None:
    seen = seed(engine, day=DUE + 7)
    engine.client.hset(engine.keys.schedules, "day", "other")
    engine.client.hset(engine.keys.meta, "paused", START)

    put(engine, "night", seen, "")

    assert engine.dump() == {
        "schedules": a_hash({"day": "other"}),
        "timers": a_zset({"cron:day": DUE + 7}),
        "meta": a_hash({"paused": START, "timer_ms": DUE + 7}),
    }


def test_a_timer_without_a_definition_can_be_removed(engine: Engine) -> None:
    """Somebody deleted the field by hand."""
    engine.client.zadd(engine.keys.timers, {"cron:night": DUE})

    assert put(engine, "night", Stored("", str(DUE)), "") is None
    assert engine.dump() == {}


def test_times_keep_all_their_digits(engine: Engine) -> None:
    late = 7_258_118_399_999

    put(engine, "night", NOBODY, "new", late)

    assert put(engine, "night", NOBODY, "other", 1) == Stored("new", str(late))
    assert engine.dump()["meta"] == a_hash({"timer_ms": late})


def test_reading_schedules_and_their_ticks(engine: Engine) -> None:
    seed(engine, "old", DUE, day=math.inf)

    assert engine.run(commands.definition_of(engine.keys, "night")) == "old"
    assert engine.run(commands.definition_of(engine.keys, "none")) == ""
    assert engine.run(commands.definitions(engine.keys, ["none", "night"])) == ["", "old"]
    assert engine.run(commands.next_ticks(engine.keys, ["night", "day", "none"])) == [
        str(DUE),
        "inf",
        "",
    ]
    assert engine.run(commands.schedule_names(engine.keys, 0)) == (0, [("night", "old")])
