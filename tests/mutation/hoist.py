"""Mutants that keep every statement and change their order: a check made after the writes, a write
made before the checks.

Lua does not roll back, so a script that stops half-way must have written nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.mutation.lua_syntax import Node

_WRITES = re.compile(
    r"DEL|P?EXPIRE|PERSIST|PUBLISH|RENAME|COPY|UNLINK|SET|INCR"
    r"|H(DEL|INCRBY|SET)|[LR](POP|PUSH|REM|TRIM)|S(ADD|REM)|Z(ADD|REM|INCRBY)"
)
_WRITERS = re.compile("add_due|announce|finish|last_until|take|trim|wake_up")


def hoists(source: str, tree: Node) -> Iterator[tuple[int, int, str, str]]:
    """Edits of the kinds `late` and `early`, for the file's block and for each function's."""
    for node in tree.walk():
        if node is tree or node.kind == "body":
            block = node if node is tree else node.parts[0]
            yield from _late(source, block.parts)
            yield from _early(source, block.parts)


def _late(source: str, statements: list[Node]) -> Iterator[tuple[int, int, str, str]]:
    """A check moves down, to just before the last statement."""
    for at, check in enumerate(statements[:-1]):
        rest = statements[at + 1 : -1]
        if _is_check(source, check) and any(_writes(source, one) for one in rest):
            last = statements[-1].start
            moved = source[check.end : last] + source[check.start : check.end] + "\n"
            yield check.start, last, moved, "late"


def _early(source: str, statements: list[Node]) -> Iterator[tuple[int, int, str, str]]:
    """A write moves up over the checks before it that it does not depend on."""
    for at, write in enumerate(statements):
        if not _writes(source, write) or _is_check(source, write):
            continue
        used = {node.text for node in write.walk() if node.kind == "name"}
        top = at
        while top and not used & _sets(statements[top - 1]):
            top -= 1
        while top < at and not _is_check(source, statements[top]):
            top += 1
        if top < at:
            start = statements[top].start
            moved = source[write.start : write.end] + "\n" + source[start : write.start]
            yield start, write.end, moved, "early"


def _is_check(source: str, node: Node) -> bool:
    """It may end the script, by a return or by an error, and writes nothing."""
    if _writes(source, node):
        return False
    if node.kind == "if":
        return any(part.kind == "return" for part in node.walk())
    return node.kind == "do_call" and _called(source, node.parts[0]) in ("expect", "redis.call")


def _called(source: str, call: Node) -> str:
    return source[call.parts[0].start : call.parts[0].end]


def _writes(source: str, node: Node) -> bool:
    for part in node.walk():
        if part.kind == "call":
            name = _called(source, part)
            if _WRITERS.fullmatch(name):
                return True
            if name.startswith("redis.") and _WRITES.fullmatch(part.parts[1].text[1:-1]):
                return True
    return False


def _sets(node: Node) -> set[str]:
    """Names a statement declares or changes."""
    names: set[str] = set()
    for part in node.walk():
        if part.kind in ("local", "function", "for"):
            names.update(part.text.split())
        elif part.kind == "assign":
            for target in part.parts[: int(part.text)]:
                while target.kind == "index":
                    target = target.parts[0]
                names.add(target.text)
    return names
