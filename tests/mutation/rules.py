"""What to break: every guard of a Lua file, one at a time, by rules over its syntax tree.

A new script is covered by itself. Nothing here runs anything; what noticed a mutant is found by
tests/mutation/pool.py.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tests.mutation.hoist import hoists
from tests.mutation.lua_syntax import Node, parse

Edit = tuple[int, int, str, str]
"""Start, end, what stands there instead, and the kind of the mutant."""

_OTHER = {"==": "~=", "~=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*"}
_SWAPS = {"math.min": "math.max", "math.max": "math.min", "redis.pcall": "redis.call"}
#: Functions whose call may be replaced by their argument.
_PLAIN = ("math.floor", "tonumber")
_DROP = ("DEL", "UNLINK", "SREM", "ZREM", "HDEL", "SADD")
_TIMES = ("now", "keep_ms")
_LARGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One Lua file with one thing broken. `file` is its path below lua/, without `.lua`."""

    name: str
    file: str
    line: int
    kind: str
    before: str
    after: str
    source: str


def mutants(file: str, source: str) -> list[Mutant]:
    """All mutants of one file, no two with the same text, in the order of its lines."""
    tree = parse(source)
    edits = [*_edits(source, tree), *hoists(source, tree), *_flags(source)]
    found, names, seen = [], Counter[str](), {source}
    for start, end, text, kind in sorted(edits, key=lambda edit: (edit[0], edit[3], edit[2])):
        broken = source[:start] + text + source[end:]
        if broken in seen:
            continue
        seen.add(broken)
        line = source.count("\n", 0, start) + 1
        name = f"{file}:{line}:{kind}"
        names[name] += 1
        if names[name] > 1:
            name += f"#{names[name]}"
        before, after = _difference(source, broken)
        found.append(
            Mutant(
                name=name,
                file=file,
                line=line,
                kind=kind,
                before=before,
                after=after,
                source=broken,
            )
        )
    return found


def _difference(source: str, broken: str) -> tuple[str, str]:
    """The lines that differ, on one line each; the anchor of an entry in equivalent.txt."""
    old, new = source.split("\n"), broken.split("\n")
    while old and new and old[0] == new[0]:
        old, new = old[1:], new[1:]
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return _one_line(old), _one_line(new)


def _one_line(lines: list[str]) -> str:
    return " | ".join(line.strip() for line in lines if line.strip())


def _flags(source: str) -> Iterator[Edit]:
    """The flags the server reads: whether a script may run without memory, or on a replica."""
    match = re.search(r"^-- Flags: (.*)$", source, re.MULTILINE)
    if match:
        other = "allow-oom" if match[1] == "none" else "none"
        yield match.start(1), match.end(1), other, "flags"


def _edits(source: str, tree: Node) -> Iterator[Edit]:
    dull = _dull(source, tree)
    for node in tree.walk():
        rule = _RULES.get(node.kind)
        if rule and node.start not in dull:
            yield from rule(source, node)


def _dull(source: str, tree: Node) -> set[int]:
    """Where words and numbers start whose change no test could miss: names of commands, positions
    in KEYS and ARGV, and where a list goes on (`#list + 1`).
    """
    starts = set()
    for node in tree.walk():
        if node.kind == "call" and _text(source, node.parts[0]).startswith("redis."):
            starts.add(node.parts[1].start)
        elif node.kind == "index" and _text(source, node.parts[0]) in ("KEYS", "ARGV"):
            if node.parts[1].kind == "number":
                starts.add(node.parts[1].start)
        elif node.kind == "binary" and _is_append(source, node):
            starts.add(node.parts[1].start)
    return starts


def _text(source: str, node: Node) -> str:
    return source[node.start : node.end]


def _conditions(source: str, node: Node) -> Iterator[Edit]:
    """An if, an elseif or a while: its condition forced either way. Forcing a part of it is the
    same as leaving out one side of an `and` or an `or`.
    """
    for part in node.parts:
        if part.kind != "block":
            if node.kind != "while":
                yield part.start, part.end, "true", "true"
            yield part.start, part.end, "false", "false"


