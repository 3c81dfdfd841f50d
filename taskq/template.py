"""Texts that one call fills in: `tenant:{tenant}` with the call's arguments. Names of limits, of
groups and unique keys. No I/O.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import re
import uuid
from collections.abc import Callable, Mapping

from taskq.errors import InvalidOption

#: Characters of a limit's instance and of a group, at most; and of a unique key.
LONGEST = 100
LONGEST_KEY = 200

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PLAIN = re.compile(r"[!-z~]+")  # printable ASCII without space, braces and the bar
_RULE = "printable ASCII without spaces, '|' and braces"
#: Values that have one short form as text.
_KINDS = (str, int, float, uuid.UUID, decimal.Decimal, datetime.date)


def fields_of(text: str) -> tuple[str, ...]:
    """The names in braces, in order."""
    return tuple(_FIELD.findall(text))


def check_template(text: object, what: str, longest: int = LONGEST) -> str:
    """Return `text` if it may be such a text, with or without fields; InvalidOption otherwise."""
    if not isinstance(text, str) or not text:
        raise InvalidOption(
            f"{what} {_show(text)}: use text, like 'reports' or 'tenant:{{tenant}}'"
        )
    rest = _FIELD.sub("x", text)
    if not _PLAIN.fullmatch(rest):
        raise InvalidOption(
            f"{what} {_show(text)}: use {_RULE}; {{name}} stands for an argument of the call"
        )
    if len(rest) > longest:
        raise InvalidOption(f"{what} {_show(text)}: use at most {longest} characters")
    return text


def fill(
    text: str,
    what: str,
    values: Callable[[], Mapping[str, object]],
    longest: int = LONGEST,
) -> str:
    """The text with every field filled in; `values` is asked only when there is one. InvalidOption
    names the field that cannot be.
    """
    if "{" not in text:
        return text
    known = values()

    def word(found: re.Match[str]) -> str:
        name = found[1]
        if name not in known:
            names = ", ".join(known) or "no arguments"
            raise InvalidOption(
                f"{what} {text!r}: the call has no argument {name!r}: it has {names}"
            )
        return _word(known[name], name, what, text)

    filled = _FIELD.sub(word, text)
    if len(filled) > longest:
        raise InvalidOption(
            f"{what} {text!r} becomes {_show(filled)}: use at most {longest} characters"
        )
    return filled


def _word(value: object, name: str, what: str, text: str) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    if not isinstance(value, _KINDS):
        raise InvalidOption(
            f"{what} {text!r}: argument {name} is {_show(value)};"
            " use text, a number, a UUID or a date"
        )
    word = value.isoformat() if isinstance(value, datetime.date) else str(value)
    if not _PLAIN.fullmatch(word):
        raise InvalidOption(f"{what} {text!r}: argument {name} is {_show(value)}; use {_RULE}")
    return word


def _show(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
