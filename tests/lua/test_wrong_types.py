"""A key that somebody wrote over: a script that cannot go on fails before its first write."""

from __future__ import annotations

import re

import pytest

from taskq.errors import StoreError, StoreRefused
from tests.lua.engine import MINUTE, Engine
from tests.lua.scenarios import CASES, MUTATING, Case


def indexes(engine: Engine) -> set[str]:
    """Every key a script of these scenarios may touch which is no job, without the prefix."""
    fixed = (
        "ready ready:gpu scheduled retry running:w1 dead done holders suspects wake meta classes"
    )
    fixed += f" stats alive:w1 cancels:w1 {MINUTE}"
    return {*fixed.split(), *(name for name in engine.dump() if not name.startswith("job:"))}


def test_every_script_has_a_scenario(engine: Engine) -> None:
    assert {case.script for case in CASES} == set(engine.scripts.names())


@pytest.mark.parametrize("case", MUTATING, ids=str)
def test_every_scenario_writes(engine: Engine, case: Case) -> None:
    call = case.build(engine)
    before = engine.dump()

    engine.raw(call)

    assert engine.changed(before)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_index_overwritten_by_another_type_stops_the_script_before_any_write(
    engine: Engine, case: Case
) -> None:
    stopped, half_done = [], {}
    case.build(engine)
    for name in sorted(indexes(engine)):
        for key in engine.dump():
            engine.client.delete(engine.keys.prefix + key)
        call = case.build(engine)
        broken = engine.keys.prefix + name
        engine.client.delete(broken)
        engine.client.set(broken, "oops")
        before = engine.dump()
        try:
            engine.raw(call)
        except StoreError as error:
            stopped.append(name)
            if not isinstance(error, StoreRefused) or engine.changed(before):
                half_done[name] = (str(error), engine.changed(before))

    assert half_done == {}
    assert MINUTE not in stopped, "a counter of the minute is not worth a job"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_job_overwritten_by_another_type_costs_only_itself(engine: Engine, case: Case) -> None:
    case.build(engine)
    jobs = [name for name in engine.dump() if name.startswith("job:")]
    for name in jobs:
        for key in engine.dump():
            engine.client.delete(engine.keys.prefix + key)
        call = case.build(engine)
        engine.client.set(engine.keys.prefix + name, "oops")
        before = engine.dump()
        try:
            engine.raw(call)
        except StoreRefused:
            # Only a producer who asks for just this id is refused, whole and in words.
            assert case.script == "enqueue"
            assert engine.changed(before) == {}


#: SET and DEL take whatever is there. The rest is not worth a job: counters, who is woken, what
#: holds a limit or waits for it, what groups have used.
ANY_TYPE = "job:|alive:|cancels:|stats:|slacks|wake:|holding:|parked:|rate:|shares|unique:"
#: What lost workers held may be unreadable: others go on. A set that is none has no ranks to turn.
MORE = {
    "reap": "running:",
    "reap under limits": "running:",
    "bury": "running:",
    "bury under limits": "running:",
    "configure a policy": "ready|turned",
    "promote timers": "turned",
}


@pytest.mark.parametrize("case", [one for one in MUTATING if one.script != "repair"], ids=str)
def test_a_call_that_would_write_to_a_key_of_another_type_is_refused(
    engine: Engine, case: Case
) -> None:
    """Whole, and nothing is written."""
    any_type = f"{ANY_TYPE}|{MORE.get(case.name, 'job:')}"
    call = case.build(engine)
    before = engine.dump()
    engine.raw(call)
    written = [name for name in engine.changed(before) if not re.match(any_type, name)]
    accepted = []
    for name in written:
        for key in engine.dump():
            engine.client.delete(engine.keys.prefix + key)
        call = case.build(engine)
        engine.client.delete(engine.keys.prefix + name)
        engine.client.set(engine.keys.prefix + name, "oops")
        before = engine.dump()
        try:
            engine.raw(call)
            accepted.append(name)
        except StoreRefused:
            assert engine.changed(before) == {}

    assert accepted == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_first_word_of_a_reply_is_one_that_the_header_names(engine: Engine, case: Case) -> None:
    call = case.build(engine)
    returns = " ".join(engine.scripts.get(call.script).header.returns)

    word = engine.raw(call)[0].decode()

    assert word in re.findall('{"([A-Z_]+)"', returns)
