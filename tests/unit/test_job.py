"""taskq.job: ids and states."""

from __future__ import annotations

import os
import threading
import time

import pytest

from taskq.job import JobIds, State
from taskq.keys import check_name

ALPHABET = set("0123456789abcdefghjkmnpqrstvwxyz")


def test_an_id_is_24_characters_that_may_be_part_of_a_key() -> None:
    job_id = JobIds().new()

    assert len(job_id) == 24
    assert set(job_id) <= ALPHABET
    assert check_name(job_id, "job id") == job_id


def test_an_id_begins_with_its_time() -> None:
    before = time.time_ns() // 1_000_000
    job_id = JobIds().new()
    after = time.time_ns() // 1_000_000

    ms = 0
    for character in job_id[:9]:
        ms = ms * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(character)
    assert before <= ms <= after


def test_ids_of_one_process_come_in_order() -> None:
    ids = JobIds()
    made = [ids.new() for _ in range(20_000)]

    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_of_several_makers_sort_by_time() -> None:
    first = JobIds().new()
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= now + 1:
        pass

    assert first < JobIds().new()


def test_threads_never_get_the_same_id() -> None:
    ids, made, start = JobIds(), [], threading.Barrier(8)

    def make() -> None:
        start.wait()
        made.extend([ids.new() for _ in range(5000)])

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(made)) == 40_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_makes_other_ids() -> None:
    ids = JobIds()
    ids.new()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, "".join(ids.new() for _ in range(100)).encode())
        os._exit(0)
    os.close(write)
    ours = {ids.new() for _ in range(100)}
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)

    theirs = {text[i : i + 24] for i in range(0, len(text), 24)}
    assert len(theirs) == 100
    assert not ours & theirs
    assert not {job_id[13:] for job_id in ours} & {job_id[13:] for job_id in theirs}


def test_a_clock_that_steps_back_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = JobIds()
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    first = ids.new()
    monkeypatch.setattr(time, "time_ns", lambda: now - 10**10)

    assert first[:9] == ids.new()[:9]


def test_four_states_are_ends() -> None:
    assert [state for state in State if state.ended] == [
        "completed",
        "dead",
        "expired",
        "cancelled",
    ]
    assert len(State) == 9


def test_ids_stay_unique_while_the_clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = JobIds()
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_000_000_000)

    made = {ids.new() for _ in range(2**20 + 10)}

    assert len(made) == 2**20 + 10
