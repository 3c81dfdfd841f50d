"""taskq.rank: the order of jobs, and that Python and Lua agree on it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskq.commands import BATCH, NewJob, enqueue
from taskq.keys import QueueKeys
from taskq.rank import (
    BAND,
    HORIZON_MS,
    PATIENCE_MS,
    FairBook,
    Turn,
    aging_rank,
    charge_for,
    describe,
    fair_rank,
    strict_rank,
)
from taskq.store_sync import SyncStore
from tests.helpers import delete_queue

#: 1970 to 2199, as options.moment allows.
MS = st.integers(0, 7_258_118_400_000 - 1)
PRIORITY = st.integers(0, 9)
DEADLINE = st.none() | MS


@given(PRIORITY, DEADLINE, MS)
def test_a_rank_is_exact_in_a_double(priority: int, deadline: int | None, at: int) -> None:
    for rank in (strict_rank(priority, deadline, at), aging_rank(priority, deadline, at)):
        assert 0 <= rank < 2**53
        assert int(float(rank)) == rank


@given(PRIORITY, PRIORITY, DEADLINE, DEADLINE, MS, MS)
def test_a_higher_priority_always_goes_first(
    one: int, other: int, d1: int | None, d2: int | None, at1: int, at2: int
) -> None:
    if one > other:
        assert strict_rank(one, d1, at1) < strict_rank(other, d2, at2)


@given(PRIORITY, MS, MS)
def test_inside_a_band_the_earlier_due_goes_first(priority: int, one: int, other: int) -> None:
    near, far = sorted((one, other))

    assert strict_rank(priority, near, 0) <= strict_rank(priority, far, 0)
    assert strict_rank(priority, None, near) <= strict_rank(priority, None, far)


@given(PRIORITY, PRIORITY, DEADLINE, DEADLINE, MS)
def test_in_an_aging_queue_nothing_that_comes_much_later_goes_first(
    one: int, other: int, d1: int | None, d2: int | None, at: int
) -> None:
    later = at + max(PATIENCE_MS) + 1
    after = None if d2 is None else max(d2, later)

    assert aging_rank(one, d1, at) <= aging_rank(other, after, later)


@pytest.mark.parametrize(
    ("rank", "policy", "words"),
    [
        (1_700_000_000_123, "strict", "priority 9, due 2023-11-14 22:13:20.123 UTC"),
        (9 * BAND + 1_700_000_000_000, "strict", "priority 0, due 2023-11-14 22:13:20.000 UTC"),
        (1_700_000_000_123.0, "aging", "due 2023-11-14 22:13:20.123 UTC"),
        (4 * BAND + 12_345.0, "fair", "priority 5, turn 123.45"),
    ],
)
def test_a_rank_in_words(rank: float, policy: str, words: str) -> None:
    assert describe(rank, policy) == words


def starts(book: FairBook, *groups: str) -> list[float]:
    """Enter one job of 100 ms for each group named; their virtual starts."""
    return [book.enter(group, 100.0).start for group in groups]


def test_groups_take_turns_however_many_jobs_one_has() -> None:
    assert starts(FairBook(), "a", "a", "a", "b", "b") == [0, 100, 200, 0, 100]


def test_a_group_of_twice_the_weight_gets_twice_the_turns() -> None:
    assert starts(FairBook(weights={"b": 2.0}), "a", "a", "b", "b", "b") == [0, 100, 0, 50, 100]


def test_a_group_that_was_away_gets_no_credit_for_it() -> None:
    book = FairBook()
    for start in starts(book, *"aaaa"):
        book.claim(Turn(start, 100.0))

    assert starts(book, "b", "b", "a") == [300, 400, 400]


def test_virtual_time_never_steps_back() -> None:
    book = FairBook()
    book.claim(Turn(500.0, 100.0))
    book.claim(Turn(200.0, 100.0))

    assert book.vtime == 500


@pytest.mark.parametrize(("measured", "next_start"), [(100.0, 100.0), (350.0, 350.0), (20.0, 20.0)])
def test_the_measured_time_is_what_is_paid_in_the_end(measured: float, next_start: float) -> None:
    book = FairBook()
    turn = book.enter("a", 100.0)
    book.claim(turn)

    book.end("a", turn, measured)

    assert book.enter("a", 100.0).start == next_start


def test_a_correction_is_divided_by_the_weight_too() -> None:
    book = FairBook(weights={"a": 4.0})

    book.end("a", book.enter("a", 100.0), 300.0)

    assert book.finish["a"] == 75


def test_a_priority_goes_first_whatever_its_group_has_had() -> None:
    assert fair_rank(6, 10.0**9) < fair_rank(5, 0.0) < fair_rank(5, 0.5)


@pytest.mark.parametrize(
    ("averages", "unit", "charge"),
    [
        ({}, None, 100.0),
        ({"*": 40.0, "resize": 7.5}, None, 100.0),
        ({"*": 40.0}, 40.0, 100.0),
        ({"*": 60.0}, 40.0, 150.0),
        ({"*": 40.0, "resize": 10.0}, 40.0, 25.0),
        ({"other": 3.0}, 40.0, 100.0),
    ],
)
def test_what_a_job_is_charged_before_it_has_run(
    averages: dict[str, float], unit: float | None, charge: float
) -> None:
    assert charge_for(averages, "resize", unit) == charge


CHARGES = st.lists(st.tuples(st.sampled_from("abc"), st.floats(1.0, 1000.0)), min_size=1)


@given(CHARGES)
def test_while_two_groups_wait_their_service_differs_by_one_job_of_each_at_most(
    jobs: list[tuple[str, float]],
) -> None:
    """The bound of start-time fair queueing, for one slot and right estimates."""
    book = FairBook()
    waiting = sorted(
        (book.enter(group, charge).start, number, group, charge)
        for number, (group, charge) in enumerate(jobs)
    )
    served, largest = (
        dict.fromkeys("abc", 0.0),
        {
            group: max((charge for name, charge in jobs if name == group), default=0.0)
            for group in "abc"
        },
    )
    left = [group for _, _, group, _ in waiting]
    for _, _, group, charge in waiting:
        served[group] += charge
        left.remove(group)
        for other in set(left) - {group}:
            if group in left:
                bound = largest[group] + largest[other]
                assert abs(served[group] - served[other]) <= bound + 1e-6


JOBS = st.lists(st.tuples(PRIORITY, DEADLINE), min_size=1, max_size=BATCH)
PATIENCE = st.lists(st.integers(0, 10**9), min_size=10, max_size=10)


@pytest.mark.keeps_keys("looks at the ranks of jobs that nobody runs")
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    jobs=JOBS,
    horizon=st.none() | st.integers(0, 10**9),
    patience=st.none() | PATIENCE,
    aging=st.booleans(),
)
def test_the_script_and_python_give_every_job_the_same_rank(
    store: SyncStore,
    keys: QueueKeys,
    jobs: list[tuple[int, int | None]],
    horizon: int | None,
    patience: list[int] | None,
    aging: bool,
) -> None:
    client = store.client
    meta = {"policy": "aging"} if aging else {}
    if horizon is not None:
        meta["horizon_ms"] = str(horizon)
    if patience is not None:
        meta["patience_ms"] = " ".join(map(str, patience))
    if meta:
        client.hset(keys.meta, mapping=meta)
    new = [
        NewJob(f"j{n}", "t", b"", priority, deadline="" if due is None else str(due))
        for n, (priority, due) in enumerate(jobs)
    ]

    now = store.run(enqueue(keys, new, max_jobs=1000, all_or_none=True)).now_ms

    for n, (priority, due) in enumerate(jobs):
        if aging:
            expected = aging_rank(priority, due, now, patience or PATIENCE_MS)
        else:
            expected = strict_rank(priority, due, now, HORIZON_MS if horizon is None else horizon)
        assert client.zscore(keys.ready, f"j{n}") == expected
    delete_queue(client, keys.prefix)


@pytest.mark.keeps_keys("looks at the ranks of jobs that nobody runs")
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    jobs=st.lists(
        st.tuples(PRIORITY, st.sampled_from("abc"), st.sampled_from("tu")), min_size=1, max_size=40
    ),
    weights=st.dictionaries(st.sampled_from("ab"), st.sampled_from((0.25, 2.0, 3.0))),
    averages=st.dictionaries(st.sampled_from(("t", "*")), st.integers(1, 10**6).map(float)),
    vtime=st.sampled_from((0.0, 250.5)),
    unit=st.none() | st.sampled_from((0.5, 100.0, 7000.0)),
)
def test_in_a_fair_queue_the_script_and_the_book_give_every_job_the_same_turn(
    store: SyncStore,
    keys: QueueKeys,
    jobs: list[tuple[int, str, str]],
    weights: dict[str, float],
    averages: dict[str, float],
    vtime: float,
    unit: float | None,
) -> None:
    client = store.client
    client.hset(keys.meta, mapping={"policy": "fair", "vtime": str(vtime)})
    if unit is not None:
        client.hset(keys.meta, "unit_ms", str(unit))
    for name, numbers in (("weights", weights), ("averages", averages)):
        if numbers:
            client.hset(keys.prefix + name, mapping={k: str(v) for k, v in numbers.items()})
    book = FairBook(weights=weights, vtime=vtime)
    new = [
        NewJob(f"j{n:02}", task, b"", priority, extras=("group", group))
        for n, (priority, group, task) in enumerate(jobs)
    ]

    store.run(enqueue(keys, new, max_jobs=1000, all_or_none=True))

    for n, (priority, group, task) in enumerate(jobs):
        turn = book.enter(group, charge_for(averages, task, unit))
        assert client.zscore(keys.ready, f"j{n:02}") == fair_rank(priority, turn.start)
    for group, done in book.finish.items():
        assert client.zscore(keys.prefix + "shares", group) == pytest.approx(done)
    delete_queue(client, keys.prefix)
