"""How logs look: `rich` on a terminal, `plain` lines, `json` objects.

One escaped line a record; a traceback follows on lines of its own.

Only programs call `set_up`; the library itself only writes to the `taskq` loggers.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TextIO

from taskq.observe.escape import lines, one_line
from taskq.observe.events import FIELDS, event_of

FORMATS = ("auto", "rich", "plain", "json")
LEVELS = ("debug", "info", "warning", "error")
_COLOURS = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


class PlainFormatter(logging.Formatter):
    """`2026-11-23T21:00:00.123Z info taskq.worker message key=value`, UTC."""

    def format(self, record: logging.LogRecord) -> str:
        when = _time(record).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        words = [when, record.levelname.lower(), record.name, one_line(record.getMessage())]
        words += [f"{name}={one_line(str(value))}" for name, value in _fields(record).items()]
        return "\n".join([" ".join(words), *_traceback(self, record)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time level logger event message pid, extra fields, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": _time(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event_of(record.name, getattr(record, "event", None)),
            "message": record.getMessage(),
            "pid": record.process,
            **_fields(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class TerminalFormatter(logging.Formatter):
    """Time of day, level in colour, message: for people in front of a terminal."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def format(self, record: logging.LogRecord) -> str:
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        level = f"{record.levelname.lower():<7}"
        words = [
            self._paint(clock, "2"),
            self._paint(level, _COLOURS.get(record.levelname, "0")),
            one_line(record.getMessage()),
            *(f"{name}={one_line(str(value))}" for name, value in _fields(record).items()),
        ]
        return "\n".join([" ".join(words), *_traceback(self, record)])


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    return [f"  {line}" for line in lines(formatter.formatException(record.exc_info))]


def formatter_for(kind: str, stream: TextIO) -> logging.Formatter:
    """The formatter of that name; `auto` is rich on a terminal, plain elsewhere.

    NO_COLOR takes the colour away.
    """
    if kind == "auto":
        kind = "rich" if stream.isatty() else "plain"
    if kind == "json":
        return JsonFormatter()
    if kind == "rich":
        return TerminalFormatter(colour=stream.isatty() and not os.environ.get("NO_COLOR"))
    return PlainFormatter()


def set_up(kind: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Send all logs to `stream` (stderr): from `level` on; of other libraries at most from info on.

    Replaces what an earlier call set up, and leaves handlers of others alone.
    """
    stream = stream or sys.stderr
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _Handler)]:
        root.removeHandler(handler)
    handler = _Handler(stream)
    handler.setFormatter(formatter_for(kind, stream))
    root.addHandler(handler)
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger("taskq").setLevel(number)
    root.setLevel(max(number, logging.INFO))


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that a second set-up finds it."""
