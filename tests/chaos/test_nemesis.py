"""The short profile of the nemesis, and that its schedules can be repeated."""

from __future__ import annotations

import os

import pytest

from tests.chaos.nemesis import run
from tests.chaos.produce import parse_mix
from tests.chaos.schedule import SEATS, SERVER_FAULTS, WORKER_FAULTS, schedule


@pytest.mark.timeout(240)
@pytest.mark.skipif(
    os.environ.get("CI") != "true", reason="a minute long: run by CI; here say `make chaos`"
)
def test_a_minute_of_random_faults_loses_and_repeats_nothing() -> None:
    """Everything at once, by a seed. H1 to H7: judged as every scenario is."""
    lines: list[str] = []

    summary, well = run(60, seed=1, rate=150, say=lines.append)

    assert well, "\n".join([*lines, summary])


def test_a_seed_says_it_all() -> None:
    first, again = schedule(7, 600, ["network"]), schedule(7, 600, ["network"])

    assert first == again
    assert first != schedule(8, 600, ["network"])
    assert {step.kind for step in first} >= {kind.name for kind in WORKER_FAULTS + SERVER_FAULTS}
    assert {step.seat for step in first} == {-1, *range(SEATS)}
    assert all(3 <= step.at < 592 for step in first)


def test_without_a_network_there_are_no_network_faults() -> None:
    kinds = {step.kind for step in schedule(7, 600, [])}

    assert not kinds & {kind.name for kind in WORKER_FAULTS if kind.needs == "network"}
    assert "kill" in kinds


def test_a_mix_is_read() -> None:
    calls, weights = parse_mix("quick*7,sleeper:0.2/1*2,fails:1")

    assert calls == [("quick", ()), ("sleeper", (0.2, 1)), ("fails", (1,))]
    assert weights == [7.0, 2.0, 1.0]
