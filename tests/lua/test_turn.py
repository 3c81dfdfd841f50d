"""A change of policy: jobs that are ready are set aside, and ranked anew bit by bit."""

from __future__ import annotations

import pytest

from taskq import commands
from taskq.errors import StoreUnavailable
from taskq.rank import aging_rank, strict_rank
from tests.helpers import a_list, a_zset
from tests.lua.engine import START, Engine, ids

BAND = 10**13


def configure(engine: Engine, **settings: str) -> int:
    return engine.run(commands.configure(engine.keys, settings))


def promote(engine: Engine) -> tuple[int, int]:
    return engine.run(commands.promote(engine.keys))


def turn(engine: Engine) -> int:
    """Promote until nothing is left to turn; how many calls that took."""
    calls = 0
    while engine.client.zscore(engine.keys.timers, "turn") is not None:
        promote(engine)
        calls += 1
        assert calls < 20
    return calls


def test_jobs_of_all_classes_are_set_aside_in_the_step_that_changes_the_policy(
    engine: Engine,
) -> None:
    engine.seed_ready("a", 5)
    engine.seed_ready("b", 6, "gpu")
    engine.client.sadd(engine.keys.classes, "gpu", "empty")

    assert configure(engine, policy="aging") == 1

    after = engine.dump()
    assert (after["turned"], after["turned:gpu"]) == (a_zset({"a": 5}), a_zset({"b": 6}))
    assert not {"ready", "ready:gpu", "turned:empty"} & after.keys()
    assert after["timers"] == a_zset({"turn": START})
    assert after["meta"].content == {"policy": "aging", "turning": "1", "timer_ms": str(START)}
    assert after["wake"] == a_list(["1"])


def test_promote_ranks_them_anew_and_they_are_claimed_in_the_new_order(engine: Engine) -> None:
    engine.seed_alive()
    # By strict bands the urgent one goes first, by age the one that has waited for long.
    engine.seed_ready("urgent", BAND * 1, priority=8, enqueued_ms=START)
    engine.seed_ready("old", BAND * 9, priority=0, enqueued_ms=START - 700_000)
    engine.seed_ready("due", BAND * 8, priority=1, enqueued_ms=START, deadline_ms=START + 10)
    configure(engine, policy="aging")

    assert promote(engine) == (0, -1)

    assert engine.dump()["ready"] == a_zset(
        {
            "urgent": aging_rank(8, None, START),
            "old": aging_rank(0, None, START - 700_000),
            "due": START + 10,
        }
    )
    assert ids(engine.claim(limit=3).jobs) == ["old", "due", "urgent"]
    assert not {"turned", "timers"} & engine.dump().keys()
    assert engine.client.hmget(engine.keys.meta, "turning", "timer_ms") == [None, None]


def test_from_strict_to_aging_to_fair_and_back(engine: Engine) -> None:
    for n in range(4):
        engine.seed_ready(f"j{n}", strict_rank(n, None, START), priority=n, group=f"g{n % 2}")
    before = engine.dump()["ready"]

    configure(engine, policy="aging")
    turn(engine)
    assert engine.client.zscore(engine.keys.ready, "j1") == aging_rank(1, None, START)
    configure(engine, policy="fair")
    turn(engine)
    fair = engine.dump()["ready"].content
    # Two jobs of a group: the second starts when the first, at 100 ms each, is done.
    # The better rank of the older policy goes first: j2 and j3.
    assert fair == {"j2": 7 * BAND, "j3": 6 * BAND, "j0": 9 * BAND + 100, "j1": 8 * BAND + 100}
    configure(engine, policy="")
    turn(engine)

    assert engine.dump()["ready"] == before


def test_it_takes_bounded_steps_and_wakes_those_who_serve_each_class(engine: Engine) -> None:
    for n in range(150):
        engine.seed_ready(f"a{n:03}", n)
    for n in range(70):
        engine.seed_ready(f"b{n:03}", n, "gpu")
    engine.client.sadd(engine.keys.classes, "gpu")
    configure(engine, policy="aging")

    assert promote(engine) == (0, 0)
    assert engine.client.zcard(engine.keys.ready) == 100
    assert turn(engine) == 2

    assert engine.client.zcard(engine.keys.ready) == 150
    assert engine.client.zcard(engine.keys.ready_of("gpu")) == 70
    assert engine.client.llen(engine.keys.prefix + "wake:gpu") == 4


def test_jobs_that_become_ready_meanwhile_have_the_new_rank_at_once(engine: Engine) -> None:
    engine.seed_ready("old", 5)
    configure(engine, policy="aging")

    engine.enqueue(commands.NewJob("new", "t", b"p"))

    assert engine.dump()["ready"] == a_zset({"new": aging_rank(5, None, START)})


