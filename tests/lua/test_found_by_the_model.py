"""Cases in which a script and the model (tests/model) differed, and the script was wrong."""

from __future__ import annotations

from taskq import commands
from tests.lua.engine import Engine


def promote(engine: Engine) -> tuple[int, int]:
    return engine.run(commands.promote(engine.keys, 100))


def test_promote_says_that_nothing_is_due_once_the_last_timer_is_gone(engine: Engine) -> None:
    engine.seed_ready("a")
    engine.run(commands.configure(engine.keys, {"policy": "aging"}))

    assert promote(engine) == (0, -1)
