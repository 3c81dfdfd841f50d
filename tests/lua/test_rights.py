"""rights: any state -> the same; a Redis user who lacks a right is told before anything is
written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from taskq import commands
from taskq.address import Address
from taskq.errors import StoreRefused
from taskq.rights import (
    ARGUMENTS,
    PLAIN,
    WORKER,
    check_rights_sync,
    commands_of,
    keys_of,
    needs,
    writing,
)
from taskq.scripts import ScriptSet
from taskq.store_sync import SyncStore
from tests.docs.lua_writes import writes
from tests.lua.engine import Engine
from tests.lua.scenarios import MUTATING, Case

SCRIPTS = ScriptSet()


class User:
    """A user of a real server; the test says what it may do."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = engine.keys.namespace

    def may(self, *rules: str, scripts: ScriptSet | None = None) -> SyncStore:
        """A store as this user, with these ACL rules and no others."""
        scripts = scripts or ScriptSet()  # read now: tests/mutation runs this with other scripts
        words = ("reset", "on", "nopass", *rules)
        self._engine.client.execute_command("ACL", "SETUSER", self.name, *words)
        path = self._engine.client.connection_pool.connection_kwargs["path"]
        client: Any = type(self._engine.client)(
            unix_socket_path=path, username=self.name, password="x"
        )
        return SyncStore(Address(host="here"), scripts=scripts, client=client)


@pytest.fixture
def user(real: Engine) -> Iterator[User]:
    made = User(real)
    yield made
    real.client.execute_command("ACL", "DELUSER", made.name)


def refusal(store: SyncStore, engine: Engine, *scripts: str) -> str:
    """What the check says; '' when all is allowed. It must write nothing."""
    before = engine.dump()
    try:
        check_rights_sync(store, engine.keys, *scripts)
    except StoreRefused as error:
        return str(error)
    finally:
        assert engine.changed(before) == {}
    return ""


def by_script() -> list[tuple[str, str]]:
    """Every inner command of every script that writes."""
    return [
        (name, command)
        for name in writing(SCRIPTS)
        for command in sorted(commands_of(SCRIPTS.get(name)))
    ]


def test_every_mutating_scenario_is_among_the_scripts_that_write() -> None:
    assert {case.script for case in MUTATING} == set(writing(SCRIPTS))


@pytest.mark.parametrize("name", writing(SCRIPTS))
def test_a_user_who_lacks_any_one_command_is_told_which_before_anything_is_written(
    real: Engine, user: User, name: str
) -> None:
    for command in sorted(commands_of(SCRIPTS.get(name))):
        store = user.may("~*", "&*", "+@all", f"-{command.lower()}")
        text = refusal(store, real, name)
        store.close()

        asked = "may not publish on" if command == "PUBLISH" else f"may not run {command},"
        assert asked in text
        assert f"script {name} needs" in text
        assert f" +{command.lower()}" in text.partition("ACL SETUSER default")[2]
        assert "\n" not in text


@pytest.mark.parametrize("name", writing(SCRIPTS))
def test_the_rules_it_asks_for_are_all_it_takes(real: Engine, user: User, name: str) -> None:
    """From nothing: adding what each refusal names ends in a user who may run the whole script."""
    rules = ["+evalsha", "+script|load", f"~{real.keys.meta}"]
    for _ in range(4):
        store = user.may(*rules)
        text = refusal(store, real, name)
        store.close()
        if not text:
            break
        rules += text.partition("ACL SETUSER default ")[2].split()
    assert text == ""
    for case in MUTATING:
        if case.script == name:
            run_whole(real, user, rules, case)


def run_whole(real: Engine, user: User, rules: list[str], case: Case) -> None:
    for key in real.dump():
        real.client.unlink(real.keys.prefix + key)
    call = case.build(real)
    # The clock of the tests is a key of its own.
    store = user.may(
        *rules, "+get", f"%R~{real.keys.namespace}:clock:*", "&c1", scripts=real.scripts
    )
    store.run(commands.Call(call.script, call.keys, call.args, lambda reply: reply))
    store.close()


