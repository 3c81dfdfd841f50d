"""The census itself: which files there are, what is measured of one, how figures add up.

Plain functions of plain values, so that the queue and the check beside it run the same code.
Nothing here knows of taskq.
"""

from __future__ import annotations

import ast
import hashlib
import io
import os
import sysconfig
import tokenize
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

#: How many of the longest functions are kept, of one file and of all.
LONGEST = 10
_SKIPPED = frozenset({"site-packages", "dist-packages", "__pycache__"})
_DIGESTS = 1 << 256
_Def = ast.FunctionDef | ast.AsyncFunctionDef


class Function(TypedDict):
    """One function: its qualified name, its lines from `def` to the end, the file it is in."""

    name: str
    lines: int
    path: str


class FileCensus(TypedDict):
    """What is known of one file. It crosses the wire as it is.

    A file that does not parse has its size, digest and `error`, but no tokens and no functions.
    """

    path: str
    bytes: int
    lines: int
    tokens: int
    functions: int
    longest: list[Function]
    sha256: str
    error: str | None


class Totals(TypedDict):
    """Figures of any number of files; `digest` depends on each file's path and content."""

    files: int
    bytes: int
    lines: int
    tokens: int
    functions: int
    unparsed: int
    longest: list[Function]
    digest: str


def stdlib() -> Path:
    """Where this interpreter keeps its standard library."""
    return Path(sysconfig.get_path("stdlib"))


def files(root: Path | None = None, *, limit: int | None = None) -> list[str]:
    """Absolute paths of the Python sources under `root` (the standard library), sorted.

    With `limit`, at most that many of them, spread evenly.
    """
    found: list[str] = []
    for folder, subfolders, names in os.walk(root or stdlib()):
        subfolders[:] = [name for name in subfolders if name not in _SKIPPED]
        paths = (os.path.join(folder, name) for name in names if name.endswith(".py"))
        found.extend(path for path in paths if os.path.isfile(path))
    found.sort()
    if limit is None or limit >= len(found):
        return found
    return [found[index * len(found) // limit] for index in range(limit)]


def measure(path: str) -> FileCensus:
    """Read and measure one file. Raises OSError; a file that does not parse is no error."""
    data = Path(path).read_bytes()
    census = FileCensus(
        path=path,
        bytes=len(data),
        lines=len(data.splitlines()),
        tokens=0,
        functions=0,
        longest=[],
        sha256=hashlib.sha256(data).hexdigest(),
        error=None,
    )
    try:
        with warnings.catch_warnings():
            # Old code in the library's own tests: invalid escapes and the like.
            warnings.simplefilter("ignore")
            tree = ast.parse(data)
        tokens = sum(1 for _ in tokenize.tokenize(io.BytesIO(data).readline))
    except (SyntaxError, ValueError, RecursionError, tokenize.TokenError) as error:
        census["error"] = _one_line(error)
        return census
    functions = _functions(tree, path)
    census["tokens"] = tokens
    census["functions"] = len(functions)
    census["longest"] = _longest(functions)
    return census


def totals_of(census: FileCensus) -> Totals:
    """The totals of a single file."""
    mark = hashlib.sha256(f"{census['sha256']}  {census['path']}".encode())
    return Totals(
        files=1,
        bytes=census["bytes"],
        lines=census["lines"],
        tokens=census["tokens"],
        functions=census["functions"],
        unparsed=int(census["error"] is not None),
        longest=census["longest"],
        digest=mark.hexdigest(),
    )


def merge(parts: Iterable[Totals]) -> Totals:
    """Add up totals. Neither order nor grouping matters; of nothing, all figures are zero."""
    total = Totals(
        files=0, bytes=0, lines=0, tokens=0, functions=0, unparsed=0, longest=[], digest=""
    )
    digest = 0
    longest: list[Function] = []
    for part in parts:
        total["files"] += part["files"]
        total["bytes"] += part["bytes"]
        total["lines"] += part["lines"]
        total["tokens"] += part["tokens"]
        total["functions"] += part["functions"]
        total["unparsed"] += part["unparsed"]
        longest.extend(part["longest"])
        # A sum, where a hash of hashes would depend on the order.
        digest = (digest + int(part["digest"], 16)) % _DIGESTS
    total["longest"] = _longest(longest)
    total["digest"] = f"{digest:064x}"
    return total


def _one_line(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    # It may quote what is no text at all; what crosses the wire must be.
    return text.encode("ascii", "backslashreplace").decode()


def _longest(functions: Iterable[Function]) -> list[Function]:
    ordered = sorted(functions, key=lambda one: (-one["lines"], one["path"], one["name"]))
    return ordered[:LONGEST]


def _functions(tree: ast.Module, path: str) -> list[Function]:
    """Every `def` and `async def`, named as `__qualname__` names it."""
    found: list[Function] = []
    # A stack of our own: the deepest nesting in the library would be too deep for calls.
    stack: list[tuple[ast.AST, str]] = [(tree, "")]
    while stack:
        node, prefix = stack.pop()
        if isinstance(node, _Def):
            name = prefix + node.name
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            found.append(Function(name=name, lines=lines, path=path))
            prefix = f"{name}.<locals>."
        elif isinstance(node, ast.ClassDef):
            prefix = f"{prefix}{node.name}."
        stack.extend((child, prefix) for child in ast.iter_child_nodes(node))
    return found
