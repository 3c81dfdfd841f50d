"""The wheel is whole, and so is an editable install: the same scripts, each in its own place."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import taskq
from taskq.scripts import ScriptSet, lua_folder

ROOT = Path(__file__).resolve().parents[2]
LOADS = """
import sys
import taskq
from taskq.scripts import ScriptSet, lua_folder

scripts = ScriptSet()
print(taskq.__version__, taskq.__file__, lua_folder(), sep="\\n")
for name in scripts.names():
    print(name, scripts.get(name).sha)
"""


def shas() -> list[str]:
    scripts = ScriptSet(ROOT / "lua")
    return [f"{name} {scripts.get(name).sha}" for name in scripts.names()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree without asking an index."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_has_every_module_and_every_script_once(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "taskq").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    scripts = {
        f"taskq/_lua/{path.relative_to(ROOT / 'lua').as_posix()}"
        for path in (ROOT / "lua").rglob("*.lua")
    }

    assert len(names) == len(set(names))
    assert {name for name in names if ".dist-info/" not in name} == modules | scripts
    assert "taskq/py.typed" in names


def test_the_wheel_names_its_license_its_command_and_its_needs(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = f"taskq_redis-{taskq.__version__}.dist-info"
    metadata = archive.read(f"{info}/METADATA").decode()
    needs = [
        line.removeprefix("Requires-Dist: ").split(">")[0]
        for line in metadata.splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    ]

    assert needs == [
        "click",
        "cronsim",
        "hiredis",
        "msgpack",
        "psutil",
        "pyjwt",
        "redis[hiredis]",
        "rich",
    ]
    assert "License-Expression: MIT" in metadata
    assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert "taskq = taskq.cli.main:main" in archive.read(f"{info}/entry_points.txt").decode()


def test_the_unpacked_wheel_loads_its_own_scripts_far_from_the_tree(
    wheel: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)

    ran = subprocess.run(
        [sys.executable, "-c", LOADS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr
    version, home, folder, *loaded = ran.stdout.splitlines()
    assert version == taskq.__version__
    assert home == str(site / "taskq" / "__init__.py")
    assert folder == str(site / "taskq" / "_lua")
    assert loaded == shas()


def test_this_install_is_editable_and_loads_the_scripts_of_the_tree(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    ran = subprocess.run(
        [sys.executable, "-c", LOADS], cwd=tmp_path, env=environment, capture_output=True, text=True
    )

    assert ran.returncode == 0, ran.stderr
    _, home, folder, *loaded = ran.stdout.splitlines()
    assert home == str(ROOT / "taskq" / "__init__.py")
    assert folder == str(ROOT / "lua") == str(lua_folder())
    assert loaded == shas()
