"""The layer rules hold, and they bite."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package, to break."""
    shutil.copytree(
        ROOT / "taskq", tmp_path / "taskq", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_go_down_only() -> None:
    ran = lint(ROOT)

    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("keys", "from taskq.commands import BATCH"),
        ("retry", "def f() -> None:\n    from taskq.app import TaskQ"),
        (
            "job",
            "import typing\nif typing.TYPE_CHECKING:\n    from taskq.client import Client",
        ),
        ("client", "import redis"),
        ("results", "import msgpack"),
        ("worker/line", "from taskq.client import Client"),
        ("newcomer", "from taskq.keys import QueueKeys"),
    ],
)
def test_an_import_that_goes_elsewhere_is_found(copy: Path, module: str, line: str) -> None:
    with (copy / "taskq" / f"{module}.py").open("a") as file:
        file.write(f"\n{line}\n")

    ran = lint(copy)

    assert ran.returncode == 1, ran.stdout
    assert module.replace("/", ".") in ran.stdout
