"""May this Redis user do what taskq is going to ask? Told before anything is written.

A script that is refused one of its commands stops half-way, and Lua does not roll back. What each
script needs is read off its source and its header; lua/rights.lua asks the server, once for each
queue and process.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from taskq.commands import Call, Word
from taskq.errors import StoreRefused
from taskq.keys import READY_OF_CLASS, TYPES, WAKE_OF_CLASS, QueueKeys
from taskq.scripts import Script, ScriptSet
from taskq.store import Store
from taskq.store_sync import SyncStore

TRIES = 3
#: Scripts a worker calls.
WORKER = (
    "ack", "bury", "cancel", "claim", "configure", "fail", "heartbeat", "held", "limit", "progress",
    "promote", "reap", "release", "retire",
)  # fmt: skip
#: What a worker sends beside its scripts: command and key.
PLAIN = {"BLPOP": "wake", "SRANDMEMBER": "classes"}

#: Every command of the scripts, with the arguments it must have after its key. With fewer a server
#: may look for keys where there are none, and crash.
_HASH = {"HDEL": "f", "HEXISTS": "f", "HGET": "f", "HGETALL": "", "HINCRBY": "f 1", "HLEN": ""}
_HASH |= {"HRANDFIELD": "", "HMGET": "f", "HSET": "f v"}
_ZSET = {"ZADD": "1 m", "ZCARD": "", "ZRANGE": "0 1", "ZREM": "m", "ZSCORE": "m"}
_ZSET |= {"ZCOUNT": "0 1", "ZRANK": "m"}
_SET = {"SADD": "m", "SCARD": "", "SISMEMBER": "m", "SRANDMEMBER": "", "SREM": "m"}
_OF_TYPE = {
    "hash": _HASH,
    "zset": _ZSET,
    "set": _SET,
    "list": {"BLPOP": "0", "LLEN": "", "RPUSH": "v"},
    "string": {"GET": "", "SET": "v"},
}
_ANY = {
    "DEL": "",
    "EXISTS": "",
    "PERSIST": "",
    "PEXPIRE": "1",
    "PTTL": "",
    "TYPE": "",
    "UNLINK": "",
}
_OTHER = {"PUBLISH": "m", "RENAME": "k", "TIME": ""}
ARGUMENTS = {**_HASH, **_ZSET, **_SET, **_OF_TYPE["list"], **_OF_TYPE["string"], **_ANY, **_OTHER}
#: Commands without a key.
_KEYLESS = frozenset({"TIME"})
#: What scripts try and can do without: nobody is refused for it.
OPTIONAL = frozenset({"INFO"})
READS = frozenset(
    {"GET", "HGET", "HGETALL", "HMGET", "HRANDFIELD", "SRANDMEMBER", "ZCOUNT", "ZRANGE", "ZRANK"}
    | {"ZSCORE"}
)
WRITES = frozenset(
    {"DEL", "HDEL", "HINCRBY", "HSET", "PERSIST", "PEXPIRE", "RENAME", "RPUSH", "SADD", "SET"}
    | {"SREM", "UNLINK", "ZADD", "ZREM"}
)


class Need(NamedTuple):
    """One question to the server: a command (`mode` run), or a key to read or write, or a channel
    to publish on. Each (command, key) in `answers` would be a yes.
    """

    mode: str
    name: str
    answers: tuple[tuple[str, str], ...]


def commands_of(script: Script) -> frozenset[str]:
    """The Redis commands a script must be allowed to run."""
    return frozenset(re.findall(r"(?:redis\.p?call|\bask)\('(\w+)'", script.source)) - OPTIONAL


def keys_of(script: Script) -> tuple[frozenset[str], frozenset[str]]:
    """The keys a script may touch, without the prefix: those in KEYS, and those it makes itself. A
    family of keys ends in a colon; `*` is any key.
    """
    declared: set[str] = set()
    derived: set[str] = set()
    for entries, found in ((script.header.keys, declared), (script.header.args, derived)):
        for label, text in entries:
            found.update(re.findall(r"(?:\{q\}|\| ):(\w+:?)", text.replace("[:<class>]", "")))
            found.update(name + ":" for name in re.findall(r"(\w+)\[:<class>\]", text))
            if re.fullmatch(r"text\s+taskq:\{q\}:", text):
                found.add("*")
            if label.split()[-1] == "ready" and "class" in script.source:
                derived.add(READY_OF_CLASS)
    # `base` is the prefix of all keys; a name follows: `base .. 'parked:' .. instance`.
    for name, more in re.findall(r"\bbase \.\. '(\w+:?)'( \.\.)?", script.source):
        derived.update({name, name + ":"} & TYPES.keys() if more else {name})
    if "wake .. ':'" in script.source:
        derived.add(WAKE_OF_CLASS)
    return frozenset(declared), frozenset(derived - declared)


def _fits(command: str, key: str) -> bool:
    kind = TYPES.get(key)
    anywhere = command in _ANY or command == "RENAME" or key == "*"
    return anywhere or bool(kind and command in _OF_TYPE[kind])


@functools.lru_cache(maxsize=64)
def needs(scripts: ScriptSet, names: tuple[str, ...]) -> tuple[Need, ...]:
    """What these scripts need, each command and each key once."""
    run: set[str] = set()
    asked: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for name in names:
        script = scripts.get(name)
        declared, derived = keys_of(script)
        run |= commands_of(script)
        # EVALSHA itself wants every key in KEYS open, whatever the script does with it.
        for key in declared:
            asked["read and write", key] = {("EVALSHA", key)}
        for command in commands_of(script) - _KEYLESS - {"PUBLISH"}:
            mode = "write" if command in WRITES else "read" if command in READS else "look at"
            for key in derived:
                if _fits(command, key):
                    asked.setdefault((mode, key), set()).add((command, key))
    if "claim" in names:
        run |= PLAIN.keys()
    if "PUBLISH" in run:
        run.discard("PUBLISH")
        asked["publish on", "ended:"] = {("PUBLISH", "ended:")}
    # EVALSHA was allowed with the key meta, so that one is open: only the command is in question.
    found = [
        Need("run", command, ((command, "" if command in _KEYLESS else "meta"),))
        for command in sorted(run & ARGUMENTS.keys())  # a test sees that none is missing there
    ]
    return (*found, *(Need(*what, tuple(sorted(asked[what]))) for what in sorted(asked)))


def rights(keys: QueueKeys, scripts: ScriptSet, names: Sequence[str], user: str) -> Call[str]:
    """Ask whether `user` may do what these scripts need: what is missing, in words; '' for
    nothing.
    """
    asked = needs(scripts, tuple(names))
    args: list[Word] = []
    for number, need in enumerate(asked):
        for command, key in need.answers:
            name = _sample(keys, key)
            args += (number, command, *_arguments(command, name))

    def parse(reply: list[Any]) -> str:
        return _words([asked[int(number)] for number in reply[1:]], keys, names, user)

    return Call("rights", (keys.meta,), args, parse)


def _arguments(command: str, key: str) -> tuple[str, str, str]:
    if command == "EVALSHA":
        return ("0", "1", key)
    first, second, *_ = (*ARGUMENTS[command].replace("k", key).split(), "", "")
    return (key, first, second)


def _sample(keys: QueueKeys, key: str) -> str:
    if not key:
        return ""
    return keys.prefix + key.replace("*", "0") + ("0" if key.endswith(":") else "")


#: How an ACL rule names each, the wider first.
_RULES = {
    "run": "+",
    "read and write": "~",
    "write": "~",
    "read": "%R~",
    "look at": "%R~",
    "publish on": "+publish &",
}


def _words(refused: Sequence[Need], keys: QueueKeys, names: Sequence[str], user: str) -> str:
    lacking = {need.name for need in refused if need.mode == "run"}
    pieces: dict[str, list[str]] = {}
    rules = []
    told: set[str] = set()
    for need in sorted(refused, key=lambda need: list(_RULES).index(need.mode)):
        name = need.name
        if need.mode != "run":
            if name in told or all(command in lacking for command, _ in need.answers):
                continue  # told already; or it may be open, but no command was left to try it with
            told.add(name)
            name = keys.prefix + name + ("*" if name.endswith(":") else "")
        pieces.setdefault(need.mode, []).append(name)
        rules.append(_RULES[need.mode] + (name.lower() if need.mode == "run" else name))
    if not rules:
        return ""
    missing = " nor ".join(f"{mode} {', '.join(found)}" for mode, found in pieces.items())
    needed = f"script {names[0]} needs" if len(names) == 1 else "taskq's scripts need"
    return (
        f"user {user!r} may not {missing}, which {needed}; nothing was written:"
        f" ACL SETUSER {user} {' '.join(rules)}"
    )


def _user(store: Store | SyncStore) -> str:
    return store.address.username or "default"


def _refused(
    store: Store | SyncStore, keys: QueueKeys, problem: StoreRefused | str
) -> StoreRefused:
    if isinstance(problem, str):
        return StoreRefused(f"Redis at {store.where}: {problem}")
    # Not even the question was allowed: EVALSHA, or any key of the queue.
    rules = f"+evalsha +script|load ~{keys.prefix}* &{keys.done_channel_prefix}*"
    return StoreRefused(
        f"{problem}; nothing was written; user {_user(store)!r} needs at least these rules:"
        f" ACL SETUSER {_user(store)} {rules}"
    )


async def check_rights(store: Store, keys: QueueKeys, *names: str) -> None:
    """Raise StoreRefused when the user of `store` lacks a right that these scripts need."""
    try:
        missing = await store.run(rights(keys, store.scripts, names, _user(store)), tries=TRIES)
    except StoreRefused as error:
        raise _refused(store, keys, error) from error
    if missing:
        raise _refused(store, keys, missing)


def check_rights_sync(store: SyncStore, keys: QueueKeys, *names: str) -> None:
    """As check_rights, blocking."""
    try:
        missing = store.run(rights(keys, store.scripts, names, _user(store)), tries=TRIES)
    except StoreRefused as error:
        raise _refused(store, keys, error) from error
    if missing:
        raise _refused(store, keys, missing)


def writing(scripts: ScriptSet) -> list[str]:
    """Names of all scripts that write."""
    return [n for n in scripts.names() if "no-writes" not in scripts.get(n).header.flags]