def _binary(source: str, node: Node) -> Iterator[Edit]:
    left, right = node.parts
    if node.text in ("and", "or"):
        # For values too: `x or 5`.
        yield node.start, node.end, _text(source, left), f"{node.text}-left"
        yield node.start, node.end, _text(source, right), f"{node.text}-right"
        return
    other = _OTHER.get(node.text) or _ARITHMETIC.get(node.text)
    if other and not _is_append(source, node):
        between = source[left.end : right.start].replace(node.text, other)
        kind = "compare" if node.text in _OTHER else "arithmetic"
        yield left.end, right.start, between, kind


def _is_append(source: str, node: Node) -> bool:
    """`#list + 1`: where a list goes on, not a bound."""
    return _text(source, node.parts[0]).startswith("#") and node.parts[1].text in ("1", "2", "3")


def _unary(source: str, node: Node) -> Iterator[Edit]:
    if node.text == "not":
        yield node.start, node.end, _text(source, node.parts[0]), "not"


def _number(source: str, node: Node) -> Iterator[Edit]:
    value = float(node.text)
    if value >= _LARGE:
        yield node.start, node.end, f"{value * 2:.0f}", "number"
        yield node.start, node.end, f"{value // 2:.0f}", "number"
        return
    yield node.start, node.end, f"{value + 1:.0f}", "number"
    if value and source[node.end] != "]":  # one wrong position of a list is enough
        yield node.start, node.end, f"{value - 1:.0f}", "number"


def _literal(source: str, node: Node) -> Iterator[Edit]:
    other = {"true": "false", "false": "true"}.get(node.text)
    if other:
        yield node.start, node.end, other, "literal"


def _string(source: str, node: Node) -> Iterator[Edit]:
    """Another word: a state, a field, a reply, a number in quotes."""
    inner = node.text[1:-1]
    if re.fullmatch(r"-?\d+", inner):
        yield node.start, node.end, f"'{int(inner) + 1}'", "word"
    elif inner in ("PX", "EX"):
        yield node.start, node.end, "'EX'" if inner == "PX" else "'PX'", "unit"
    else:
        yield node.start, node.end, f"'{inner}~'", "word"


def _call(source: str, node: Node) -> Iterator[Edit]:
    function, *args = node.parts
    name = _text(source, function)
    if name in _SWAPS:
        yield function.start, function.end, _SWAPS[name], "swap"
    if name in _PLAIN and len(args) == 1 and not _is_argument(args[0]):
        yield node.start, node.end, f"({_text(source, args[0])})", "plain"
    # Times have 13 digits, of which tostring keeps all.
    if name == "string.format" and args[0].text == "'%.0f'" and args[1].text not in _TIMES:
        yield node.start, node.end, f"tostring({_text(source, args[1])})", "digits"
    if name == "expect":
        yield from _expectations(source, args)
    if name in ("redis.call", "redis.pcall") and len(args) > 3 and args[0].text[1:-1] in _DROP:
        for left, right in itertools.pairwise(args[1:]):
            yield left.end, right.end, "", "argument"
    if name == "redis.call" and args[0].text == "'PEXPIRE'":
        yield args[0].start, args[0].end, "'EXPIRE'", "unit"


def _is_argument(node: Node) -> bool:
    """`ARGV[3]`: the caller writes digits there, and arithmetic reads them as a number anyway."""
    return node.kind == "index" and node.parts[0].text == "ARGV"


def _expectations(source: str, args: list[Node]) -> Iterator[Edit]:
    """The types a script makes sure of before it writes, one by one."""
    keys = args[0].parts
    for at, key in enumerate(keys):
        if at + 1 < len(keys):
            yield key.start, keys[at + 1].start, "", "expect"
        else:
            yield keys[at - 1].end if at else key.start, key.end, "", "expect"
    for arg in args[1:]:
        yield arg.start, arg.end, "nil", "expect"


def _statement(source: str, node: Node) -> Iterator[Edit]:
    """A call for its effect, or an assignment, is left out."""
    yield node.start, node.end, "", "removed"


_RULES = {
    "if": _conditions,
    "while": _conditions,
    "binary": _binary,
    "unary": _unary,
    "number": _number,
    "literal": _literal,
    "string": _string,
    "call": _call,
    "do_call": _statement,
    "assign": _statement,
    "break": _statement,
}
