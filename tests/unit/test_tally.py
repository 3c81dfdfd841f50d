"""taskq/worker/tally.py: what a worker measured, told once whatever gets lost."""

from __future__ import annotations

from taskq.commands import MEASURES, Measure
from taskq.worker.tally import Tally


def test_nothing_measured_is_nothing_to_tell() -> None:
    tally = Tally()
    assert tally.to_tell() == []
    assert tally.number == 0


def test_the_same_is_told_under_the_same_number_until_it_is_heard() -> None:
    tally = Tally()
    tally.ended("a", 0.5)
    first = tally.to_tell()
    tally.ended("a", 1.0)

    assert first == tally.to_tell() == [Measure("a", 1, 500.0)]
    assert tally.number == 1

    tally.told()
    assert tally.to_tell() == [Measure("a", 1, 1000.0)]
    assert tally.number == 2
    tally.told()
    assert tally.to_tell() == []
    assert tally.number == 2


def test_slack_and_lateness_are_told_with_the_least_slack_so_far() -> None:
    tally = Tally()
    tally.began("a", 2.0)
    tally.began("a", 0.5)
    assert tally.to_tell() == [Measure("a", 0, 0.0, 2, 2500.0, 500.0, 0)]
    tally.told()

    tally.began("a", 3.0)
    tally.was_late("a")
    tally.ended("a", 1.0)
    assert tally.to_tell() == [Measure("a", 1, 1000.0, 1, 3000.0, 500.0, 1)]


def test_more_tasks_than_fit_into_a_beat_take_turns() -> None:
    tally = Tally()
    names = [f"t{n}" for n in range(MEASURES + 20)]
    heard: list[str] = []
    for _ in range(2):
        for name in names:
            tally.ended(name, 0.1)
        told = tally.to_tell()
        assert len(told) == MEASURES
        heard += [one.task for one in told]
        tally.told()
    assert set(heard) == set(names)
