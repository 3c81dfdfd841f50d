"""Changes of schedules at run time, as steps (taskq/steps.py), so that async and sync share them.

All decide on what they have seen and write only if it is still so; who was slower looks again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from taskq import commands
from taskq.commands import Stored
from taskq.cron.rules import next_tick
from taskq.cron.schedule import Schedule, Unreadable
from taskq.errors import ScheduleNotFound, StoreUnavailable, WrongState
from taskq.keys import QueueKeys
from taskq.steps import Steps, one

#: How often a change is tried against others who change the same schedule.
LOOKS = 50


class Found(NamedTuple):
    """A schedule as it is in Redis. `schedule` is None when its definition cannot be read."""

    queue: str
    name: str
    schedule: Schedule | None
    due_ms: int | None
    problem: str = ""


def put(keys: QueueKeys, new: Schedule) -> Steps[str]:
    """Write a schedule: `added`, `changed` or `unchanged`. One that is paused stays paused, one
    whose rule is the same keeps its next tick.
    """
    word = "added"

    def change(stored: Stored, now: int) -> tuple[str, int | None]:
        nonlocal word
        old = _read(new.name, stored)
        word = "changed" if stored.definition else "added"
        if old is not None:
            written = new.paused(old.paused_ms).to_text()
            if old.paused_ms is not None:
                due = None
            elif old.rule == new.rule and stored.due_ms is not None:
                due = stored.due_ms
            else:
                due = next_tick(new.rule, now)
            if written == stored.definition and (old.paused_ms is not None or due == stored.due_ms):
                word = "unchanged"
            return written, due
        return new.to_text(), next_tick(new.rule, now)

    yield from _write(keys, new.name, change)
    return word


def pause(keys: QueueKeys, name: str) -> Steps[bool]:
    """Let it tick no more until `resume`; False when it was paused already."""
    changed = False

    def change(stored: Stored, now: int) -> tuple[str, int | None] | None:
        nonlocal changed
        schedule = _must(keys, name, stored)
        changed = schedule.paused_ms is None
        return (schedule.paused(now).to_text(), None) if changed else None

    yield from _write(keys, name, change)
    return changed


def resume(keys: QueueKeys, name: str) -> Steps[bool]:
    """Let it go on with the next tick from now; False when it was not paused."""
    changed = False

    def change(stored: Stored, now: int) -> tuple[str, int | None] | None:
        nonlocal changed
        schedule = _must(keys, name, stored)
        changed = schedule.paused_ms is not None
        if not changed:
            return None
        return schedule.paused(None).to_text(), next_tick(schedule.rule, now)

    yield from _write(keys, name, change)
    return changed


def remove(keys: QueueKeys, name: str) -> Steps[None]:
    """Take it away. Jobs it has enqueued stay."""
    gone = False

    def change(stored: Stored, now: int) -> tuple[str, int | None] | None:
        nonlocal gone
        if not stored.definition and not stored.due and not gone:
            raise not_found(keys, name)
        gone = True
        return "", None

    yield from _write(keys, name, change)


def get(keys: QueueKeys, name: str) -> Steps[Found]:
    """One schedule. Raises ScheduleNotFound."""
    definition = yield from one(commands.definition_of(keys, name))
    if not definition:
        raise not_found(keys, name)
    (due,) = yield from one(commands.next_ticks(keys, [name]))
    return found_of(keys, name, Stored(definition, due))


def every(keys: QueueKeys) -> Steps[list[Found]]:
    """All schedules of a queue, by name."""
    texts: dict[str, str] = {}
    cursor = 0
    while True:
        cursor, page = yield from one(commands.schedule_names(keys, cursor))
        texts.update(page)
        if cursor == 0:
            break
    names = sorted(texts)
    found = []
    for start in range(0, len(names), commands.BATCH):
        part = names[start : start + commands.BATCH]
        dues = yield from one(commands.next_ticks(keys, part))
        found += [
            found_of(keys, name, Stored(texts[name], due))
            for name, due in zip(part, dues, strict=True)
        ]
    return found


def runnable(keys: QueueKeys, name: str) -> Steps[tuple[Schedule, int]]:
    """A schedule to trigger, and the server's clock, Unix ms."""
    definition = yield from one(commands.definition_of(keys, name))
    now = yield from one(commands.server_time())
    return _must(keys, name, Stored(definition)), now


def found_of(keys: QueueKeys, name: str, stored: Stored) -> Found:
    """What a stored schedule says."""
    try:
        schedule = Schedule.from_text(name, stored.definition)
    except Unreadable as error:
        return Found(keys.queue, name, None, stored.due_ms, f"cannot be read ({error})")
    return Found(keys.queue, name, schedule, stored.due_ms)


def not_found(keys: QueueKeys, name: str) -> ScheduleNotFound:
    return ScheduleNotFound(
        f"no schedule {name!r} in queue {keys.queue!r}: `taskq cron ls` shows those there are"
    )


Change: TypeAlias = Callable[[Stored, int], "tuple[str, int | None] | None"]


def _write(keys: QueueKeys, name: str, change: Change) -> Steps[None]:
    """Write what `change` makes of what is stored and of the server's time, until nobody comes in
    between; None leaves all as it is.
    """
    definition = yield from one(commands.definition_of(keys, name))
    (due,) = yield from one(commands.next_ticks(keys, [name]))
    now = yield from one(commands.server_time())
    stored = Stored(definition, due)
    for _ in range(LOOKS):
        wanted = change(stored, now)
        if wanted is None:
            return
        text, due_ms = wanted
        call = commands.schedule(keys, name, seen=stored, definition=text, due_ms=due_ms)
        other = yield from one(call)
        if other is None:
            return
        stored = other
    raise StoreUnavailable(
        f"schedule {name!r} of queue {keys.queue!r} was changed by others {LOOKS} times in a row;"
        " try again"
    )


def _read(name: str, stored: Stored) -> Schedule | None:
    try:
        return Schedule.from_text(name, stored.definition)
    except Unreadable:
        return None


def _must(keys: QueueKeys, name: str, stored: Stored) -> Schedule:
    if not stored.definition:
        raise not_found(keys, name)
    schedule = _read(name, stored)
    if schedule is None:
        raise WrongState(
            f"schedule {name!r} of queue {keys.queue!r} cannot be read: remove it, and add it anew"
        )
    return schedule
