"""Kinds of words on the command line: names, time spans, Redis URLs. Bad ones end with exit
code 2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import click

from taskq.classes import check_labels
from taskq.errors import ConfigError, InvalidName, InvalidOption
from taskq.keys import check_name, check_place
from taskq.setting_values import parse_seconds

if TYPE_CHECKING:
    Text: TypeAlias = click.ParamType[str]
    Number: TypeAlias = click.ParamType[float]
else:  # click is generic only from 8.3 on
    Text = Number = click.ParamType


class Name(Text):
    """A queue, namespace or worker name."""

    def __init__(self, what: str) -> None:
        self.name = "NAME"
        self._what = what

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        try:
            return check_name(value, self._what)
        except InvalidName as error:
            self.fail(str(error), param, ctx)


class Place(Text):
    """A queue, or one partition of a queue: `mail`, `mail~3`."""

    name = "NAME"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        try:
            return check_place(value)
        except InvalidName as error:
            self.fail(str(error), param, ctx)


class Labels(Text):
    """Capability labels, a comma between: `gpu`, `gpu,region=eu`."""

    name = "LABEL"

    def __init__(self, what: str) -> None:
        self._what = what

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        try:
            return ",".join(
                check_labels(self._what, [word.strip() for word in str(value).split(",")])
            )
        except InvalidOption as error:
            self.fail(str(error), param, ctx)


class Span(Number):
    """Seconds, or `250ms 30s 5m 2h 7d`, within a range."""

    name = "SECONDS"

    def __init__(self, least: float = 0.0, most: float = math.inf) -> None:
        self._least = least
        self._most = most

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            seconds = parse_seconds(value) if isinstance(value, str) else float(str(value))
        except ValueError:
            self.fail(
                f"{value!r} is no time span: use seconds, or 250ms, 30s, 5m, 2h, 7d", param, ctx
            )
        if not self._least <= seconds <= self._most:
            self.fail(
                f"{value!r} is not from {self._least:g} to {self._most:g} seconds", param, ctx
            )
        return seconds


class Unique(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`queued`, `running`, or a time span."""

    name = "HOW"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | float:
        if value in ("queued", "running"):
            return str(value)
        return Span(0.001).convert(value, param, ctx)


class RedisUrl(Text):
    """A Redis URL that can be read."""

    name = "URL"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        from taskq.address import Address, is_embedded

        text = str(value)
        try:
            if not is_embedded(text):
                Address.parse(text)
        except ConfigError as error:
            self.fail(str(error), param, ctx)
        return text
