"""lua/progress.lua: how far a running job is."""

from __future__ import annotations

import pytest

from taskq import commands
from tests.lua.engine import START, WORKER, Engine, job

LEASE = {"token": 7, "worker": WORKER, "rank": 5, "started_ms": START}


def progress(engine: Engine, token: str = "7", worker: str = WORKER) -> str:
    return engine.run(commands.progress(engine.keys, "a", token, worker, 0.4, "halfway"))


def test_the_holder_of_the_token_notes_it(engine: Engine) -> None:
    engine.seed_running("a")
    before = engine.dump()

    assert progress(engine) == "OK"
    assert engine.changed(before) == {
        "job:a": job("running", **LEASE, progress="0.400", note="halfway")
    }


@pytest.mark.parametrize(("token", "worker"), [("6", WORKER), ("", WORKER), ("7", "w2")])
def test_a_stale_report_writes_nothing(engine: Engine, token: str, worker: str) -> None:
    engine.seed_running("a")
    before = engine.dump()

    assert progress(engine, token, worker) == "STALE"
    assert engine.changed(before) == {}


@pytest.mark.parametrize("state", ["completed", "ready", "retry"])
def test_a_report_after_the_end_writes_nothing(engine: Engine, state: str) -> None:
    engine.seed_job("a", state, token=7, worker=WORKER)
    before = engine.dump()

    assert progress(engine) == "STALE"
    assert engine.changed(before) == {}


@pytest.mark.parametrize("seed", [None, "oops"])
def test_a_report_on_no_job_creates_none(engine: Engine, seed: str | None) -> None:
    if seed:
        engine.client.set(engine.keys.job("a"), seed)
    before = engine.dump()

    assert progress(engine) == "GONE"
    assert engine.changed(before) == {}
