"""lua/signals.lua: the best of every band of every class, bounded; it writes nothing."""

from __future__ import annotations

from taskq import commands
from taskq.commands import Band, Holder, SignalsSeen, Waiting
from taskq.rank import BAND
from tests.lua.engine import START, Engine


def look(engine: Engine) -> SignalsSeen:
    before = engine.dump()
    found = engine.run(commands.signals(engine.keys))
    assert engine.changed(before) == {}
    return found


def test_an_empty_queue(engine: Engine) -> None:
    assert look(engine) == SignalsSeen(START, 0, 0, 0, 0, [], "", None, False, {}, [])


def test_it_sees_every_band_of_every_class_and_who_works(engine: Engine) -> None:
    engine.seed_ready("a", 5 * BAND + 7, deadline_ms=START + 5, cost=3)
    engine.seed_ready("b", 5 * BAND + 8, task="u")
    engine.seed_ready("c", 9 * BAND + 9)
    engine.seed_ready("g", 2 * BAND + 1, "gpu")
    engine.client.sadd(engine.keys.classes, "gpu", "idle")
    engine.seed_due("scheduled", "s", START)
    engine.seed_due("scheduled", "later", START + 1)
    engine.seed_due("retry", "r", START - 9)
    engine.seed_running("x")
    engine.run(commands.heartbeat(engine.keys, "w1", ttl_ms=6000, slots=4))
    engine.client.zadd(engine.keys.prefix + "blocked", {"p": 1, "q": 2})
    engine.client.hset(engine.keys.averages, mapping={"t": "5.5", "*": "7", "v": "9"})
    words = {"policy": "fair", "paused": "1", "horizon_ms": "500"}
    engine.client.hset(engine.keys.meta, mapping=words)

    found = look(engine)

    assert (found.ready, found.blocked, found.running, found.due) == (4, 2, 1, 2)
    assert found.holders == [Holder("w1", 1, "alive", 4)]
    assert (found.policy, found.horizon_ms, found.paused) == ("fair", 500, True)
    assert found.averages == {"t": 5.5, "*": 7}
    assert sorted(found.bands) == [
        Band("", 1, [Waiting(9 * BAND + 9, "t", START, None, 1)]),
        Band(
            "",
            2,
            [
                Waiting(5 * BAND + 7, "t", START, START + 5, 3),
                Waiting(5 * BAND + 8, "u", START, None, 1),
            ],
        ),
        Band("gpu", 1, [Waiting(2 * BAND + 1, "t", START, None, 1)]),
    ]


def test_two_hundred_jobs_are_read_at_most_shared_by_the_bands(engine: Engine) -> None:
    for n in range(250):
        engine.seed_ready(f"a{n:03}", 3 * BAND + n)
        engine.seed_ready(f"b{n:03}", 8 * BAND + n)

    found = look(engine)

    assert [(band.jobs, len(band.best)) for band in found.bands] == [(250, 100), (250, 100)]
    assert all(band.best[0].rank % BAND == 0 for band in found.bands), "the best of each"


def test_many_classes_share_too(engine: Engine) -> None:
    for n in range(120):
        for k in range(3):
            engine.seed_ready(f"j{n}-{k}", 5 * BAND + k, f"c{n}")
        engine.client.sadd(engine.keys.classes, f"c{n}")

    found = look(engine)

    assert found.ready == 360
    assert sum(len(band.best) for band in found.bands) <= 200
    assert sum(band.jobs for band in found.bands) == 360


def test_ranks_that_are_none_and_jobs_that_turn_are_counted_apart(engine: Engine) -> None:
    engine.seed_ready("low", -5)
    engine.seed_ready("high", 20 * BAND)
    engine.seed_ready("fine", 5 * BAND)
    engine.client.zadd(engine.keys.ready, {"ghost": 5 * BAND + 1})
    engine.seed_job("elsewhere", "running")
    engine.client.zadd(engine.keys.ready, {"elsewhere": 5 * BAND + 2})
    engine.client.zadd(engine.keys.prefix + "turned", {"t1": 1, "t2": 2})

    found = look(engine)

    assert found.ready == 7
    assert sorted((band.jobs, len(band.best)) for band in found.bands) == [(3, 1), (4, 0)]
