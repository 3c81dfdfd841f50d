"""Runs of several Pythons: which the page shows, their table, how another interpreter is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import pythons, report, run
from bench.bench import Sample
from bench.peers import environments
from bench.results import Results


def saved(folder: Path, *names: str, rate: float = 1_000) -> list[Path]:
    """Runs of these names; each drains a thousand jobs/s faster than the one before."""
    paths = []
    for place, name in enumerate(names, 1):
        version = name.rpartition("-py")[2].removesuffix(".json")
        results = Results(machine={"python": f"CPython {version}"}, rounds=1, when=name[:10])
        results.add("drain", Sample("coroutines", "rate", rate * place, "jobs/s"))
        paths.append(folder / name)
        paths[-1].write_text(results.dump())
    return paths


def test_the_page_is_made_of_the_newest_run_of_the_main_python(tmp_path: Path) -> None:
    assert pythons.chosen(tmp_path) is None
    names = ["2026-11-22-x-py3.11.7.json", "2026-11-23-x-py3.11.9.json"]
    saved(tmp_path, *names, "2026-11-24-x-py3.13.0.json", "2026-11-25-x-py3.12.1.json")

    chosen = pythons.chosen(tmp_path)

    assert chosen
    assert chosen.name == "2026-11-23-x-py3.11.9.json"


def test_without_one_of_the_main_python_it_is_the_newest_of_all(tmp_path: Path) -> None:
    saved(tmp_path, "2026-11-24-x-py3.13.0.json", "2026-11-25-x-py3.12.1.json")

    chosen = pythons.chosen(tmp_path)

    assert chosen
    assert chosen.name == "2026-11-25-x-py3.12.1.json"


def test_a_run_is_shown_with_the_newest_of_each_other_python_on_its_machine(tmp_path: Path) -> None:
    _, older, newer, *_ = saved(
        tmp_path,
        "2026-11-21-x-2c-py3.9.1.json",
        "2026-11-23-x-2c-py3.11.7.json",
        "2026-11-24-x-2c-py3.11.8.json",
        "2026-11-20-x-2c-py3.13.0.json",
        "2026-11-22-x-2c-py3.13.0.json",
        "2026-11-25-y-8c-py3.12.1.json",
    )

    found = {one: [path.name[11:] for path in pythons.runs(one)] for one in (older, newer)}

    assert found[older] == ["x-2c-py3.9.1.json", "x-2c-py3.11.7.json", "x-2c-py3.13.0.json"]
    assert found[newer] == ["x-2c-py3.9.1.json", "x-2c-py3.11.8.json", "x-2c-py3.13.0.json"]
    assert pythons.runs(newer)[-1].name.startswith("2026-11-22")


def test_the_table_has_a_column_for_each_python_and_only_rows_that_were_measured(
    tmp_path: Path,
) -> None:
    path, _ = saved(tmp_path, "2026-11-23-x-py3.11.7.json", "2026-11-24-x-py3.13.0.json")

    assert pythons.table(path) == [
        "|  | 3.11.7 | 3.13.0 |",
        "| --- | ---: | ---: |",
        "| drain, jobs/s | 1,000 | 2,000 |",
        "",
        "3.11.7: run of 2026-11-23, `2026-11-23-x-py3.11.7.json`;"
        " 3.13.0: run of 2026-11-24, `2026-11-24-x-py3.13.0.json`.",
        "",
    ]


def test_every_row_of_the_table_is_measured_by_a_whole_run() -> None:
    rows = pythons.table(report.newest())[2:-3]

    assert len(rows) == len(pythons._ROWS)
    assert not [row for row in rows if "|  |" in row]


def test_the_page_says_what_the_newest_results_say() -> None:
    text, path = report.PAGE.read_text(), report.newest()

    assert report.render(text, report.load(path), path) == text


def test_a_python_that_is_not_here_is_named() -> None:
    done = CliRunner().invoke(run.main, ["--python", "3.0"])

    assert done.exit_code == 1
    assert done.output == (
        "Error: --python 3.0: no python3.0 here that can make environments;"
        " install it with its venv module\n"
    )


def test_another_python_goes_on_in_an_environment_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    own = str(tmp_path / "bin/python")
    ran: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(environments, "named", lambda name: f"/opt/python{name}")
    monkeypatch.setattr(environments, "of_checkout", lambda python: own)
    monkeypatch.setattr(run.os, "execv", lambda path, words: ran.append((path, words)))
    monkeypatch.setattr(sys, "argv", ["bench/run.py", "--python", "3.13", "--quick"])

    run._go_on_in("3.13")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    run._go_on_in("3.13")  # by now it is this one

    assert ran == [(own, [own, "bench/run.py", "--python", "3.13", "--quick"])]


def test_an_environment_is_made_once_with_this_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words: list[list[str]] = []

    def do(command: list[str]) -> None:
        words.append(command)
        Path(tmp_path / "bench-py3.13.0").mkdir(exist_ok=True)

    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setattr(environments, "version", lambda python: "3.13.0")
    monkeypatch.setattr(environments, "_run", do)

    own = environments.of_checkout("python3.13")

    assert own == environments.of_checkout("python3.13")
    assert own == str(tmp_path / "bench-py3.13.0/bin/python")
    venv, pip = words
    assert venv == ["python3.13", "-m", "venv", "--clear", str(tmp_path / "bench-py3.13.0")]
    assert pip[:4] == [own, "-m", "pip", "install"]
    assert pip[-2:] == ["-e", f"{environments.ROOT}[embedded,fast]"]


def test_what_cannot_be_installed_is_said_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(command: list[str]) -> None:
        raise subprocess.CalledProcessError(1, command, stderr="noise\nERROR: no such package\n")

    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setattr(environments, "_run", fail)

    with pytest.raises(environments.NotHere, match=r"cannot be installed: ERROR: no such package"):
        environments.of_checkout(sys.executable)
