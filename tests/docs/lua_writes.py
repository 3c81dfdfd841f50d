"""Which keys a script writes, read off its source: follows key variables through assignments,
tables and includes.

Knows no control flow and no table positions: a table that holds a key stands for that key. That is
enough, because the scripts keep keys and values in different variables; a script that did not would
show a write too many here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from taskq.keys import TYPES
from taskq.scripts import Script

WRITES = frozenset(
    [
        "HSET",
        "HSETNX",
        "HDEL",
        "HINCRBY",
        "ZADD",
        "ZREM",
        "SADD",
        "SREM",
        "RPUSH",
        "LPUSH",
        "LPOP",
        "SET",
        "DEL",
        "UNLINK",
        "PEXPIRE",
        "PERSIST",
        "RENAME",
    ]
)
READS = frozenset(
    [
        "GET",
        "HGET",
        "HMGET",
        "HGETALL",
        "HLEN",
        "HEXISTS",
        "HRANDFIELD",
        "ZRANGE",
        "ZCARD",
        "ZCOUNT",
        "ZSCORE",
        "ZCOUNT",
        "ZRANK",
        "GET",
        "SCARD",
        "SRANDMEMBER",
        "SISMEMBER",
        "LLEN",
        "EXISTS",
        "INFO",
        "PTTL",
        "TIME",
        "TYPE",
    ]
)
#: Not about a key.
OTHER = frozenset({"PUBLISH"})
#: Functions of lua/include that return the keys they were given.
HAND_ON = ("read_ready",)

_FUNCTION = re.compile(r"^local function (\w+)\(([^)]*)\)$", re.M)

Keys = frozenset[str]


def patterns(script: Script) -> dict[str, Keys]:
    """Key patterns by position `KEYS[i]`, and by ARGV name for prefixes, from the header."""
    found: dict[str, Keys] = {}
    for label, text in script.header.keys:
        position = label.split()[0].removesuffix("...")
        # Two blanks end a pattern: `taskq:{q}:ready[:<class>] | :scheduled  zset  the index`.
        found[f"KEYS[{position}]"] = keys = frozenset(_spelled_out(re.split(r"\s{2,}", text)[0]))
        if "..." in label:
            found["KEYS[i]"] = keys
    return found


def _spelled_out(text: str) -> Iterable[str]:
    """`taskq:{q}:ready[:<class>] | :dead` is three patterns."""
    text = re.split(r" +(?:zset|hash|set|list|string)\b", text)[0].strip()
    for part in text.split(" | "):
        whole = part if part.startswith("taskq:") else "taskq:{q}" + part
        optional = re.search(r"\[(.*)\]", whole)
        if optional:
            yield whole.replace(optional[0], "")
            yield whole.replace(optional[0], optional[1])
        else:
            yield whole


#: What a prefix or a base becomes when something is appended to it.
_LONGER = {
    "taskq:{q}:job:": "taskq:{q}:job:<id>",
    "taskq:{q}:running:": "taskq:{q}:running:<worker>",
    "taskq:{q}:alive:": "taskq:{q}:alive:<worker>",
    "taskq:{q}:cancels:": "taskq:{q}:cancels:<worker>",
    "taskq:{q}:ready": "taskq:{q}:ready:<class>",
    "taskq:{q}:wake": "taskq:{q}:wake:<class>",
    "taskq:{q}:stats": "taskq:{q}:stats:<minute>",
    "taskq:{q}:quarantine": "taskq:{q}:quarantine:<name>",
}
#: The prefix of all keys of a queue (scripts call it `base`, and have it from `job_prefix`), and
#: what it becomes: any of them, if no name follows.
_ALL = "taskq:{q}:"
_RESTS = {
    "job:": "<id>",
    "ready:": "<class>",
    "turned:": "<class>",
    "wake:": "<class>",
    "stats:": "<minute>",
    "holding:": "<instance>",
    "rate:": "<instance>",
    "parked:": "<instance>",
    "unique:": "<key>",
}
EVERY = frozenset(
    _ALL + name + (_RESTS.get(name, "<worker>") if name.endswith(":") else "") for name in TYPES
) | {"taskq:{q}:quarantine:<name>"}


def writes(script: Script) -> Keys:
    """Key patterns that `script` may write."""
    known = patterns(script)
    for label, text in script.header.args:
        prefix = re.search(r"taskq:\{q\}:(?:\w+:)?", text)
        if prefix:
            known[f"ARGV[{label.split()[0]}]"] = frozenset({prefix[0]})
    functions, body = _split(_plain(script.source))
    return _written(body, known, functions)


def _plain(source: str) -> str:
    """`source` with its @rare functions among the others, as if they were made at every call."""
    rare = re.compile(
        r"local made\nlocal function rare\(\)\nif not made then\n(.*?)\n"
        r"made = \{[^\n]*\}\nend\nreturn made\nend",
        re.S,
    )
    return rare.sub(r"\1", source).replace("rare().", "")


def _split(source: str) -> tuple[dict[str, tuple[list[str], str]], str]:
    """Functions by name (parameters, body), and the rest."""
    functions: dict[str, tuple[list[str], str]] = {}
    rest = []
    lines = source.splitlines()
    at = 0
    while at < len(lines):
        head = _FUNCTION.match(lines[at])
        if not head:
            rest.append(lines[at])
            at += 1
            continue
        end = lines.index("end", at)
        functions[head[1]] = (_list(head[2]), "\n".join(lines[at + 1 : end]))
        at = end + 1
    return functions, "\n".join(rest)


def _list(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, depth, part, quoted = [], 0, "", False
    for letter in text:
        quoted ^= letter == "'"
        if not quoted:
            depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0 and not quoted:
            parts.append(part.strip())
            part = ""
        else:
            part += letter
    return [*parts, part.strip()] if part.strip() else parts


def _calls(body: str, name: str) -> Iterable[list[str]]:
    """The arguments of every call of `name`."""
    for found in re.finditer(rf"(?<![\w.]){re.escape(name)}\(", body):
        depth, end, quoted = 1, found.end(), False
        while depth:
            quoted ^= body[end] == "'"
            if not quoted:
                depth += (body[end] == "(") - (body[end] == ")")
            end += 1
        yield _list(body[found.end() : end - 1])


def _without_calls(text: str) -> str:
    """What functions return is no key, but for those in HAND_ON. Of texts, names of keys stay."""
    text = re.sub(r"'([^']*)'", lambda t: t[0] if re.fullmatch(r"[\w:]*", t[1]) else "''", text)
    text = re.sub(rf"\b(?:{'|'.join(HAND_ON)})\(([^()]*)\)", r"{ \1 }", text)
    while True:
        shorter = re.sub(r"[\w.]*\w\([^()]*\)", "0", text)
        shorter = re.sub(r"(?<=[\s=,(])\(([^()]*)\)", r"\1", shorter)
        if shorter == text:
            return text
        text = shorter


def _keys_in(expression: str, known: dict[str, Keys]) -> Keys:
    """Keys an expression may stand for."""
    expression = _without_calls(expression)
    found: set[str] = set()
    for term in _list(expression.strip().removeprefix("{").removesuffix("}")):
        for choice in re.split(r"\band\b|\bor\b|[{},]", term):
            head, *more = [part.strip() for part in choice.split("..")]
            if re.fullmatch(r"(\w+\.)?base", head):
                first = frozenset({_ALL} if more else ())  # handed on, it has that name again
            else:
                first = known.get(head, known.get(head.split("[")[0], frozenset()))
            found |= set().union(*(_longer(key, more) for key in first)) if more else first
    return frozenset(found)


def _longer(key: str, more: list[str]) -> Keys:
    """What `key .. more` stands for; behind the prefix of all keys a name says which."""
    if key != _ALL:
        # `ready .. ':' .. class` always has a class; `ready .. (a and ':' .. class or '')` may.
        either = not key.endswith(":") and not more[0].startswith("'")
        return frozenset({_LONGER.get(key, key), key} if either else {_LONGER.get(key, key)})
    name = re.match(r"'(\w+:?)'(?=\s|$)", more[0])
    if not name:
        return EVERY
    names = {name[1], name[1] + ":"} if more[1:] else {name[1]}
    made = frozenset(_ALL + one + _RESTS.get(one, "<worker>") * one.endswith(":") for one in names)
    assert made & EVERY, f"base .. {more}: no such key"
    return made & EVERY


_ASSIGNED = re.compile(
    r"(?:^(?!\s*(?:if|elseif|for|while|return) )\s*|\bthen |\belse |; )(?:local )?"
    r"([\w\[\]#+ ,.*-]+?) = (.+?)(?: end)?$",
    re.M,
)
_LOOPED = re.compile(r"for ([\w, ]+) in \w+\((.*)\) do")


def _spread(body: str, known: dict[str, Keys]) -> dict[str, Keys]:
    """`known`, and every variable that a key flows into."""
    flat = re.sub(r"([{,(])\n\s*", r"\1 ", body)
    while True:
        before = dict(known)
        for names, values in _ASSIGNED.findall(flat):
            targets, sources = _list(names), _list(values)
            for i, target in enumerate(targets):
                keys = (
                    _keys_in(sources[min(i, len(sources) - 1)], known) if sources else frozenset()
                )
                index = re.search(r"\[(\w+)\]$", target)
                if index and not index[1].isdigit():  # t[key] = ...: the table holds the key
                    keys |= known.get(index[1], frozenset())
                if keys:
                    name = target.split("[")[0].strip()
                    known[name] = known.get(name, frozenset()) | keys
        for names, table in _LOOPED.findall(flat):
            keys = _keys_in(table, known)
            for name in _list(names):
                if keys:
                    known[name] = known.get(name, frozenset()) | keys
        if known == before:
            return known


def _written(
    body: str, known: dict[str, Keys], functions: dict[str, tuple[list[str], str]]
) -> Keys:
    known = _spread(body, dict(known))
    found: set[str] = set()
    for call in ("redis.call", "redis.pcall", "ask"):
        for command, *words in _calls(body, call):
            verb = command.strip("'")
            if verb == "...":
                continue  # lua/include/ask.lua itself
            assert call != "ask" or verb in READS, f"{verb} is no read"
            assert verb in WRITES | READS | OTHER, f"{verb}: say in lua_writes.py if it writes"
            if verb in ("DEL", "UNLINK"):
                for word in words:
                    found |= _keys_in(word, known)
            elif verb == "RENAME":
                found |= _keys_in(words[0], known) | _keys_in(words[1], known)
            elif verb in WRITES:
                keys = _keys_in(words[0], known)
                assert keys, f"cannot tell which key {verb} {words[0]} writes"
                found |= keys
    for name, (parameters, inner) in functions.items():
        for words in _calls(body, name):
            given = {
                parameter: keys
                for parameter, word in zip(parameters, words, strict=False)
                if (keys := _keys_in(word, known))
            }
            run = inner
            for parameter in parameters[len(words) :]:  # what is done only for those who give it
                run = re.sub(rf"^ *if {parameter} and .* end$", "", run, flags=re.M)
            found |= _written(run, given, functions)
    return frozenset(found)
