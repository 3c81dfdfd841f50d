"""Calls of repair, for its tests."""

from __future__ import annotations

from taskq.commands import Place
from tests.lua.engine import Engine
from tests.lua.scenarios import repair_call


def mend(engine: Engine, *places: tuple[str, str | bytes]) -> list[str]:
    """What was done about each place: `code done`."""
    asked = [
        Place(where.encode(), name if isinstance(name, bytes) else name.encode())
        for where, name in places
    ]
    done = engine.run(repair_call(engine, asked))
    assert {entry.place for entry in done} <= set(asked)
    return [f"{entry.code} {entry.done}" for entry in done]


def twice(engine: Engine, *places: tuple[str, str | bytes]) -> list[str]:
    """`mend`, and once more, which must find nothing."""
    done = mend(engine, *places)
    before = engine.dump()
    assert mend(engine, *places) == []
    assert engine.changed(before) == {}
    return done
