"""How the free slots of a worker are dealt to the partitions of a queue."""

from __future__ import annotations

import random

import pytest

from taskq.worker.shares import Known, class_slots, deal, depth, split


def known(*ranks: float, deep: bool = False) -> Known:
    return Known(ranks, deep)


def test_one_slot_goes_to_the_partition_with_the_best_job() -> None:
    assert deal(1, [known(7, 8), known(3, 9), known(5)]) == [0, 1, 0]


def test_slots_follow_the_ranks_as_if_all_jobs_stood_in_one_line() -> None:
    assert deal(4, [known(1, 2, 3, 40), known(10, 11), known(4, 50)]) == [3, 0, 1]


def test_equal_ranks_are_shared_by_nobody_twice() -> None:
    assert sum(deal(3, [known(5, 5), known(5, 5)])) == 3


def test_slots_beyond_what_is_known_go_evenly_to_those_that_may_hold_more() -> None:
    assert deal(9, [known(1, 2, deep=True), known(3), known(4, 5, deep=True)]) == [4, 1, 4]
    assert deal(10, [known(1, 2, deep=True), known(3), known(4, 5, deep=True)]) == [5, 1, 4]


def test_slots_for_which_no_job_is_known_are_kept() -> None:
    assert deal(9, [known(1, 2), known(3)]) == [2, 1]
    assert deal(9, []) == []


@pytest.mark.parametrize("seed", range(20))
def test_never_more_than_there_are_and_never_a_worse_job_before_a_known_better_one(
    seed: int,
) -> None:
    chance = random.Random(seed)
    parts = [
        known(
            *sorted(chance.random() for _ in range(chance.randrange(8))), deep=chance.random() < 0.5
        )
        for _ in range(chance.randint(1, 6))
    ]
    free = chance.randint(1, 30)

    shares = deal(free, parts)

    assert sum(shares) <= free
    assert all(
        share <= len(one.ranks) or one.deep for share, one in zip(shares, parts, strict=True)
    )
    taken = [rank for share, one in zip(shares, parts, strict=True) for rank in one.ranks[:share]]
    left = [rank for share, one in zip(shares, parts, strict=True) for rank in one.ranks[share:]]
    assert not left or max(taken) < min(left)
    assert not left or sum(shares) == free


def test_a_claim_asks_for_as_many_ranks_as_the_next_round_may_need() -> None:
    assert depth(1, 1) == 1
    assert depth(10, 3) == 8
    assert depth(1000, 200) == 50


@pytest.mark.parametrize(("whole", "count"), [(0, 3), (1, 3), (3, 3), (7, 3), (7, 1)])
def test_a_whole_is_split_to_the_last_one_and_no_further(whole: int, count: int) -> None:
    assert sum(split(whole, number, count) for number in range(count)) == whole


def test_claims_made_at_once_share_processes_and_the_one_fragile_job() -> None:
    classes = ("process", "fragile", "task.x")
    slots = [class_slots(classes, 3, 4, True, (turn, 3)) for turn in range(3)]

    assert [one["process"] for one in slots] == [2, 1, 1]
    assert [one["fragile"] for one in slots] == [1, 0, 0]
    assert all(one[""] == one["task.x"] == 3 for one in slots)
    assert class_slots(("gpu+process", "fragile+gpu", "gpu"), 9, 4, True, (0, 1)) == {
        "": 9,
        "gpu+process": 4,
        "fragile+gpu": 1,
        "gpu": 9,
    }
    assert class_slots(classes, 9, 4, False, (0, 1)) == {
        "": 9,
        "process": 4,
        "fragile": 0,
        "task.x": 9,
    }
