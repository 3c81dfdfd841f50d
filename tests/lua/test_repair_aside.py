"""repair: what cannot be read, or is in the way, is set aside in quarantine and noted there."""

from __future__ import annotations

import pytest

from tests.helpers import a_hash, a_set, a_string, a_zset
from tests.lua.engine import START, Engine, job
from tests.lua.mending import mend, twice

ODD = b"\xff\xfe"


def test_a_key_of_another_type_is_set_aside_whole(engine: Engine) -> None:
    engine.client.set(engine.keys.ready, "oops", ex=60)
    engine.client.sadd(engine.keys.job("a"), "x")

    assert twice(engine, ("zset", "ready"), ("job", "a")) == ["wrong-type moved"] * 2

    assert engine.dump() == {
        f"quarantine:{START}:ready": a_string("oops"),
        f"quarantine:{START}:job:a": a_set(["x"]),
        "quarantine": a_hash(
            {f"{START}:ready": "wrong-type string", f"{START}:job:a": "wrong-type set"}
        ),
    }


def test_a_record_that_cannot_be_read_or_has_no_name_is_set_aside(engine: Engine) -> None:
    engine.client.hset(engine.keys.job("a"), "task", "t")
    engine.seed_job("b c", "ready")
    engine.client.zadd(engine.keys.ready, {"b c": 4, ODD: 5})
    engine.client.hset(engine.keys.job_prefix.encode() + ODD, "state", "ready")

    done = twice(
        engine, ("job", "a"), ("job", "b c"), ("job", ODD), ("ready", "b c"), ("ready", ODD)
    )

    assert (
        done == ["unreadable moved", "bad-name moved", "bad-name moved"] + ["bad-name removed"] * 2
    )
    odd = ODD.decode("utf-8", "surrogateescape")
    dump = engine.dump()
    assert dump.pop("quarantine").content == {
        f"{START}:job:a": "unreadable no state",
        f"{START}:job:b c": "bad-name ",
        f"{START}:job:\xff\xfe": "bad-name ",
        f"{START}:ready:b c": "bad-name score 4",
        f"{START}:ready:\xff\xfe": "bad-name score 5",
    }
    assert dump == {
        f"quarantine:{START}:job:a": a_hash({"task": "t"}),
        f"quarantine:{START}:job:b c": job("ready"),
        f"quarantine:{START}:job:{odd}": a_hash({"state": "ready"}),
    }


@pytest.mark.parametrize("index", ["done", "dead", "running:w1", "ready:gpu"])
def test_only_the_entry_goes_where_a_name_in_an_index_is_none(engine: Engine, index: str) -> None:
    engine.client.zadd(engine.keys.prefix + index, {"b c": 4, "d": 5})

    assert twice(engine, (index, "b c")) == ["bad-name removed"]

    assert engine.dump() == {
        index: a_zset({"d": 5}),
        "quarantine": a_hash({f"{START}:{index}:b c": "bad-name score 4"}),
    }


def test_a_field_that_is_none_goes_and_is_noted(engine: Engine) -> None:
    engine.seed_ready("a", attempt="x" * 500, timeout_ms=500)
    engine.client.hset(engine.keys.meta, mapping={"max_jobs": "many", "horizon_ms": 5})

    assert twice(engine, ("job", "a"), ("meta", "max_jobs")) == ["bad-field removed"] * 2

    dump = engine.dump()
    assert dump["job:a"] == job("ready", timeout_ms=500)
    assert dump["meta"] == a_hash({"horizon_ms": 5})
    assert dump["quarantine"].content == {
        f"{START}:job:a:attempt": "bad-field " + "x" * 200,
        f"{START}:meta:max_jobs:max_jobs": "bad-field many",
    }


def test_what_is_in_the_way_comes_first_and_the_rest_waits_for_the_next_round(
    engine: Engine,
) -> None:
    engine.client.set(engine.keys.ready, "oops")
    engine.seed_job("a", "ready")

    first = mend(engine, ("job", "a"), ("zset", "ready"))
    second = mend(engine, ("job", "a"), ("zset", "ready"))

    assert first == ["homeless later", "wrong-type moved"]
    assert second == ["homeless placed ready"]


@pytest.mark.parametrize("name", ["holders", "classes", "meta", "wake", "quarantine"])
def test_a_broken_key_that_repair_itself_needs_does_not_stop_it(engine: Engine, name: str) -> None:
    engine.client.set(engine.keys.prefix + name, "oops")
    engine.seed_job("a", "ready")
    engine.client.set(engine.keys.prefix + "mine", "stray")
    kind = {"holders": "set", "classes": "set", "wake": "list"}.get(name, "hash")
    places = [("job", "a"), (kind, name), ("stray", "mine")]

    mend(engine, *places)
    engine.now += 1
    mend(engine, *places)

    dump = engine.dump()
    assert dump["ready"].content.keys() == {"a"}
    assert dump[f"quarantine:{START}:{name}"] == a_string("oops")
    assert dump[f"quarantine:{START}:mine"] == a_string("stray")
    assert dump["quarantine"].type == "hash"


def test_what_needs_a_list_that_is_broken_waits_for_the_next_round(engine: Engine) -> None:
    engine.client.set(engine.keys.classes, "oops")
    engine.seed_job("a", "ready", **{"class": "gpu"})
    engine.seed_running("b", worker="w9")
    before = engine.dump()

    done = mend(engine, ("job", "a"), ("zset", "running:w9"))

    assert done == ["homeless later", "unknown-owner later"]
    assert engine.changed(before) == {}


def test_a_quarantine_that_is_broken_is_set_aside_before_anything_is_noted_in_it(
    engine: Engine,
) -> None:
    engine.client.set(engine.keys.quarantine, "oops")
    engine.seed_ready("a", attempt="x")

    assert twice(engine, ("job", "a")) == ["bad-field removed"]

    dump = engine.dump()
    assert dump[f"quarantine:{START}:quarantine"] == a_string("oops")
    assert dump["quarantine"] == a_hash(
        {f"{START}:quarantine": "wrong-type", f"{START}:job:a:attempt": "bad-field x"}
    )


def test_a_key_that_two_places_name_is_set_aside_once(engine: Engine) -> None:
    engine.client.set(engine.keys.ready, "oops")

    assert mend(engine, ("zset", "ready"), ("stray", "ready")) == [
        "wrong-type moved",
        "stray moved",
    ]

    assert engine.dump() == {
        f"quarantine:{START}:ready": a_string("oops"),
        "quarantine": a_hash({f"{START}:ready": "wrong-type string"}),
    }
