"""taskq.redis_errors: what each refusal of Redis means."""

from __future__ import annotations

import pytest

from taskq.errors import ScriptBug, ServerUnsupported, StoreError, StoreRefused, StoreUnavailable
from taskq.redis_errors import (
    PASSING,
    Moved,
    check_eviction,
    check_version,
    server_error,
    unreachable,
)

SCRIPT = "script: 4bf1, on @user_script:12."


@pytest.mark.parametrize("code", sorted(PASSING))
@pytest.mark.parametrize("form", ["{code} some words", "ERR {code} some words " + SCRIPT])
def test_a_passing_refusal_may_be_tried_again(code: str, form: str) -> None:
    assert type(server_error(form.format(code=code), "here")) is StoreUnavailable


@pytest.mark.parametrize(
    "message",
    [
        "ERR Script attempted to access a non local key in a cluster node " + SCRIPT,
        "ERR Attempted to access a non local key in a cluster node script: on @user_script:2.",
        "ERR Script attempted to execute a command while the cluster is down " + SCRIPT,
    ],
)
def test_a_script_that_meets_a_moving_slot_or_a_broken_cluster_may_be_tried_again(
    message: str,
) -> None:
    assert type(server_error(message, "here")) is StoreUnavailable


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("MOVED 3999 127.0.0.1:6381", (3999, "127.0.0.1", 6381)),
        ("MOVED 0 node-3.example:7000", (0, "node-3.example", 7000)),
        ("MOVED 16383 ::1:6381", (16383, "::1", 6381)),
        ("MOVED 16383 [::1]:6381", (16383, "::1", 6381)),
        ("MOVED 5 :6381", (5, "", 6381)),
    ],
)
def test_a_moved_slot_names_its_new_node(message: str, found: tuple[int, str, int]) -> None:
    error = server_error(message, "here")

    assert isinstance(error, Moved)
    assert (error.slot, error.host, error.port) == found
    assert "redis+cluster://" in str(error)


@pytest.mark.parametrize("message", ["MOVED", "MOVED x h:1", "MOVED 5 nonsense", "ASK 5 h:1"])
def test_what_does_not_say_where_to_is_no_redirect(message: str) -> None:
    assert type(server_error(message, "here")) is StoreUnavailable


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("NOAUTH Authentication required.", "give the password"),
        (
            "WRONGPASS invalid username-password pair or user is disabled.",
            "check user name and password",
        ),
        (
            "ERR AUTH <password> called without any password configured",
            "check user name and password",
        ),
        ("NOPERM User x has no permissions to run the 'zadd' command", "missing permission"),
        ("NOPERM this user has no permissions to access one of the keys", "missing permission"),
        (
            "ERR The user executing the script can't run this command or subcommand " + SCRIPT,
            "missing permission",
        ),
        (
            "ERR ACL failure in script: No permissions to access a key " + SCRIPT,
            "missing permission",
        ),
        (
            "ERR ACL failure in script: User x has no permissions to run the 'zadd' command "
            + SCRIPT,
            "missing permission",
        ),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "taskq doctor"),
        (
            "WRONGTYPE Operation against a key holding the wrong kind of value " + SCRIPT,
            "taskq doctor",
        ),
        ("ERR DB index is out of range", "no such database"),
    ],
)
def test_what_a_person_must_change_is_refused_with_the_remedy(message: str, words: str) -> None:
    error = server_error(message, "redis://here")

    assert type(error) is StoreRefused
    assert words in str(error)
    assert "redis://here" in str(error)


@pytest.mark.parametrize(
    "message",
    [
        "ERR user_script:5: attempt to index a nil value " + SCRIPT,
        "ERR Error compiling script (new function)",
    ],
)
def test_a_script_that_fails_by_itself_is_a_bug_of_ours(message: str) -> None:
    assert type(server_error(message, "here")) is ScriptBug


def test_too_many_clients_may_pass() -> None:
    error = server_error("ERR max number of clients reached", "here")

    assert type(error) is StoreUnavailable
    assert "maxclients" in str(error)


def test_anything_else_is_said_as_it_came() -> None:
    assert type(server_error("ERR unknown command 'FOO'", "here")) is StoreError


def test_a_message_is_one_short_line() -> None:
    text = str(server_error("ERR a\r\nb\n" + "x" * 5000, "here"))

    assert "\n" not in text
    assert len(text) < 500


def test_an_unreachable_server_is_named_with_the_cause() -> None:
    assert "here" in str(unreachable("here", OSError("connection refused")))
    assert "connection refused" in str(unreachable("here", OSError("connection refused")))
    assert "TimeoutError" in str(unreachable("here", TimeoutError()))


@pytest.mark.parametrize(
    ("server", "version"),
    [
        ("redis", "6.2.14"),
        ("redis", ""),
        ("redis", "x"),
        ("valkey", "7.0.0"),
        ("valkey", "7"),
        ("redis", "0.0"),
    ],
)
def test_an_old_server_is_unsupported(server: str, version: str) -> None:
    with pytest.raises(ServerUnsupported, match=r"Redis >= 7\.0 or Valkey >= 7\.2"):
        check_version(server, version, "here")


@pytest.mark.parametrize(
    ("server", "version"),
    [("redis", "7.0.0"), ("redis", "8.10.1"), ("valkey", "7.2.4"), ("valkey", "9.1.2")],
)
def test_a_new_enough_server_is_supported(server: str, version: str) -> None:
    check_version(server, version, "here")


@pytest.mark.parametrize(
    "policy", ["allkeys-lru", "volatile-ttl", "allkeys-random", "volatile-lfu"]
)
def test_a_server_that_may_drop_keys_is_unsupported(policy: str) -> None:
    with pytest.raises(
        ServerUnsupported, match=f"{policy}.*CONFIG SET maxmemory-policy noeviction"
    ):
        check_eviction(policy, "here")


@pytest.mark.parametrize("policy", ["noeviction", ""])
def test_a_server_that_drops_nothing_is_supported(policy: str) -> None:
    check_eviction(policy, "here")
