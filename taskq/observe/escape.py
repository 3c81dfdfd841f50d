"""Makes foreign text safe to show: it may hold terminal escapes, line ends, bidi tricks."""

from __future__ import annotations

import re

#: C0 and C1 controls (ESC, CSI, BEL, CR ...), DEL, direction marks and overrides, line
#: separators, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029"
    "\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_NAMES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _shown(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    return _NAMES.get(char) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def one_line(text: str, limit: int | None = None) -> str:
    """`text` on one line, every control character written out; cut to `limit` characters."""
    if limit is not None and len(text) > limit:
        text = text[: max(0, limit - 3)] + "..."
    return _UNSAFE.sub(_shown, text)


def lines(text: str) -> list[str]:
    """`text` as lines, each safe to show; for tracebacks."""
    return [one_line(line.expandtabs(4)) for line in text.split("\n")]
