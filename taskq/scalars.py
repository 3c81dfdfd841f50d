"""Scalar types that msgpack lacks, as text anyone can read: a fixed, numbered list.

    1 datetime   2024-03-31T01:30:00+01:00, and [Europe/Rome] after it if it has an IANA zone
    2 date       2024-03-31           4 Decimal   1.10
    3 timedelta  microseconds         5 UUID      its 16 bytes

The numbers are part of the wire protocol: a number is never given to another type.
Pure: `codec` puts the text into extensions; containers are its own affair.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

DATETIME: Final = 1
DATE: Final = 2
TIMEDELTA: Final = 3
DECIMAL: Final = 4
UUID_: Final = 5

_MICROSECOND = timedelta(microseconds=1)


def write(value: object) -> tuple[int, bytes] | None:
    """(number, bytes) of a value, None if its type is not listed or a datetime is naive.

    A value of a subclass is written as its listed type.
    """
    if isinstance(value, datetime):  # before date: a datetime is one
        text = _write_datetime(value)
        return (DATETIME, text.encode()) if text else None
    if isinstance(value, date):
        return DATE, date.isoformat(value).encode()
    if isinstance(value, timedelta):
        return TIMEDELTA, str(value // _MICROSECOND).encode()
    if isinstance(value, Decimal):
        return DECIMAL, Decimal.__str__(value).encode()
    if isinstance(value, UUID):
        return UUID_, value.bytes
    return None


def read(number: int, data: bytes) -> object:
    """The value of `write`. Raises ValueError for bad bytes, an unknown number or timezone."""
    reader = _READERS.get(number)
    if reader is None:
        raise ValueError(f"extension type {number} is not one of taskq's")
    return reader(data)


def plain(value: object) -> str | int | float | None:
    """A str, int or float of a value of a subclass, else None: an enum member is not one."""
    if isinstance(value, Enum):
        return None
    if isinstance(value, str) and type(value) is not str:
        return str.__str__(value)
    if isinstance(value, int) and type(value) is not int:
        return int.__index__(value)
    if isinstance(value, float) and type(value) is not float:
        return float.__float__(value)
    return None


def _write_datetime(value: datetime) -> str | None:
    if value.utcoffset() is None:
        return None
    zone = value.tzinfo
    name = zone.key if isinstance(zone, ZoneInfo) else None
    text = datetime.isoformat(value)
    return f"{text}[{name}]" if name else text


def _read_datetime(data: bytes) -> datetime:
    text, bracket, name = data.decode("ascii").partition("[")
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() is None:
        raise ValueError("a datetime without a timezone")
    if not bracket:
        return moment
    try:
        zone = ZoneInfo(name.removesuffix("]"))
    except (LookupError, OSError, ValueError) as error:
        raise ValueError("its timezone is unknown here; install the tzdata package") from error
    for fold in (0, 1):
        local = moment.replace(tzinfo=zone, fold=fold)
        if local.utcoffset() == moment.utcoffset():
            return local
    return moment.astimezone(zone)  # the zone's rules differ here: the instant is what counts


_READERS: dict[int, Callable[[bytes], object]] = {
    DATETIME: _read_datetime,
    DATE: lambda data: date.fromisoformat(data.decode("ascii")),
    TIMEDELTA: lambda data: timedelta(microseconds=int(data)),
    DECIMAL: lambda data: Decimal(data.decode("ascii")),
    UUID_: lambda data: UUID(bytes=data),
}