@pytest.mark.parametrize("rule", ["%R~", "%W~"])
@pytest.mark.parametrize("name", ["reap", "cancel", "repair"])
def test_a_user_who_may_only_read_or_only_write_the_keys_is_told(
    real: Engine, user: User, name: str, rule: str
) -> None:
    """KEYS must be open for both, or EVALSHA itself is refused; others are made from a prefix."""
    declared = [f"~{key}" for key in declared_keys(real, name)]
    store = user.may(f"{rule}{real.keys.prefix}*", *declared, f"~{real.keys.meta}", "&*", "+@all")
    text = refusal(store, real, name)
    store.close()

    mode = "write" if rule == "%R~" else "read"
    assert f"may not {mode} {real.keys.prefix}" in text
    assert "job:*" in text or name == "repair"


def declared_keys(engine: Engine, name: str) -> list[str]:
    (case, *_) = [case for case in MUTATING if case.script == name]
    return list(case.build(engine).keys)


def test_a_user_of_other_keys_is_told_the_pattern(real: Engine, user: User) -> None:
    store = user.may(f"~{real.keys.namespace}:{{other}}:*", "&*", "+@all")
    text = refusal(store, real, "enqueue")
    store.close()

    assert "NOPERM" in text
    assert f"ACL SETUSER default +evalsha +script|load ~{real.keys.prefix}*" in text


def test_a_worker_without_its_channels_or_its_wake_list_is_told(real: Engine, user: User) -> None:
    silent = user.may("~*", "+@all")
    text = refusal(silent, real, *WORKER)
    silent.close()
    assert "may not publish on" in text
    assert f"&{real.keys.done_channel_prefix}*" in text

    deaf = user.may("~*", "&*", "+@all", "-blpop")
    text = refusal(deaf, real, *WORKER)
    deaf.close()
    assert "may not run BLPOP" in text


def test_the_default_user_may_do_everything(real: Engine) -> None:
    assert refusal(real.store, real, *writing(SCRIPTS)) == ""


def test_a_server_that_cannot_tell_is_trusted(engine: Engine) -> None:
    """The fake server knows no ACLs."""
    check_rights_sync(engine.store, engine.keys, *writing(SCRIPTS))


def ask(engine: Engine, *checks: str, keys: tuple[str, ...] | None = None) -> list[bytes]:
    keys = (engine.keys.meta,) if keys is None else keys
    reply: list[bytes] = engine.raw(commands.Call("rights", keys, checks, lambda reply: reply))
    return reply


def test_a_command_that_the_server_does_not_know_is_not_allowed(real: Engine) -> None:
    known = ("1", "GET", real.keys.meta, "", "")

    assert ask(real, "0", "NOSUCHCOMMAND", "a", "", "", *known) == [b"OK", b"0"]


def test_who_names_no_node_gets_no_answer(engine: Engine) -> None:
    assert ask(engine, "0", "GET", "a", "", "", keys=()) == [b"UNKNOWN"]


def test_the_fake_server_says_that_it_cannot_tell(engine: Engine) -> None:
    answer = b"UNKNOWN" if engine.kind == "fake" else b"OK"

    assert ask(engine, "0", "GET", engine.keys.meta, "", "") == [answer]


@pytest.mark.parametrize("name", writing(SCRIPTS))
def test_what_is_asked_about_is_what_the_script_touches(name: str) -> None:
    script = SCRIPTS.get(name)
    written = {re.sub(r"<\w+>$", "", key).removeprefix("taskq:{q}:") for key in writes(script)}

    # The counters of the minute are counted in a pcall: nobody needs a right for them.
    declared, derived = keys_of(script)
    assert "*" in derived or written - {"stats:"} <= declared | derived
    assert commands_of(script) <= set(ARGUMENTS)
    asked = needs(SCRIPTS, (name,))
    run = {need.name for need in asked if need.mode == "run"}
    assert commands_of(script) - run <= {"PUBLISH"}
    assert run - commands_of(script) == (set(PLAIN) if name == "claim" else set())
    assert {n.name for n in asked if n.mode == "read and write"} == declared
    assert {n.name for n in asked if n.mode == "write"} >= (written & derived)


def test_every_command_is_asked_about_with_all_the_arguments_it_must_have(real: Engine) -> None:
    """A server crashes on `SET` without a key: it looks for the key there."""
    for command, words in ARGUMENTS.items():
        (about,) = real.client.execute_command("COMMAND", "INFO", command).values()
        keyed = command != "TIME"
        assert 1 + keyed + len(words.split()) >= abs(int(about["arity"])), command
