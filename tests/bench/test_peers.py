"""The comparison with other queues: its table, its JSON, its page. Nothing is measured."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bench.bench import Sample
from bench.peers import page, tables
from bench.peers.comparison import Comparison, Measured, load
from bench.peers.kit import COUNTERS
from bench.peers.processes import Board
from bench.peers.table import PEERS, SYSTEMS, TASKQ

APPS = Path("bench/peers/apps")


def compared(**rates: float) -> Comparison:
    """A run in which each system drained at this rate."""
    found = Comparison(machine={"python": "CPython 3.13.0"}, rounds=1)
    for name, rate in rates.items():
        about = dict.fromkeys(("version", "concurrency", "prefetch", "results", "notes"), "x")
        measured = found.systems[name] = Measured(about)
        measured.add("drain", Sample("no-op coroutines", "rate", rate, "jobs/s"))
    return found


def test_there_are_eleven_peers_and_each_is_pinned() -> None:
    assert len(PEERS) == 11
    for name in PEERS:
        for package in SYSTEMS[name].packages:
            assert re.fullmatch(r"[A-Za-z0-9_-]+(\[\w+\])?==[\d.]+", package), package


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_a_module_imports_its_own_system_and_of_ours_only_the_kit(name: str) -> None:
    tree = ast.parse((APPS / f"{name}.py").read_text())
    ours = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bench")
        for alias in node.names
    }
    assert ours == {"bench.peers.kit"}


def test_scenarios_name_no_system() -> None:
    for path in Path("bench/peers/scenarios").glob("*.py"):
        words = set(re.findall(r"\w+", path.read_text()))
        assert not words & {*PEERS, TASKQ}, path.name


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(compared(taskq=30_000, rq=300).dump())

    found = load(path)

    assert found.dump() == path.read_text()
    assert [name for name, _ in found.figures("drain", "no-op coroutines", "rate")] == [
        "taskq",
        "rq",
    ]


def test_a_peer_that_is_better_is_said_so_and_only_then() -> None:
    (line,) = tables.wins(compared(taskq=30_000, rq=300, ardiq=40_000))

    assert line == "drain: jobs/s: taskq 30,000, ardiq 40,000"
    assert tables.wins(compared(taskq=30_000, ardiq=30_100, ceiling=90_000)) == []


def test_every_system_has_a_line_with_its_ratio() -> None:
    lines = tables.rows(compared(taskq=30_000, rq=300), tables.TABLES["drain"])

    assert [(name, cells[0]) for name, cells in lines] == [("taskq", "30,000"), ("rq", "300 x0.01")]


def test_who_is_behind_at_a_rate_is_said_so() -> None:
    found = compared(taskq=1, rq=1)
    for name, achieved in (("taskq", 1_000), ("rq", 600)):
        for figure, value in (("achieved", achieved), ("missed", 0), ("p50", 1.5)):
            found.systems[name].add("latency", Sample("1,000 jobs/s", figure, value, "ms"))

    lines = dict(tables.rows(found, tables.TABLES["latency, p50, ms"]))

    assert lines["taskq"][1] == "1.50"
    assert lines["rq"][1] == "1.50 x1 behind"


def test_the_page_says_what_the_newest_results_say() -> None:
    text = page.PAGE.read_text()

    assert page.render(text) == text


def test_a_board_adds_up_what_the_threads_of_processes_have_counted(tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    assert board.ran == 0
    with board.path.open("r+b") as file:
        file.write(b"".join(number.to_bytes(8, "little") for number in (3, 10, 20, 30)))

    assert board.ran == 60
    assert board.path.stat().st_size == 8 * COUNTERS
    board.close()
