"""How a value for a setting is read: from an argument, a variable, or the file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from taskq.classes import check_labels
from taskq.errors import ConfigError, InvalidOption
from taskq.setting import Kind, Setting

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: A queue, or a partition of one.
_PLACE = re.compile(_NAME.pattern + r"(~[1-9]\d?)?")


def parse_seconds(text: str) -> float:
    """Seconds from `30`, `30s`, `5m`, `2h`, `7d` or `250ms`; ValueError for anything else."""
    match = _SPAN.fullmatch(text.strip())
    if not match:
        raise ValueError(text)
    return float(match[1]) * _UNITS[match[2] or "s"]


def _bad(setting: Setting, value: object, place: str, remedy: str) -> ConfigError:
    try:
        shown = "***" if setting.kind == "secret" else repr(value)[:80]
    except ValueError:  # an int of thousands of digits has no text
        shown = f"a {type(value).__name__}"
    return ConfigError(f"{place}: {setting.name}={shown} is not right: {remedy}")


def _number(setting: Setting, value: object, place: str) -> float:
    span = setting.kind == "seconds"
    unit = " seconds (or 30s, 5m, 2h, 7d, 250ms)" if span else ""
    what = "a number" if span else "a whole number"
    remedy = f"use {what} from {setting.least:,.10g} to {setting.most:,.10g}{unit}"
    try:
        if isinstance(value, str):
            number: float = parse_seconds(value) if span else int(value.strip())
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(value)
        else:
            number = float(value) if span else int(value)
            if not span and number != value:
                raise ValueError(value)
    except (ValueError, OverflowError):
        raise _bad(setting, value, place, remedy) from None
    if not setting.least <= number <= setting.most:
        raise _bad(setting, value, place, remedy)
    return number


def _text(setting: Setting, value: object, place: str) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise _bad(setting, value, place, "use text that is not empty")
    value = value.strip()
    if setting.choices and value not in setting.choices:
        raise _bad(setting, value, place, f"use one of {', '.join(setting.choices)}")
    if setting.name == "namespace" and not _NAME.fullmatch(value):
        raise _bad(setting, value, place, "use 1 to 64 letters, digits, '_', '.' or '-'")
    return value


def _names(setting: Setting, value: object, place: str) -> tuple[str, ...]:
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not listed:
        raise _bad(setting, value, place, "use names, a comma between")
    names = []
    for name in listed:
        name = name.strip() if isinstance(name, str) else name
        if not isinstance(name, str) or not _PLACE.fullmatch(name):
            raise _bad(setting, value, place, "a name has 1 to 64 letters, digits, '_', '.' or '-'")
        names.append(name)
    return tuple(dict.fromkeys(names))


def _labels(setting: Setting, value: object, place: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [label.strip() for label in value.split(",")]
    try:
        return check_labels(setting.name, value)
    except InvalidOption as error:
        raise ConfigError(f"{place}: {error}") from None


READERS: dict[Kind, Callable[[Setting, object, str], object]] = {
    "count": lambda setting, value, place: int(_number(setting, value, place)),
    "seconds": _number,
    "names": _names,
    "labels": _labels,
    "text": _text,
    "choice": _text,
    "secret": _text,
    "path": _text,
}
