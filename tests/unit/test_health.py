"""taskq.worker.health: how fit a worker is, and how many slots it uses."""

from __future__ import annotations

import itertools
import os
import time
from types import SimpleNamespace

import psutil
import pytest

from taskq.worker.health import Health, fall


class Machine:
    """What the worker sees: memory in percent, load, and CPU seconds of this process."""

    memory = 10.0
    load = 0.0
    cpu = 0.0
    rss = 0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    seen = Machine()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(percent=seen.memory))
    monkeypatch.setattr(os, "getloadavg", lambda: (seen.load, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(time, "process_time", lambda: seen.cpu)
    return seen


def of(machine: Machine, slots: int = 100, *, most_rss: int = 0, aware: bool = True) -> Health:
    return Health(slots, rss=lambda: machine.rss, most_rss=most_rss, aware=aware)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def pass_(self, one: Health, seconds: float, lag: float = 0.0) -> list[int]:
        """Slots after each second, while every tick is `lag` late."""
        slots = []
        for _ in range(round(seconds)):
            end = self.now + 1.0
            while self.now < end - 1e-9:
                self.now += 0.1 + lag
                one.tick(self.now, lag)
            slots.append(one.slots)
        return slots


def test_the_fall_is_even_between_good_and_bad() -> None:
    assert [fall(value, 2.0, 4.0) for value in (0.0, 2.0, 3.0, 4.0, 9.0)] == [1, 1, 0.55, 0.1, 0.1]
    assert fall(9.0, 2.0, 4.0, 0.5) == 0.5


def test_a_worker_at_ease_uses_all_its_slots_and_answers_at_once(machine: Machine) -> None:
    one, clock = of(machine), Clock()

    assert set(clock.pass_(one, 10, lag=0.02)) == {100}
    assert (one.score, one.delay, one.word) == (1.0, 0.0, "ok")


def test_cpu_that_its_own_jobs_use_takes_no_slots_but_others_go_first(machine: Machine) -> None:
    one, clock = of(machine), Clock()

    for _ in range(20):
        machine.cpu += 1.2  # looks are up to 1.1 s apart
        assert clock.pass_(one, 1) == [100]

    assert one.score == 0.5
    assert one.word == "busy 0.5"
    assert one.delay == pytest.approx(0.01)


def test_a_loop_that_turns_late_takes_slots_step_by_step_and_leaves_one(machine: Machine) -> None:
    one, clock = of(machine), Clock()

    slots = clock.pass_(one, 20, lag=0.9)

    steps = [before - after for before, after in itertools.pairwise([100, *slots])]
    assert all(0 <= step <= 20 for step in steps)
    assert slots[-1] <= 30
    assert one.word == f"busy {one.score:.1f}"
    assert Health(1, rss=lambda: 0).slots == 1


def test_the_least_fit_worker_keeps_one_slot(machine: Machine) -> None:
    machine.memory = 99.9
    one, clock = of(machine, slots=4), Clock()

    assert clock.pass_(one, 30)[-1] == 1


def test_memory_near_its_bound_takes_slots(machine: Machine) -> None:
    one, clock = of(machine, most_rss=1000), Clock()
    machine.rss = 800
    assert clock.pass_(one, 5)[-1] == 100

    machine.rss = 925

    assert clock.pass_(one, 10)[-1] == 60, "within a tenth of the 55 that fit"


def test_slots_come_back_slowly_after_the_cause_is_gone(machine: Machine) -> None:
    one, clock = of(machine), Clock()
    machine.memory = 98.0
    low = clock.pass_(one, 20)[-1]

    machine.memory = 50.0
    back = clock.pass_(one, 20)

    assert low == 10
    assert back[:2] == [10, 10], "two good seconds are not enough"
    assert back == sorted(back)
    assert max(after - before for before, after in itertools.pairwise(back)) <= 10
    assert back[-1] == 100


def test_what_swings_by_less_than_a_tenth_moves_nothing(machine: Machine) -> None:
    one, clock = of(machine, most_rss=1000), Clock()
    machine.rss = 925
    before = clock.pass_(one, 20)[-1]

    seen = set()
    for rss in itertools.islice(itertools.cycle((915, 930)), 20):
        machine.rss = rss
        seen.update(clock.pass_(one, 1))

    assert seen == {before}


def test_slots_that_make_the_loop_late_settle_and_do_not_swing(machine: Machine) -> None:
    """More slots than the machine bears: each slot above 40 makes the loop 20 ms later."""
    one, clock = of(machine), Clock()

    slots = [clock.pass_(one, 1, lag=max(0, one.slots - 40) * 0.02)[-1] for _ in range(120)]

    late = slots[60:]
    assert max(late) - min(late) <= 20
    assert sum(a != b for a, b in itertools.pairwise(late)) <= 20


def test_one_that_is_not_aware_is_always_well(machine: Machine) -> None:
    machine.memory, machine.load = 99.9, 50.0
    one, clock = of(machine, aware=False), Clock()

    assert set(clock.pass_(one, 10, lag=2.0)) == {100}
    assert (one.score, one.word) == (1.0, "ok")
