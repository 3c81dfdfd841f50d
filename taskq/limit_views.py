"""Looks at the limits of a queue: what they say, who holds them, how many jobs wait for them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from taskq import commands
from taskq.keys import QueueKeys
from taskq.limit import Definition
from taskq.store import Store

#: Timers that are looked through for instances of a template, at most.
MOST_TIMERS = 1000
TRIES = 3


class Instance(NamedTuple):
    """One limit in use: a plain one, or one with its fields filled in."""

    name: str
    held: int
    parked: int
    next_start: float
    """Until its rate lets the next job start, s; 0 when it may now."""


class LimitView(NamedTuple):
    """A definition, and its instances: itself, or of a template those that jobs wait for."""

    definition: Definition
    instances: tuple[Instance, ...]

    @property
    def held(self) -> int:
        return sum(one.held for one in self.instances)

    @property
    def parked(self) -> int:
        return sum(one.parked for one in self.instances)


async def limits_of(store: Store, keys: QueueKeys) -> list[LimitView]:
    """The limits of one queue, by name."""
    stored = await store.run(
        commands.plain("HGETALL", keys.limits, parse=commands.map_of), tries=TRIES
    )
    members = await store.run(
        commands.plain("ZRANGE", keys.timers, 0, MOST_TIMERS - 1, parse=_names), tries=TRIES
    )
    now = await store.run(commands.plain("TIME", parse=_microseconds), tries=TRIES)
    waiting = [name.removeprefix("limit:") for name in members if name.startswith("limit:")]
    found = []
    for name in sorted(stored):
        definition = Definition.read(name, stored[name])
        names = [name]
        if "{" in name:
            pattern = _pattern(name)
            names = sorted(one for one in waiting if pattern.fullmatch(one))
        instances = [await _instance(store, keys, one, definition, now) for one in names]
        found.append(LimitView(definition, tuple(instances)))
    return found


async def _instance(
    store: Store, keys: QueueKeys, name: str, definition: Definition, now_us: int
) -> Instance:
    held, parked, arrival = await store.run_many(
        [
            commands.plain("SCARD", keys.holding(name), parse=_whole),
            commands.plain("ZCARD", keys.parked(name), parse=_whole),
            commands.plain("GET", keys.rate(name), parse=_whole),
        ],
        tries=TRIES,
    )
    every = definition.every_us or 0
    free_at = arrival - every * ((definition.burst or 1) - 1)
    return Instance(name, held, parked, max(0.0, (free_at - now_us) / 1e6) if every else 0.0)


def _names(reply: list[Any]) -> list[str]:
    return [commands.text(name) for name in reply]


def _whole(reply: Any) -> int:
    text = reply.decode("ascii", "replace") if isinstance(reply, bytes) else str(reply or 0)
    return int(text) if text.isdecimal() else 0


def _microseconds(reply: list[bytes]) -> int:
    return int(reply[0]) * 1_000_000 + int(reply[1])


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{[^{}]*\}", template)
    return re.compile(".+".join(re.escape(part) for part in parts))
