"""JSON on the command line: arguments given as JSON or text, and results and payloads shown as
JSON.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import click


class _Bad(ValueError):
    pass


def _no_constant(name: str) -> Any:
    raise _Bad(f"{name} is not JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Bad(f"the key {name!r} is given twice")
        found[name] = value
    return found


def _parse(text: str) -> Any:
    return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)


def argument(text: str) -> Any:
    """A task's argument: JSON, or the text itself. What begins like a JSON list, object or string
    must be one.
    """
    try:
        return _parse(text)
    except (ValueError, RecursionError) as error:
        if text.lstrip()[:1] in ("{", "[", '"'):
            raise click.BadParameter(f"{text[:60]!r} is not valid JSON: {_why(error)}") from None
        return text


def keyword_arguments(text: str) -> dict[str, Any]:
    """Keyword arguments from a JSON object."""
    try:
        found = _parse(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"--kwargs is not valid JSON: {_why(error)}") from None
    if not isinstance(found, dict):
        raise click.BadParameter("--kwargs is not a JSON object, as in '{\"width\": 640}'")
    return found


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else "nested too deeply"


def jsonable(value: object) -> Any:
    """A value as JSON can have it: times ISO 8601, spans in seconds, bytes as text or base64, sets
    as lists.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (bytes, bytearray)):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): jsonable(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((jsonable(item) for item in value), key=repr)
    return str(value)
