"""Calls about schedules: write one with its next tick, read them, and see which timers are due.

A definition is text that only taskq/cron reads; a next tick is Unix ms, None for never.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from taskq.commands.call import BATCH, Call, Word, plain, text
from taskq.keys import QueueKeys

_NEVER = "inf"
_NONE = ""


class Stored(NamedTuple):
    """A schedule as Redis has it. `definition` '' and `due` '' when it is not there; `due` is text,
    as Redis writes it and the script compares it: ms, `inf` for never.
    """

    definition: str = ""
    due: str = _NONE

    @property
    def due_ms(self) -> int | None:
        """The next tick; None for never."""
        return round(float(self.due)) if self.due not in (_NONE, _NEVER) else None


def due_word(due_ms: int | None) -> str:
    """A next tick as the scripts read it."""
    return _NEVER if due_ms is None else str(due_ms)


def schedule(
    keys: QueueKeys, name: str, *, seen: Stored, definition: str, due_ms: int | None = None
) -> Call[Stored | None]:
    """Write a schedule if it still is as it was `seen`; an empty definition removes it. None when
    that was done, else what is there now.
    """

    def parse(reply: list[bytes]) -> Stored | None:
        if reply[0] == b"OK":
            return None
        return Stored(text(reply[1]), text(reply[2]))

    return Call(
        "schedule",
        (keys.schedules, keys.timers, keys.meta, keys.wake),
        (name, keys.cron_timer(name), *seen, definition, due_word(due_ms)),
        parse,
    )


def definition_of(keys: QueueKeys, name: str) -> Call[str]:
    """The definition of a schedule; '' for none."""
    return plain("HGET", keys.schedules, name, parse=lambda reply: text(reply or b""))


def definitions(keys: QueueKeys, names: Sequence[str]) -> Call[list[str]]:
    """The definitions of several schedules; '' where there is none."""
    return plain(
        "HMGET", keys.schedules, *names, parse=lambda reply: [text(one or b"") for one in reply]
    )


def next_ticks(keys: QueueKeys, names: Sequence[str]) -> Call[list[str]]:
    """The next ticks of several schedules, as `Stored.due` has them."""
    words: list[Word] = [keys.cron_timer(name) for name in names]
    return plain("ZMSCORE", keys.timers, *words, parse=lambda reply: [_due(one) for one in reply])


def schedule_names(keys: QueueKeys, cursor: int) -> Call[tuple[int, list[tuple[str, str]]]]:
    """A page of a queue's schedules: (next cursor, 0 at the end; names and definitions). A name may
    come twice.
    """

    def parse(reply: list[Any]) -> tuple[int, list[tuple[str, str]]]:
        flat = reply[1]
        if isinstance(flat, dict):  # as redis-py gives it
            flat = [word for pair in flat.items() for word in pair]
        words = [text(word) for word in flat]
        return int(reply[0]), list(zip(words[::2], words[1::2], strict=True))

    return plain("HSCAN", keys.schedules, cursor, "COUNT", BATCH, parse=parse)


def due_schedules(keys: QueueKeys, now_ms: int, most: int = 100) -> Call[list[tuple[str, str]]]:
    """Schedules whose tick is due: (name, `Stored.due`), the earliest first. Other timers are left
    out.
    """
    prefix = keys.cron_timer("")

    def parse(reply: list[bytes]) -> list[tuple[str, str]]:
        timers = zip(reply[::2], reply[1::2], strict=True)
        return [
            (text(member).removeprefix(prefix), _due(score))
            for member, score in timers
            if text(member).startswith(prefix)
        ]

    return plain(
        "ZRANGE", keys.timers, "-inf", now_ms, "BYSCORE", "LIMIT", 0, most, "WITHSCORES",
        parse=parse,
    )  # fmt: skip


def server_time() -> Call[int]:
    """The server's clock, Unix ms."""
    return plain("TIME", parse=lambda reply: int(reply[0]) * 1000 + int(reply[1]) // 1000)


def _due(score: bytes | float | None) -> str:
    if isinstance(score, float):  # as redis-py gives it
        return f"{score:.17g}"
    return _NONE if score is None else text(score)
