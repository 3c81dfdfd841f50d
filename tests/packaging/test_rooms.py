"""What import-linter cannot see: key strings, readers of lua/, sizes, sleeps in tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq.keys import QueueKeys

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = sorted((ROOT / "taskq").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
KEYS = ROOT / "taskq" / "keys.py"
SCRIPTS = ROOT / "taskq" / "scripts.py"
MOST_LINES = 400
#: The one polling sleep of the tests is here.
HELPERS = ROOT / "tests" / "helpers.py"
#: Not tests but programs that tests run: a task that takes its time, a producer with a rate.
PROGRAMS = [ROOT / "tests" / "chaos" / name for name in ("tasks.py", "produce.py")]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a file that is no docstring, with its line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", PACKAGE, ids=named)
def test_only_keys_py_spells_keys(path: Path) -> None:
    kinds = "|".join(
        sorted(
            {slot.removesuffix("_prefix") for slot in QueueKeys.__slots__}
            - {"namespace", "prefix", "queue"}
        )
    )
    # `{q}:ready`, `taskq:{`, `:job:`; a plain word such as "ready" is also the name of a state.
    key = re.compile(rf"\}}:({kinds})\b|taskq:\{{|^:?({kinds}):|:(queues|workers?):?$")

    found = [f"line {line}: {text!r}" for line, text in strings(path) if key.search(text)]

    assert path == KEYS or not found


@pytest.mark.parametrize("path", PACKAGE, ids=named)
def test_only_scripts_py_reads_lua(path: Path) -> None:
    found = [
        f"line {line}: {text!r}"
        for line, text in strings(path)
        if re.search(r"\.lua$|^_?lua$", text)
    ]

    assert path == SCRIPTS or not found


@pytest.mark.parametrize("path", [*PACKAGE, *sorted((ROOT / "lua").rglob("*.lua"))], ids=named)
def test_no_file_is_longer_than_a_reader_bears(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")

    assert lines <= MOST_LINES


@pytest.mark.parametrize(
    "path", [path for path in PACKAGE if path.name != "__main__.py"], ids=named
)
def test_every_module_says_what_lives_in_it(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", TESTS, ids=named)
def test_no_test_sleeps_for_luck(path: Path) -> None:
    sleeps = [
        f"line {node.lineno}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep", "sleep", "anyio.sleep")
        and not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]

    assert path in (HELPERS, *PROGRAMS) or not sleeps, "wait for a condition: tests/helpers.py"
