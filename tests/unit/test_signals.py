"""taskq/signals.py: ages, work, slack and workers needed, out of one look."""

from __future__ import annotations

from typing import Any

import pytest

from taskq.commands import Band, Holder, SignalsSeen, Waiting
from taskq.rank import BAND
from taskq.signals import signals_of, slots_needed
from taskq.views import Signals

NOW = 1_800_000_000_000


def row(
    deadline: float | None = None,
    *,
    task: str = "t",
    age: float = 1.0,
    priority: int = 5,
    **more: Any,
) -> Waiting:
    """A job enqueued `age` s ago whose deadline is in `deadline` s."""
    enqueued = NOW - round(age * 1000)
    due = None if deadline is None else NOW + round(deadline * 1000)
    rank = (9 - priority) * BAND + (enqueued + 60_000 if due is None else due)
    words = {"rank": float(rank), "enqueued_ms": enqueued, "deadline_ms": due, "cost": 1, **more}
    return Waiting(task=task, **words)


def seen(*rows: Waiting, behind: int = 0, **words: Any) -> SignalsSeen:
    """One class, one band; the averages of `t` are 1 s."""
    ordered = sorted(rows, key=lambda one: one.rank)
    fields: dict[str, Any] = {
        "now_ms": NOW, "ready": len(rows) + behind, "blocked": 0, "running": 0, "due": 0,
        "holders": [Holder("w1", 0, "alive", 4)], "policy": "", "horizon_ms": None, "paused": False,
        "averages": {"t": 1000.0, "*": 500.0},
        "bands": [Band("", len(rows) + behind, list(ordered))] if rows or behind else [],
        **words,
    }  # fmt: skip
    return SignalsSeen(**fields)


def signals(*parts: SignalsSeen, each: int = 10) -> Signals:
    return signals_of("q", parts, each)


def test_an_empty_queue_needs_nobody() -> None:
    found = signals(seen())

    assert (found.ready, found.workers, found.slots, found.workers_needed) == (0, 1, 4, 0)
    assert (found.oldest_age, found.least_slack, found.work) == (None, None, 0)
    assert (found.time_to_drain, found.utilisation, found.exact) == (0, 0, True)


def test_work_is_what_the_jobs_take_and_drains_over_the_live_slots() -> None:
    found = signals(seen(row(), row(task="unknown"), row(cost=3), running=2))

    assert found.work == 1 + 0.5 + 3
    assert found.time_to_drain == 4.5 / 4
    assert found.utilisation == 0.5
    assert found.workers_needed == 1


def test_where_nobody_works_it_never_drains() -> None:
    found = signals(seen(row(), holders=[Holder("w1", 0, "silent", 4)]))

    assert (found.workers, found.slots, found.time_to_drain, found.utilisation) == (
        0,
        0,
        None,
        None,
    )
    assert found.workers_needed == 1


def test_a_queue_that_measured_nothing_counts_a_tenth_of_a_second_a_job() -> None:
    assert signals(seen(row(), row(), averages={})).work == 0.2
    odd = {"t": -5.0, "*": float("inf")}
    assert signals(seen(row(), row(), averages=odd)).work == 0.2


def test_jobs_behind_those_read_count_like_them_and_the_rest_is_an_estimate() -> None:
    found = signals(seen(row(), row(task="x"), behind=8))

    assert not found.exact
    assert found.work == 10 * 0.75
    unread = signals(seen(bands=[Band("", 6, [])], ready=6))
    assert unread.work == 3.0
    assert not unread.exact


def test_the_oldest_may_be_in_a_band_that_is_not_first() -> None:
    urgent, old = row(age=2, priority=9), row(age=90, priority=1)
    bands = [Band("", 1, [urgent]), Band("", 1, [old])]

    assert signals(seen(ready=2, bands=bands)).oldest_age == 90


def test_age_counts_since_a_job_became_ready_not_since_it_was_scheduled() -> None:
    promoted = row(age=3600)._replace(rank=4.0 * BAND + NOW - 5000 + 60_000)
    assert signals(seen(promoted)).oldest_age == 5
    assert signals(seen(promoted._replace(deadline_ms=NOW + 1))).oldest_age == 3600
    assert signals(seen(promoted, policy="fair")).oldest_age == 3600
    assert signals(seen(row(age=-5))).oldest_age == 0


def test_least_slack_is_after_the_run_itself_and_late_jobs_are_counted() -> None:
    found = signals(seen(row(10), row(4), row(0.5), row(-3), row()))

    assert found.least_slack == -4
    assert found.late == 2


def test_the_demand_bound_is_the_steepest_of_all_deadlines() -> None:
    assert slots_needed(seen(*(row(10) for _ in range(30)))) == 3
    assert slots_needed(seen(row(10))) == 1, "a job takes one whole slot"
    assert slots_needed(seen(*(row(2) for _ in range(8)))) == 4
    # 8 s of work until second 4 is steeper than 1 s until second 2 and 9 s until second 100.
    assert slots_needed(seen(row(2), *(row(4) for _ in range(7)), row(100))) == 2
    assert slots_needed(seen(row(10, cost=5))) == 5, "a job needs its own slots at once"
    assert slots_needed(seen(row(), row())) == 0


def test_work_that_goes_first_is_due_with_the_job_behind_it() -> None:
    first = [row(priority=9) for _ in range(30)]
    late = row(10, priority=1)
    bands = [Band("", 130, first), Band("", 1, [late])]

    assert slots_needed(seen(ready=131, bands=bands)) == pytest.approx(131 / 10)


def test_half_of_what_runs_is_left() -> None:
    assert slots_needed(seen(row(10), running=40)) == (1 + 40 * 0.5 / 2) / 10


def test_what_nobody_can_finish_in_time_asks_for_no_worker() -> None:
    assert slots_needed(seen(*(row(0.5) for _ in range(50)))) == 0
    assert slots_needed(seen(*(row(-5) for _ in range(50)), row(10, cost=2))) == 2


@pytest.mark.parametrize(("slots", "needed"), [(1, 4), (3, 2), (4, 1), (100, 1)])
def test_workers_are_counted_in_what_those_alive_have(slots: int, needed: int) -> None:
    holders = [Holder("w1", 0, "alive", slots), Holder("w2", 0, "suspect", 1)]
    assert signals(seen(*(row(2) for _ in range(8)), holders=holders)).workers_needed == needed


def test_without_a_worker_the_caller_says_what_one_brings() -> None:
    jobs = [row(2) for _ in range(8)]
    assert signals(seen(*jobs, holders=[]), each=2).workers_needed == 2
    silent = [Holder("w1", 0, "alive", 0)]
    assert signals(seen(*jobs, holders=silent), each=2).workers_needed == 2


def test_one_worker_is_needed_for_what_is_due_blocked_or_running() -> None:
    for words in ({"due": 1}, {"blocked": 1}, {"running": 1}):
        assert signals(seen(**words)).workers_needed == 1
    assert signals(seen(due=4)).work == 2.0


def test_partitions_are_added_up_and_a_worker_has_its_slots_once() -> None:
    one = seen(row(age=5), running=1, holders=[Holder("w1", 1, "alive", 4)], paused=True)
    two = seen(
        row(2), row(), blocked=3, running=2,
        holders=[Holder("w1", 2, "alive", 4), Holder("w2", 0, "silent", 4)],
        averages={"t": 3000.0, "*": 500.0},
    )  # fmt: skip
    found = signals(one, two)

    assert (found.ready, found.blocked, found.running) == (3, 3, 3)
    assert (found.workers, found.slots, found.paused) == (1, 4, False)
    assert found.work == 6.0
    assert found.oldest_age == 5
