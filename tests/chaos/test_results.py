"""The committed results: they are of tests that exist, and enough of them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.chaos import results

HERE = Path(__file__).parent


def test_every_row_is_of_a_test_that_exists() -> None:
    gone = []
    for test in results.read(results.COMMITTED):
        file, _, name = test.partition("::")
        if test.startswith("nemesis"):
            continue
        path = HERE / file
        function = re.escape(name.partition("[")[0])
        if not path.exists() or not re.search(rf"def {function}\(", path.read_text()):
            gone.append(test)

    assert gone == [], f"remove these rows of {results.COMMITTED.name}"


def test_every_scenario_that_measures_has_a_row() -> None:
    rows = {test.partition("[")[0] for test in results.read(results.COMMITTED)}
    lacking = []
    for path in sorted({*HERE.glob("test_*.py")} - {Path(__file__)}):
        for function in re.split(r"^(?=(?:async )?def )", path.read_text(), flags=re.M):
            found = re.match(r"(?:async )?def (test_\w+)", function)
            if found and "bed.record(" in function and f"{path.name}::{found[1]}" not in rows:
                lacking.append(f"{path.name}::{found[1]}")

    assert lacking == [], "run tests/chaos with --chaos-results tests/chaos/results.json"


def test_a_written_row_is_read_again_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    results.write(path, "b", {"fault": "é"})
    results.write(path, "a", {"fault": "x"})
    results.write(path, "b", {"fault": "y"})

    assert list(results.read(path).items()) == [("a", {"fault": "x"}), ("b", {"fault": "y"})]
