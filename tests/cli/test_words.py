"""The small rules behind the command line: escaping, spans, JSON values, log formats."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from uuid import UUID

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.cli.screen import size, span
from taskq.cli.values import argument, jsonable
from taskq.observe.escape import lines, one_line
from taskq.observe.logs import JsonFormatter, PlainFormatter, TerminalFormatter, formatter_for


@given(st.text(st.characters()))
def test_one_line_is_one_printable_line(text: str) -> None:
    shown = one_line(text)

    assert len(shown.splitlines()) <= 1
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    shown.encode()


def test_one_line_keeps_what_is_harmless_and_names_what_is_not() -> None:
    assert one_line("Grüße 日本 \N{SNOWMAN}") == "Grüße 日本 \N{SNOWMAN}"
    assert one_line("a\x1b[2J\r\n\t\u202e\x9b") == "a\\x1b[2J\\r\\n\\t\\u202e\\x9b"
    assert one_line("x" * 20, limit=10) == "xxxxxxx..."
    assert lines("a\n\tb\x07") == ["a", "    b\\x07"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0.0042, "4 ms"),
        (12.34, "12.3 s"),
        (60, "1 min"),
        (250, "4 min 10 s"),
        (11_100, "3 h 5 min"),
        (180_000, "2 d 2 h"),
    ],
)
def test_spans_are_told_in_two_units(seconds: float | None, words: str) -> None:
    assert span(seconds) == words


def test_sizes_are_told_in_readable_units() -> None:
    assert [size(n) for n in (5, 2048, 3 << 20, 5 << 30)] == ["5 B", "2 KiB", "3 MiB", "5.0 GiB"]


def test_every_value_a_task_may_return_can_be_shown_as_json() -> None:
    value = {
        "when": datetime(2026, 1, 2, tzinfo=UTC),
        "day": date(2026, 1, 2),
        "span": timedelta(seconds=90),
        "money": Decimal("1.50"),
        "id": UUID(int=1),
        "text": b"abc",
        "bytes": b"\xff",
        "nan": float("nan"),
        "set": {2, 1},
        "pair": (1, None),
        3: True,
    }

    text = json.dumps(jsonable(value), allow_nan=False)

    assert json.loads(text) == {
        "when": "2026-01-02T00:00:00+00:00",
        "day": "2026-01-02",
        "span": 90.0,
        "money": "1.50",
        "id": str(UUID(int=1)),
        "text": "abc",
        "bytes": {"base64": "/w=="},
        "nan": "nan",
        "set": [1, 2],
        "pair": [1, None],
        "3": True,
    }


@pytest.mark.parametrize("text", ["[1,", '{"a"}', '"x', " {", "[Infinity]"])
def test_what_begins_like_json_must_be_json(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not valid JSON"):
        argument(text)


def record(message: str, **extra: object) -> logging.LogRecord:
    try:
        raise ValueError("bad\x1b[0m")
    except ValueError:
        found = logging.LogRecord("taskq.job", 30, "f", 1, message, (), sys.exc_info())
    found.__dict__.update(extra)
    return found


def test_plain_logs_are_one_line_and_an_indented_traceback() -> None:
    text = PlainFormatter().format(record("went\r\nwrong", job="j1"))

    first, *rest = text.split("\n")
    assert first.endswith("Z warning taskq.job went\\r\\nwrong job=j1")
    assert all(line.startswith("  ") for line in rest)
    assert "\x1b" not in text


def test_json_logs_carry_event_and_fields() -> None:
    entry = json.loads(JsonFormatter().format(record("x", job="j1", event="ack")))

    assert (entry["event"], entry["job"], entry["level"]) == ("ack", "j1", "warning")
    assert "ValueError" in entry["traceback"]


def test_colour_needs_a_terminal_and_no_color_takes_it_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = formatter_for("auto", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    bare = formatter_for("auto", Terminal())
    plain = formatter_for("auto", StringIO())

    assert isinstance(coloured, TerminalFormatter)
    assert "\x1b[33m" in coloured.format(record("x"))
    assert "\x1b" not in bare.format(record("x"))
    assert isinstance(plain, PlainFormatter)
