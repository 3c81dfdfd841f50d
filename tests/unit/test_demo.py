"""The census, its sums, its check and its figures: the demo's pure half."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.demo.census import LONGEST, Function, Totals, files, measure, merge, totals_of
from taskq.demo.check import differences
from taskq.demo.figures import figures_of


def write(folder: Path, content: str | bytes, name: str = "sample.py") -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_an_empty_file_parses_and_has_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "")

    census = measure(path)

    assert census["error"] is None
    assert (census["bytes"], census["lines"], census["functions"]) == (0, 0, 0)
    assert census["longest"] == []
    assert census["sha256"] == sha256(b"").hexdigest()


def test_functions_have_qualified_names_and_are_ordered_by_length(tmp_path: Path) -> None:
    source = dedent(
        """\
        class Shop:
            async def open(self):
                def key():
                    return 1
                return key


        @staticmethod
        def close():
            pass
        """
    )
    path = write(tmp_path, source)

    census = measure(path)

    assert census["functions"] == 3
    assert [(one["name"], one["lines"]) for one in census["longest"]] == [
        ("Shop.open", 4),
        ("Shop.open.<locals>.key", 2),
        ("close", 2),
    ]
    assert census["lines"] == 10
    assert census["tokens"] > 30


def test_a_syntax_error_is_recorded_with_the_file_s_size_and_digest(tmp_path: Path) -> None:
    path = write(tmp_path, "def broken(:\n    pass\n")

    census = measure(path)

    assert census["error"] is not None
    assert census["error"].startswith("SyntaxError: ")
    assert (census["lines"], census["tokens"], census["functions"]) == (2, 0, 0)
    assert len(census["sha256"]) == 64


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"name = '\xe9'\n", id="latin-1 without a cookie"),
        pytest.param(b"# coding: uft-8\n", id="unknown encoding"),
        pytest.param(b"a = 1\x00\n", id="null byte"),
        pytest.param(b"x = (\n", id="unclosed bracket"),
        pytest.param(b"if 1:\n        a\n    b\n", id="bad dedent"),
    ],
)
def test_what_python_cannot_read_is_recorded_and_does_not_raise(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "odd.py"
    path.write_bytes(content)

    census = measure(str(path))

    assert census["error"]
    assert census["bytes"] == len(content)


def test_a_latin_1_file_that_says_so_parses(tmp_path: Path) -> None:
    path = write(tmp_path, b"# -*- coding: latin-1 -*-\ndef caf\xe9():\n    return '\xe9'\n")

    census = measure(path)

    assert census["error"] is None
    assert [one["name"] for one in census["longest"]] == ["café"]


def test_old_escapes_do_not_warn(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = write(tmp_path, "pattern = '\\d'\n")

    census = measure(path)

    assert census["error"] is None
    assert not recwarn.list


def test_a_file_keeps_only_its_longest_functions(tmp_path: Path) -> None:
    source = "".join(f"def f{n}():\n" + "    pass\n" * (n + 1) for n in range(LONGEST + 5))
    path = write(tmp_path, source)

    census = measure(path)

    assert census["functions"] == LONGEST + 5
    assert [one["lines"] for one in census["longest"]] == list(range(LONGEST + 6, 6, -1))


def test_the_standard_library_is_found_without_installed_packages() -> None:
    found = files()

    # Some distributions leave the library's own tests out: then there are fewer.
    assert len(found) > (1_000 if importlib.util.find_spec("test.test_ast") else 400)
    assert found == sorted(set(found))
    assert not [path for path in found if {"site-packages", "dist-packages"} & {*path.split("/")}]


def test_only_python_files_outside_of_skipped_folders_are_found(tmp_path: Path) -> None:
    for folder in ("a/site-packages", "a/__pycache__", "a/b"):
        (tmp_path / folder).mkdir(parents=True)
        write(tmp_path / folder, "")
    write(tmp_path, "", "notes.txt")
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere.py")

    found = files(tmp_path)

    assert found == [str(tmp_path / "a" / "b" / "sample.py")]


def test_a_limit_spreads_over_all_files(tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path, "", f"{number}.py")

    found = files(tmp_path, limit=3)

    assert [Path(path).name for path in found] == ["0.py", "3.py", "6.py"]


counts = st.integers(0, 1_000)
functions = st.builds(
    Function, name=st.sampled_from("abc"), lines=st.integers(1, 9), path=st.sampled_from("xy")
)
totals = st.builds(
    Totals,
    files=counts,
    bytes=counts,
    lines=counts,
    tokens=counts,
    functions=counts,
    unparsed=counts,
    longest=st.lists(functions, max_size=LONGEST),
    digest=st.integers(0, 2**256 - 1).map("{:064x}".format),
)


@given(st.data(), st.lists(totals, max_size=8))
def test_neither_order_nor_grouping_changes_the_merged_totals(
    data: st.DataObject, parts: list[Totals]
) -> None:
    shuffled = data.draw(st.permutations(parts))
    cut = data.draw(st.integers(0, len(parts)))

    at_once = merge(parts)
    in_two = merge([merge(shuffled[:cut]), merge(shuffled[cut:])])

    assert in_two == at_once
    assert at_once["files"] == sum(part["files"] for part in parts)


def test_every_figure_that_differs_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "def f():\n    pass\n")
    lost = write(tmp_path, "", "lost.py")
    expected = {path: measure(path), lost: measure(lost)}
    wrong = measure(path)
    wrong["tokens"] += 1

    found = differences(expected, {path: wrong}, merge([totals_of(wrong)]))

    assert any(line.startswith(f"{lost}: lost") for line in found)
    assert any(line.startswith(f"{path}: tokens is") for line in found)
    assert {line.split(" is ")[0] for line in found if line.startswith("total")} == {
        "total: digest",
        "total: files",
        "total: tokens",
    }


def test_equal_figures_leave_nothing_to_say(tmp_path: Path) -> None:
    path = write(tmp_path, "a = 1\n")

    found = differences(
        {path: measure(path)}, {path: measure(path)}, merge([totals_of(measure(path))])
    )

    assert found == []


@dataclass(frozen=True)
class Ran:
    priority: int
    wait: float
    enqueued_at: datetime | None = datetime(2026, 1, 1, tzinfo=UTC)
    crashes: int = 0
    worker: str | None = "w1"

    @property
    def started_at(self) -> datetime | None:
        return self.enqueued_at + timedelta(seconds=self.wait) if self.enqueued_at else None

    @property
    def ended_at(self) -> datetime | None:
        return self.started_at + timedelta(seconds=1) if self.started_at else None


def test_figures_tell_rate_waits_and_who_ran_what() -> None:
    jobs = [Ran(9, float(n)) for n in range(50)]
    jobs += [Ran(2, float(n), crashes=n == 99, worker="w2") for n in range(50, 100)]

    figures = figures_of(jobs)

    assert (figures.jobs, figures.seconds, figures.jobs_per_second) == (100, 100.0, 1.0)
    assert (figures.wait_p50, figures.wait_p99) == (49.0, 98.0)
    assert [(row.priority, row.jobs, row.mean_wait) for row in figures.priorities] == [
        (9, 50, 24.5),
        (2, 50, 74.5),
    ]
    assert figures.workers == (("w1", 50), ("w2", 50))
    assert figures.crashed == 1


@pytest.mark.parametrize("jobs", [[], [Ran(5, 0.0, enqueued_at=None)]])
def test_figures_of_an_unfinished_run_are_refused(jobs: list[Ran]) -> None:
    with pytest.raises(ValueError, match=r"^figures: "):
        figures_of(jobs)
