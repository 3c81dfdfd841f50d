"""taskq.keys: names that may be part of a key, and the keys made of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.errors import InvalidName, TaskqError
from taskq.keys import QueueKeys, SharedKeys, check_class, check_name

BAD = [
    "",
    "a b",
    "a:b",
    "a}",
    "{a",
    "*",
    "../x",
    "x" * 65,
    "a\x00",
    "a\n",
    "\N{PILE OF POO}",
    "é",
    "٣",
]


@pytest.mark.parametrize("name", [*BAD, None, 5, b"q", ["q"]])
def test_a_name_that_breaks_the_rule_is_refused_in_one_line(name: object) -> None:
    with pytest.raises(InvalidName, match="1 to 64 letters, digits") as caught:
        check_name(name, "queue")

    assert isinstance(caught.value, TaskqError)
    assert str(caught.value).startswith("queue ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "x" * 64, "..", "-"])
def test_a_name_within_the_rule_is_returned(name: str) -> None:
    assert check_name(name, "queue") == name


@pytest.mark.parametrize("name", BAD)
def test_namespace_and_queue_follow_the_same_rule(name: str) -> None:
    with pytest.raises(InvalidName, match=r"^queue"):
        QueueKeys("taskq", name)
    with pytest.raises(InvalidName, match=r"^namespace"):
        QueueKeys(name, "q")
    with pytest.raises(InvalidName, match=r"^namespace"):
        SharedKeys(name)


NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)


@given(NAMES, NAMES, NAMES)
def test_all_keys_of_a_queue_share_one_hash_tag(namespace: str, queue: str, other: str) -> None:
    keys = QueueKeys(namespace, queue)
    made = [getattr(keys, name) for name in keys.__slots__ if name not in ("namespace", "queue")]
    made += [keys.job(other), keys.running(other), keys.alive(other), keys.cancels(other)]
    made += [keys.ready_of(other), keys.minute(7), keys.ended_channel(other)]

    for key in made:
        assert key.startswith(f"{namespace}:{{{queue}}}:")
        assert key.count("{") == key.count("}") == 1
    assert len(set(made)) >= len(keys.__slots__) - 2


def test_keys_read_as_the_design_writes_them() -> None:
    keys = QueueKeys("taskq", "mail")

    assert keys.job("a") == "taskq:{mail}:job:a"
    assert keys.ready_of("") == "taskq:{mail}:ready"
    assert keys.ready_of("gpu") == "taskq:{mail}:ready:gpu"
    assert keys.running("w") == "taskq:{mail}:running:w"
    assert keys.minute(28) == "taskq:{mail}:stats:28"
    assert SharedKeys("taskq").worker("w") == "taskq:worker:w"


@pytest.mark.parametrize("name", ["gpu", "gpu+region=eu", "fragile+process+task.a-b_c", "x" * 200])
def test_a_class_is_longer_than_a_name_and_may_have_more_signs(name: str) -> None:
    assert check_class(name) == name


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x" * 201, "{q}", None, 5], ids=repr)
def test_what_is_no_class_is_refused_in_one_line(name: object) -> None:
    with pytest.raises(InvalidName) as caught:
        check_class(name)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_each_class_has_a_wake_list_beside_its_ready_set() -> None:
    keys = QueueKeys("taskq", "mail")

    assert (keys.wake_of(""), keys.ready_of("")) == (keys.wake, keys.ready)
    assert keys.wake_of("gpu+process") == "taskq:{mail}:wake:gpu+process"
