"""What scenarios measured, as rows of a JSON file from which docs/reliability.md is made."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

#: The committed rows; the page is made from these.
COMMITTED = Path(__file__).with_name("results.json")


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Rows by test; empty when there is no file."""
    if not path.exists():
        return {}
    rows: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def write(path: Path, test: str, row: dict[str, Any]) -> None:
    """Add or replace the row of one test; the file stays sorted, so that diffs are small."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # scenarios run side by side
        rows = {**read(path), test: row}
        text = json.dumps(dict(sorted(rows.items())), indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
