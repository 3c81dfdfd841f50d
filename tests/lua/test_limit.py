"""lua/limit.lua: definitions of limits, pauses, strikes, and who is woken by a change."""

from __future__ import annotations

import math

import pytest

from taskq import commands
from taskq.commands import Limited
from taskq.errors import InvalidOption
from tests.helpers import a_hash, a_list, a_zset
from tests.lua.engine import START, Engine


def limit(engine: Engine, definitions: dict[str, str], **words: object) -> Limited:
    return engine.run(commands.limit(engine.keys, definitions, **words))  # type: ignore[arg-type]


def park(engine: Engine, **due: float) -> None:
    """Timers of limits, by instance."""
    engine.client.zadd(engine.keys.timers, {f"limit:{name}": at for name, at in due.items()})


def timers(engine: Engine) -> dict[str, float]:
    found = engine.client.zrange(engine.keys.timers, 0, -1, withscores=True)
    return {name.decode().removeprefix("limit:"): at for name, at in found}  # type: ignore[union-attr]


def test_a_definition_is_stored_and_the_queue_knows_it_has_one(engine: Engine) -> None:
    assert limit(engine, {"a": "concurrency=3 on=queue"}) == (1, -1)
    assert engine.dump() == {
        "limits": a_hash({"a": "concurrency=3 on=queue"}),
        "meta": a_hash({"limited": "1 queue=a"}),
    }


def test_the_same_definition_again_changes_nothing_and_wakes_nobody(engine: Engine) -> None:
    limit(engine, {"a": "concurrency=3 on=queue"})
    park(engine, a=math.inf)
    before = engine.dump()

    assert limit(engine, {"a": "concurrency=3 on=queue"}) == (0, -1)
    assert engine.changed(before) == {}


def test_removing_one_of_two_leaves_the_other_in_force(engine: Engine) -> None:
    limit(engine, {"a": "concurrency=3 on=queue", "b": "concurrency=1 on=job"})

    assert limit(engine, {"a": ""}) == (1, -1)
    assert engine.dump() == {
        "limits": a_hash({"b": "concurrency=1 on=job"}),
        "meta": a_hash({"limited": 1}),
    }


def test_removing_the_last_makes_the_queue_free(engine: Engine) -> None:
    limit(engine, {"a": "concurrency=3 on=queue"})

    assert limit(engine, {"a": "", "never": ""}) == (1, -1)
    assert engine.dump() == {}


def test_a_change_makes_the_jobs_that_wait_for_it_be_looked_at_now(engine: Engine) -> None:
    limit(engine, {"a": "concurrency=1 on=queue", "b": "concurrency=1 on=queue"})
    park(engine, a=math.inf, b=math.inf, ab=START + 5)
    before = engine.dump()

    limit(engine, {"a": "concurrency=2 on=queue"})

    assert engine.changed(before) == {
        "limits": a_hash({"a": "concurrency=2 on=queue", "b": "concurrency=1 on=queue"}),
        "meta": a_hash({"limited": "1 queue=a queue=b", "timer_ms": START}),
        "timers": a_zset({"limit:a": START, "limit:b": math.inf, "limit:ab": START + 5}),
        "wake": a_list(["1"]),
    }


def test_removing_a_limit_wakes_what_waits_for_it(engine: Engine) -> None:
    limit(engine, {"a": "concurrency=1 on=queue"})
    park(engine, a=math.inf)

    limit(engine, {"a": ""})

    assert timers(engine) == {"a": START}


def test_a_changed_template_wakes_all_its_instances_and_no_others(engine: Engine) -> None:
    limit(engine, {"t.{x}/{y_z}": "concurrency=1 on=job"})
    others = {"t.1": math.inf, "tx1/2": math.inf, "t./2": math.inf, "at.1/2": math.inf}
    park(engine, **{"t.1/2": math.inf, "t.a/b/c": START + 5, **others})
    engine.client.zadd(engine.keys.timers, {"cron:t.1/2": START + 5})

    assert limit(engine, {"t.{x}/{y_z}": ""}) == (1, -1)
    assert timers(engine) == {
        "t.1/2": START,
        "t.a/b/c": START,
        **others,
        "cron:t.1/2": START + 5,
    }


def test_timers_that_are_due_already_keep_their_turn(engine: Engine) -> None:
    limit(engine, {"t:{x}": "concurrency=1 on=job"})
    park(engine, **{"t:1": START - 5, "t:2": START})

    limit(engine, {"t:{x}": ""})

    assert timers(engine) == {"t:1": START - 5, "t:2": START}


