"""explain.md lists every reason, autoscaling.md every signal."""

from __future__ import annotations

import dataclasses
import re

import pytest

from taskq.cli import shapes
from taskq.views import Signals
from tests.docs.pages import DOCS, ROOT, code_words, rows

CODE = re.compile(
    r'code=f?"([a-z_{}]+)"|return "(no_worker\w*)"|"(no_worker_with_\w+)" if|else "(\w+)"'
)


def codes() -> set[str]:
    """Every code that taskq gives, read off its source."""
    found: set[str] = set()
    for name in ("reasons.py", "reasons_limits.py", "served.py"):
        text = (ROOT / "taskq" / name).read_text(encoding="utf-8")
        for line in text.splitlines():
            if re.search(r"code=|return \"no_worker|no_worker_with", line):
                found |= {word for words in CODE.findall(line) for word in words if word}
    found.discard("{kind}_paused")
    return found | {"task_paused", "group_paused", "behind", "next", "scheduled", "retry"}


def test_the_page_lists_every_reason_and_no_other() -> None:
    listed = {word for row in rows(DOCS / "explain.md", "code") for word in code_words(row["code"])}

    assert len(listed) > 20
    assert codes() == listed


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Signals)])
def test_the_page_lists_every_signal_in_json_and_in_python(field: str) -> None:
    table = rows(DOCS / "autoscaling.md", "field of `--json`")
    listed: dict[str, str] = {}
    for row in table:
        names, own = code_words(row["field of `--json`"]), code_words(row["in Python"])
        for name in names:
            listed[own[0] if own else name] = name
    one = Signals(
        queue="q", ready=0, due=0, blocked=0, running=0, workers=0, slots=0, utilisation=None,
        oldest_age=None, work=0.0, time_to_drain=None, least_slack=None, late=0,
        workers_needed=0, paused=False, exact=True,
    )  # fmt: skip

    assert field == "queue" or field in listed
    assert {"queue", *listed.values()} == set(shapes.signals(one))
