"""Names of partitions, which one a job belongs to, and several of them as one queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq import TaskQ
from taskq.client import Limits
from taskq.errors import InvalidName, InvalidOption
from taskq.inspect import QueueView
from taskq.keys import QueueKeys
from taskq.partition import partition_names, partition_of, partitions_among, shown_places
from taskq.partitioned import added, wholes
from taskq.queue_settings import QueueSettings


def test_the_first_partition_is_the_queue_itself() -> None:
    assert partition_names("mail", 3) == ["mail", "mail~1", "mail~2"]
    assert partition_names("mail", 1) == ["mail"]


@given(job_id=st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True), count=st.integers(1, 64))
def test_a_job_is_always_in_the_same_partition(job_id: str, count: int) -> None:
    place = partition_of("q", job_id, count)

    assert place in partition_names("q", count)
    assert place == partition_of("q", job_id, count)


def test_where_jobs_are_never_changes_between_versions() -> None:
    """Ids of jobs outlive a deploy: this is part of the wire format."""
    assert partition_of("mail", "sum-1", 4) == "mail~2"
    assert partition_of("mail", "06f2k9t1m8000cj3v5q7xyz1", 64) == "mail~18"


def test_ids_of_one_process_spread_evenly() -> None:
    app = TaskQ()
    counts = dict.fromkeys(partition_names("q", 8), 0)
    for _ in range(8000):
        counts[partition_of("q", app._ids.new(), 8)] += 1

    assert max(counts.values()) < 1.2 * 1000


def test_partitions_are_listed_in_the_order_of_their_numbers() -> None:
    names = ["mail~10", "mail~2", "mails", "mail", "mail~1"]

    assert partitions_among(names, "mail") == ["mail", "mail~1", "mail~2", "mail~10"]


def test_a_run_of_partitions_is_shown_in_short() -> None:
    names = ["default", *partition_names("mail", 3), "post~2"]

    assert shown_places(names) == "default, mail (3 partitions), post~2"


@pytest.mark.parametrize(
    "name", ["mail~", "mail~0", "mail~01", "mail~100", "~1", "mail~1~1", "m~x"]
)
def test_what_is_no_partition_has_no_keys(name: str) -> None:
    with pytest.raises(InvalidName):
        QueueKeys("ns", name)
    assert QueueKeys("ns", "mail~99").ready == "ns:{mail~99}:ready"


def test_no_queue_of_an_app_can_be_named_like_a_partition() -> None:
    app = TaskQ()
    with pytest.raises(InvalidName):
        app.queue("mail~1")
    with pytest.raises(InvalidName):
        app.task(queue="mail~1")(len)


@pytest.mark.parametrize("count", [0, 65, 2.0, True, "4"])
def test_a_queue_has_1_to_64_partitions(count: object) -> None:
    with pytest.raises(InvalidOption, match=r"partitions=.*: use a whole number from 1 to 64"):
        QueueSettings.checked("q", partitions=count)  # type: ignore[arg-type]


def test_bounds_are_shared_out_and_rounded_up() -> None:
    assert QueueSettings.checked("q", max_jobs=10, partitions=4).meta() == {"max_jobs": "3"}
    limits = Limits(10, 1, 1, partitions={"mail": 4})
    assert [limits.bound(name) for name in ("mail", "mail~3", "post")] == [3, 3, 10]
    assert Limits(10, 1, 1).bound("mail") == 10


def test_an_app_forgets_partitions_it_has_no_more() -> None:
    app = TaskQ()
    app.queue("mail", partitions=4)
    assert app.places_of(["mail", "post", "mail~3"]) == [*partition_names("mail", 4), "post"]
    app.queue("mail")
    assert app.places_of(["mail"]) == ["mail"]
    assert not app.partitions


def view(name: str, ready: int, head: float | None, **words: object) -> QueueView:
    fields: dict[str, object] = {
        "name": name, "now_ms": 5, "jobs": {"ready": ready}, "classes": {"process": 1},
        "holders": {"w": (ready, "alive")}, "paused_at": None, "policy": "strict", "horizon": 60.0,
        "max_jobs": 5, "counters": {"claimed": ready}, "due_in": None, "head": name,
        "head_rank": head, "head_waits": 1.0, **words,
    }  # fmt: skip
    return QueueView(**fields)  # type: ignore[arg-type]


def test_partitions_add_up_to_one_queue() -> None:
    parts = [
        view("mail", 1, 30),
        view("mail~1", 2, 10, due_in=4.0),
        view("mail~2", 0, None, holders={"w": (1, "suspect"), "v": (2, "alive")}),
    ]

    whole = added("mail", parts)

    assert (whole.name, whole.jobs, whole.classes) == ("mail", {"ready": 3}, {"process": 3})
    assert whole.holders == {"w": (4, "suspect"), "v": (2, "alive")}
    assert (whole.head, whole.head_rank, whole.due_in, whole.max_jobs) == ("mail~1", 10, 4.0, 15)
    assert whole.counters == {"claimed": 3}
    assert [one.view.name for one in wholes([parts[1], view("post", 1, 1), *parts[::2]])] == [
        "mail",
        "post",
    ]
