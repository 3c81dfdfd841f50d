"""Words for values that cannot cross the wire: what they are, why not, what to send instead.

Only `codec` asks, and only after an encode has failed. Nothing here encodes or decodes, and no
message holds a value itself, only its type: a value may be a secret.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import os
import threading
import types
from collections.abc import Awaitable, Iterator
from datetime import datetime

INSTEAD = "send an id or a path instead"

#: Longest piece of a dict key shown in a path, in characters.
_KEY_SHOWN = 40

_NAMED: tuple[tuple[tuple[type, ...], str, str], ...] = (
    ((type(threading.Lock()),), "a threading.Lock", INSTEAD),
    ((type(threading.RLock()),), "a threading.RLock", INSTEAD),
    ((types.GeneratorType, types.AsyncGeneratorType), "a generator", "send list(...) of it"),
    ((types.CoroutineType,), "a coroutine", "await it and send what it returns"),
    ((Awaitable,), "an awaitable", "await it and send what it returns"),
    ((io.IOBase,), "an open file", INSTEAD),
    ((types.ModuleType,), "a module", "send its name as a str"),
    ((type,), "a class", "send its name as a str"),
    ((BaseException,), "an exception", "send str(...) of it"),
    ((os.PathLike,), "a path object", "send str(...) of it"),
    ((complex,), "a complex number", "send its two parts"),
    ((range,), "a range", "send list(...) of it"),
)


def parts(value: object, fields: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """What a value is made of, each with what it adds to the path; `fields`: of a dataclass."""
    kind = type(value)
    if isinstance(value, list | tuple) and kind in (list, tuple):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, dict) and kind is dict:
        for key, item in value.items():
            yield " (a key)", key
            yield f"[{_shown(key)}]", item
    elif isinstance(value, set | frozenset) and kind in (set, frozenset):
        yield from ((" (an element)", item) for item in value)
    else:
        yield from ((f".{field}", getattr(value, field, None)) for field in fields)


def describe(value: object) -> str:
    """Why this value, taken alone, cannot be sent and what to do, e.g. "a lambda cannot ..."."""
    if isinstance(value, enum.Enum):
        return f"{_a(type(value))} is an enum member and cannot be sent; send its .value"
    if isinstance(value, datetime):
        return "a datetime needs a timezone; use datetime.now(timezone.utc) or give it a tzinfo"
    if isinstance(value, int):
        return (
            f"an int of {value.bit_length()} bits cannot be sent, "
            "only -2**63 to 2**64 - 1; send it as a str or Decimal"
        )
    if isinstance(value, str):
        return "a str with a lone surrogate is not valid text and cannot be sent; send bytes"
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | types.MethodType):
        lambda_ = getattr(value, "__name__", "") == "<lambda>"
        return f"a {'lambda' if lambda_ else 'function'} cannot be sent; {INSTEAD}"
    for kinds, words, remedy in _NAMED:
        if isinstance(value, kinds):
            return f"{words} cannot be sent; {remedy}"
    if dataclasses.is_dataclass(value):
        return (
            f"{_a(type(value))} is a dataclass that is not registered; "
            "register it with register_dataclass or send a dict"
        )
    for kind in (dict, list, tuple, set, frozenset, bytes):
        if isinstance(value, kind) and type(value) is not kind:
            name = kind.__name__
            return f"{_a(type(value))} would lose its type and cannot be sent; send {name}(...)"
    return f"{_a(type(value))} cannot be sent; send an id or a plain value instead"


def _a(kind: type) -> str:
    name = kind.__qualname__.rpartition("<locals>.")[2]
    name = name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"
    return f"{'an' if name[:1].lower() in set('aeio') else 'a'} {name}"


def _shown(key: object) -> str:
    if not isinstance(key, str | int):
        return f"<{type(key).__name__}>"
    text = repr(key)
    return text if len(text) <= _KEY_SHOWN else f"{text[:_KEY_SHOWN]}..."