def test_another_change_before_it_is_done_is_told_to_wait_and_writes_nothing(
    engine: Engine,
) -> None:
    engine.seed_ready("a", 5)
    configure(engine, policy="aging")
    before = engine.dump()

    with pytest.raises(StoreUnavailable, match="1 jobs"):
        configure(engine, policy="fair", horizon_ms="7")

    assert engine.changed(before) == {}
    assert configure(engine, horizon_ms="7") == 1


def test_the_same_policy_again_turns_nothing(engine: Engine) -> None:
    configure(engine, policy="aging")
    engine.seed_ready("a", 5)

    assert configure(engine, policy="aging") == 0
    assert engine.dump()["ready"] == a_zset({"a": 5})


def test_a_job_that_is_set_aside_can_be_cancelled(engine: Engine) -> None:
    engine.seed_ready("a", 5)
    engine.seed_ready("b", 6, "gpu")
    engine.client.sadd(engine.keys.classes, "gpu")
    configure(engine, policy="aging")

    assert engine.cancel_raw("a") == [b"OK", b"cancelled"]
    assert engine.cancel_raw("b") == [b"OK", b"cancelled"]

    assert not {"turned", "turned:gpu"} & engine.dump().keys()
    turn(engine)
    assert [engine.state(name) for name in "ab"] == ["cancelled"] * 2
    assert "ready" not in engine.dump()


def test_jobs_that_are_set_aside_can_be_purged(engine: Engine) -> None:
    engine.seed_ready("a", 5)
    configure(engine, policy="aging")

    assert engine.run(commands.purge(engine.keys, "turned")) == (1, 0)
    assert engine.state("a") is None


def test_an_entry_that_is_no_ready_job_is_dropped(engine: Engine) -> None:
    engine.seed_running("running")
    engine.client.zadd(engine.keys.ready, {"ghost": 1, "running": 2})
    configure(engine, policy="aging")

    turn(engine)

    assert not {"turned", "ready"} & engine.dump().keys()
    assert engine.state("running") == "running"


def test_weights_are_set_beside_the_settings(engine: Engine) -> None:
    assert configure(engine, **{"weight:a b": "2", "weight:c": "3"}) == 2
    assert configure(engine, **{"weight:c": ""}) == 1

    assert engine.dump()["weights"].content == {"a b": "2"}
    assert "meta" not in engine.dump()


@pytest.mark.parametrize("woken_by", ["an end", "promote"])
@pytest.mark.parametrize("policy", ["aging", "fair"])
def test_a_blocked_job_that_comes_back_with_a_rank_of_an_older_policy_is_ranked_anew(
    engine: Engine, policy: str, woken_by: str
) -> None:
    """Else it would come after all the others, for ever."""
    old = strict_rank(5, None, START)
    engine.limit(L="concurrency=1 on=job")
    engine.seed_parked("a", "L", old, limits="L")
    engine.seed_parked("b", "L", old + 1, limits="L", **{"class": "gpu"})
    engine.client.sadd(engine.keys.classes, "gpu")
    configure(engine, policy=policy)
    if woken_by == "promote":
        engine.limit(L="")
        promote(engine)
    else:
        for n in "xy":
            engine.seed_running(n, tied="holds", holds="L")
            engine.client.sadd(engine.keys.prefix + "holding:L", n)
            engine.release((n, "7", ""))
            engine.client.zrem(engine.keys.ready, n)
    assert [engine.state(name) for name in "ab"] == ["ready", "ready"]
    assert engine.client.zcard(engine.keys.prefix + "turned") == 1

    turn(engine)

    expected = aging_rank(5, None, START) if policy == "aging" else 4 * BAND
    assert engine.client.zscore(engine.keys.ready, "a") == expected
    assert engine.client.zscore(engine.keys.ready_of("gpu"), "b") in (expected, expected + 100)


def test_a_blocked_job_of_this_policy_keeps_its_rank(engine: Engine) -> None:
    for policy, rank in (("aging", aging_rank(0, None, START)), ("fair", 9 * BAND + 500)):
        configure(engine, policy=policy)
        engine.seed_parked("a", "L", rank, limits="L")
        engine.client.zadd(engine.keys.timers, {"limit:L": START})
        engine.client.hset(engine.keys.meta, "timer_ms", START)

        promote(engine)

        assert engine.client.zscore(engine.keys.ready, "a") == rank
        engine.client.delete(engine.keys.ready)
