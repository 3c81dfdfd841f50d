"""Scripts of then and now: both run, and only what is there can be compared."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from bench import versus
from bench.server import binaries


def test_each_way_has_a_line_with_both_times_and_their_ratio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(versus, "_SINGLE", 20)
    monkeypatch.setattr(versus, "_BATCHES", 3)

    done = CliRunner().invoke(
        versus.main, ["HEAD", "--rounds", "1", "--server", sorted(binaries())[-1]]
    )

    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()[1:]
    assert len(lines) == 4
    for line in lines:
        then, now, ratio = (
            float(line.split(word, 1)[1].split()[0]) for word in ("HEAD", " now ", " x")
        )
        assert then > 0
        assert now > 0
        assert abs(now / then - ratio) < 0.02


def test_a_revision_that_is_not_there_is_said_so() -> None:
    done = CliRunner().invoke(versus.main, ["no-such-revision"])

    assert done.exit_code == 1
    assert "no lua/ at no-such-revision" in done.output
