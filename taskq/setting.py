"""One row of the table of settings: its names in every place, and how its value is read.

Knows no particular setting (that is `settings`), no files and no environment.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import Literal

from taskq.errors import ConfigError, InvalidName, InvalidOption

Kind = Literal["text", "secret", "path", "url", "choice", "name", "names", "int", "duration"]

MASK = "***"

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?(ms|s|m|h|d)?", re.ASCII)
_INT = re.compile(r"[+-]?\d+(?:_\d+)*", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_CREDENTIALS = re.compile(r"([^\s/@]+//|^)[^\s/]*@|(?<=[?&]password=)[^&\s]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting. `minimum` and `maximum` bound `int` and `duration` and are allowed themselves."""

    name: str
    kind: Kind
    default: object
    doc: str
    group: str
    minimum: float = 0
    maximum: float = math.inf
    choices: tuple[str, ...] = ()
    #: what an `int` counts, for the docs: bytes, jobs ...
    unit: str = ""
    #: the one-letter CLI option, with its dash
    short: str | None = None
    #: older or foreign names of the variable; the TASKQ_ one wins over them
    aliases: tuple[str, ...] = ()

    @property
    def env(self) -> str:
        """The environment variable, e.g. `TASKQ_MAX_JOBS`."""
        return f"TASKQ_{self.name.upper()}"

    @property
    def cli(self) -> str | None:
        """The CLI option, e.g. `--max-jobs`; a secret has none, `ps` would show it to everyone."""
        return None if self.kind == "secret" else f"--{self.name.replace('_', '-')}"

    @property
    def wanted(self) -> str:
        """What a value may be, to end a sentence: "a whole number from 1 to 256"."""
        if self.kind == "int":
            return f"a whole number from {self.minimum:,.0f} to {self.maximum:,.0f}"
        if self.kind == "duration":
            low, high = duration_text(self.minimum), duration_text(self.maximum)
            return f'a duration from {low} to {high}: seconds, or like "30s", "5m", "250ms"'
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind in ("name", "names"):
            each = "names, each of" if self.kind == "names" else "a name of"
            return f"{each} 1 to 64 letters, digits, '_', '.' or '-'"
        return "a text that is not empty"

    def read(self, value: object, place: str) -> object:
        """The value as its type. `place` says where it was found, for the message.

        Raises InvalidOption, or InvalidName if it breaks the naming rule; both are ConfigErrors.
        """
        if self.default is None and value is None:
            return None
        try:
            return self._read(value)
        except (TypeError, ValueError):
            wrong = InvalidName if self.kind in ("name", "names") else InvalidOption
            raise wrong(f"{place}: {self.shown(value)} is not {self.wanted}") from None

    def shown(self, value: object) -> str:
        """The value for people, at most 80 characters, without secrets."""
        if self.kind == "secret" and value is not None:
            return MASK
        text = repr(value)
        if self.kind == "url" and isinstance(value, str):
            text = repr(_CREDENTIALS.sub(lambda found: _masked(found), value))
        return text if len(text) <= 80 else text[:77] + "..."

    def _read(self, value: object) -> object:
        if self.kind == "int":
            return int(self._bounded(_number(value)))
        if self.kind == "duration":
            return float(self._bounded(_seconds(value)))
        if self.kind == "names":
            return _names(value)
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise ValueError
        if self.kind == "name":
            return _name(value)
        if self.kind == "choice":
            if value.lower() not in self.choices:
                raise ValueError
            return value.lower()
        return os.path.expanduser(value) if self.kind == "path" else value

    def _bounded(self, number: float) -> float:
        if not self.minimum <= number <= self.maximum:
            raise ValueError
        return number


def duration_text(seconds: float) -> str:
    """Seconds in the largest unit that leaves a whole number: "7 d", "5 min", "2.5 s"."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def check_together(condition: bool, names: str, values: str, rule: str) -> None:
    """Two settings must fit each other; raises ConfigError naming both and their values."""
    if not condition:
        raise ConfigError(f"settings {names}: {values} do not fit together: {rule}")


def _masked(found: re.Match[str]) -> str:
    if not found[0].endswith("@"):
        return MASK
    return f"{found[1] or ''}{MASK}@"


def _number(value: object) -> int:
    if isinstance(value, str) and _INT.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError


def _seconds(value: object) -> float:
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip())
        if found is None:
            raise ValueError
        return float(found[1]) * _SECONDS[found[2] or "s"]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, list | tuple) or not value:
        raise ValueError
    names = tuple(_name(name) for name in value)
    if len(set(names)) != len(names):
        raise ValueError
    return names


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError
    return value