def test_many_instances_are_woken_200_looked_at_in_a_call(engine: Engine) -> None:
    limit(engine, {"t:{x}": "concurrency=1 on=job"})
    park(engine, **{f"t:{n}": math.inf for n in range(250)})
    park(engine, **{f"u:{n}": math.inf for n in range(150)})
    wanted = {"t:{x}": "concurrency=2 on=job"}

    first = limit(engine, wanted)
    again, skips = first, []
    while again.skip >= 0:
        skips.append(again.skip)
        again = limit(engine, wanted, again=True, skip=again.skip)

    assert first.changed == 1
    assert again.changed == 0
    assert len(skips) == 2
    woken = {name for name, due in timers(engine).items() if due == START}
    assert woken == {f"t:{n}" for n in range(250)}


def test_asked_again_it_wakes_without_a_change(engine: Engine) -> None:
    limit(engine, {"a": "concurrency=1 on=queue"})
    park(engine, a=math.inf)

    assert limit(engine, {"a": "concurrency=1 on=queue"}, again=True) == (0, -1)
    assert timers(engine) == {"a": START}


def test_what_was_set_by_hand_stays_when_asked_gently(engine: Engine) -> None:
    limit(engine, {"a": "concurrency=9 on=queue by=hand", "b": "concurrency=1 on=queue"})
    park(engine, a=math.inf)
    new = {"a": "concurrency=1 on=queue", "b": ""}

    assert limit(engine, new, gently=True, again=True) == (1, -1)
    assert engine.dump()["limits"] == a_hash({"a": "concurrency=9 on=queue by=hand"})
    assert timers(engine) == {"a": math.inf}
    assert limit(engine, new) == (1, -1)
    assert engine.dump()["limits"] == a_hash({"a": "concurrency=1 on=queue"})


def test_a_struck_task_is_noted_once(engine: Engine) -> None:
    for _ in range(2):
        limit(engine, {}, strike="+a.b")
    limit(engine, {}, strike="+a")

    assert engine.dump() == {"meta": a_hash({"struck": " a.b a "})}


@pytest.mark.parametrize(("task", "left"), [("a", " ab b "), ("b", " a ab "), ("x", " a ab b ")])
def test_a_strike_is_taken_back_alone(engine: Engine, task: str, left: str) -> None:
    for name in ("a", "ab", "b"):
        limit(engine, {}, strike=f"+{name}")

    limit(engine, {}, strike=f"-{task}")

    assert engine.dump() == {"meta": a_hash({"struck": left})}


def test_the_last_strike_taken_back_leaves_nothing(engine: Engine) -> None:
    limit(engine, {}, strike="+a")

    limit(engine, {}, strike="-a")

    assert engine.dump() == {}


def test_a_hundred_limits_go_in_one_call(engine: Engine) -> None:
    wanted = {f"n{number}": "concurrency=1 on=job" for number in range(100)}
    park(engine, **{name: math.inf for name in wanted})

    assert limit(engine, wanted) == (100, -1)
    assert set(timers(engine).values()) == {START}
    assert engine.dump()["limits"] == a_hash(wanted)
    assert engine.dump()["wake"] == a_list(["1"] * 4)


def test_a_queue_has_200_limits_at_most_or_nothing_is_written(engine: Engine) -> None:
    for start in (0, 100):
        limit(engine, {f"n{start + n}": "concurrency=1 on=job" for n in range(100)})
    before = engine.dump()

    with pytest.raises(InvalidOption, match="may have 200 limits"):
        limit(engine, {"n0": "concurrency=2 on=job", "more": "concurrency=1 on=job"})

    assert engine.changed(before) == {}
    assert limit(engine, {"n0": "concurrency=2 on=job", "n1": ""}) == (2, -1)
    assert limit(engine, {"more": "concurrency=1 on=job", "never": ""}) == (1, -1)


def test_claims_find_at_once_what_a_job_is_under_that_does_not_name_it(engine: Engine) -> None:
    wanted = {
        "a": "concurrency=1 on=queue",
        "b": "concurrency=1 on=job",
        "c:{x}": "concurrency=1 on=job",
        "d": "concurrency=1 on=task.t by=hand",
        "e": "concurrency=1 on=group.g",
        "f": "concurrency=1",
    }
    limit(engine, wanted)

    meta = engine.dump()["meta"].content
    assert set(meta["limited"].split()) == {"1", "queue=a", "task.t=d", "group.g=e"}
    assert meta["limited"].startswith("1 ")

    limit(engine, {"a": "", "d": "concurrency=1 on=queue"})
    assert set(engine.dump()["meta"].content["limited"].split()) == {"1", "queue=d", "group.g=e"}


def test_a_plain_limit_is_woken_in_one_call_however_many_wait_for_others(engine: Engine) -> None:
    limit(engine, {"a": "concurrency=1 on=queue"})
    park(engine, a=START + 1, **{f"b{n}": math.inf for n in range(250)})

    assert limit(engine, {"a": ""}) == (1, -1)
    assert timers(engine)["a"] == START
