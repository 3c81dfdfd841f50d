"""taskq.rank: the order of jobs, and that Python and Lua agree on it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskq.commands import BATCH, NewJob, enqueue
from taskq.keys import QueueKeys
from taskq.rank import BAND, HORIZON_MS, PATIENCE_MS, aging_rank, describe, strict_rank
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
    ],
)
def test_a_rank_in_words(rank: float, policy: str, words: str) -> None:
    assert describe(rank, policy) == words


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
    client = store._client
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
