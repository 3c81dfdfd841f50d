"""Schedules, said in plain Python on a World. Ticks are fired by enqueue."""

from __future__ import annotations

from taskq.commands import Stored
from tests.model.world import World


def stored(world: World, name: str) -> Stored:
    """A schedule and its next tick, as somebody sees them."""
    due = world.index("timers").get(f"cron:{name}")
    words = "" if due is None else f"{due:.0f}"
    return Stored(world.hash("schedules").get(name, ""), words)


def schedule(
    world: World, name: str, seen: Stored, definition: str, due_ms: int | None
) -> Stored | None:
    """Written only when it is as it was seen; None when it is as it was wanted."""
    now_is = stored(world, name)
    due = "" if not definition else "inf" if due_ms is None else str(due_ms)
    if now_is == Stored(definition, due):
        return None
    if now_is != seen:
        return now_is
    first = min(world.index("timers").values(), default=float("inf"))
    if not definition:
        world.hash("schedules").pop(name, None)
        world.index("timers").pop(f"cron:{name}", None)
        world.note_timer()
        return None
    world.hash("schedules")[name] = definition
    world.set_timer(f"cron:{name}", float(due))
    if float(due) < first:
        world.wake_up(1)
    return None
