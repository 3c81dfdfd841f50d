"""Capability classes: how they are put together, and who serves them."""

from __future__ import annotations

import random

import pytest

from taskq.classes import LABELS_LENGTH, check_labels, compose, lacks, parts, serves, with_part
from taskq.errors import InvalidOption
from taskq.keys import is_class


def test_a_class_is_its_parts_in_order_each_once() -> None:
    assert compose(["region=eu", "gpu", "process", "gpu"]) == "gpu+process+region=eu"
    assert compose([""]) == compose([]) == ""


def test_fragile_comes_first_as_the_script_that_adds_it_puts_it() -> None:
    assert compose(["arm", "fragile"]) == "fragile+arm"
    assert with_part("fragile+arm", "task.x") == "fragile+arm+task.x"


def test_a_class_keeps_its_parts_when_one_is_added() -> None:
    assert with_part("", "process") == "process"
    assert with_part("gpu", "task.resize") == "gpu+task.resize"
    assert with_part("gpu+task.resize", "process") == "gpu+process+task.resize"
    assert with_part("gpu+process", "process") == "gpu+process"


@pytest.mark.parametrize("seed", range(10))
def test_parts_and_compose_undo_each_other(seed: int) -> None:
    chance = random.Random(seed)
    known = ["gpu", "arm", "region=eu", "process", "fragile", "task.a.b", "zone=z_1"]
    chosen = chance.sample(known, chance.randrange(len(known) + 1))

    assert set(parts(compose(chosen))) == set(chosen)
    assert compose(parts(compose(chosen))) == compose(chosen)


@pytest.mark.parametrize(
    ("job_class", "missing"),
    [
        ("", []),
        ("fragile", []),
        ("gpu", []),
        ("gpu+region=eu", []),
        ("region=us", ["region=us"]),
        ("region", ["region"]),
        ("process", ["process"]),
        ("task.known", []),
        ("fragile+gpu+task.other", ["task.other"]),
        ("gpu+process+task.other", ["process", "task.other"]),
    ],
)
def test_a_worker_serves_a_class_when_it_lacks_no_part_of_it(
    job_class: str, missing: list[str]
) -> None:
    worker = (("gpu", "region=eu", "spare"), {"known": 1}, False)

    assert lacks(job_class, *worker) == missing
    assert serves(job_class, *worker) == (not missing)


def test_a_worker_with_processes_and_no_labels_serves_the_class_process() -> None:
    assert serves("process", (), (), processes=True)


def test_the_longest_labels_leave_room_for_every_other_part() -> None:
    labels = check_labels(
        "requires", ["x" * 32 + "=" + "y" * 32, "z" * (LABELS_LENGTH - 99) + "=" + "v" * 32]
    )

    longest = compose([*labels, "process", "fragile", "task." + "t" * 64])

    assert is_class(longest)


def test_labels_that_are_too_many_are_refused_with_the_bound() -> None:
    with pytest.raises(InvalidOption, match=r"requires: 20 labels of .* at most 110 characters"):
        check_labels("requires", [f"label-{number}" for number in range(20)])
