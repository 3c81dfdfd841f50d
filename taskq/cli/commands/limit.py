"""`taskq limit ...`: look at the limits of queues, set and remove them while everything runs."""

from __future__ import annotations

import click

from taskq.cli import exits
from taskq.cli.command import LazyGroup
from taskq.cli.options import json_option, queue_argument, queue_option
from taskq.cli.places import all_keys, keys_of, register
from taskq.cli.screen import note, print_json, say, span, table
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.errors import InvalidOption
from taskq.inspect import Inspector
from taskq.keys import QueueKeys
from taskq.limit import Limit
from taskq.limit_views import Instance, LimitView, limits_of
from taskq.limit_writer import write_limits
from taskq.partition import is_partition
from taskq.partitioned import places_of
from taskq.rights import check_rights
from taskq.steering import by_hand
from taskq.store import Store

_EXAMPLES = (
    ("taskq limit ls", "all limits, who holds them, how many jobs wait"),
    ("taskq limit set mail smtp --concurrency 5", "at most five at a time, from now on"),
    ("taskq limit rm mail smtp", "no limit any more"),
)


@click.group(cls=LazyGroup, examples=_EXAMPLES)
@common_options()
def command() -> None:
    """Look at limits, set and remove them."""


@command.command(
    examples=(
        ("taskq limit ls", "of all queues"),
        ("taskq limit ls -q mail", "of one queue"),
        ("taskq limit ls --json", "for programs"),
    ),
    notes="HELD is running jobs of what may run. A limit with fields, as tenant:{tenant}, lists what its jobs"
    " wait for below it. A pause is a limit of 0.\n\n--json prints a list of {queue, name, concurrency, rate,"
    " burst, on, by_hand, held, parked, next_start_seconds, instances [{name, held, parked,"
    " next_start_seconds}]}; next_start_seconds is null for a limit with fields.",
)
@queue_option
@json_option
@common_options()
@click.pass_obj
def ls(session: Session, queue: str | None, as_json: bool) -> None:
    """Limits, how much of them is in use, and how many jobs wait."""

    async def look(store: Store) -> list[tuple[str, LimitView]]:
        inspector = Inspector(store, session.settings.namespace)
        names = [queue] if queue else await inspector.queue_names()
        found: list[tuple[str, LimitView]] = []
        for name in names:
            found += [(name, view) for view in await limits_of(store, keys_of(session, name))]
        return found

    views = session.run(look)
    if as_json:
        print_json([_shape(name, view) for name, view in views])
        return
    if not views:
        say("no limits")
        return
    rows = []
    for name, view in views:
        rows.append(_row(name, view))
        if not _is_plain(view):
            rows += [_row_of_instance(view, one) for one in view.instances]
    table(("queue", "limit", "on", "rate", ">held", ">waiting", "next start", "set by"), rows)


def _is_plain(view: LimitView) -> bool:
    return "{" not in view.definition.name


def _row(queue: str, view: LimitView) -> list[str]:
    one, plain = view.definition, _is_plain(view)
    most = "-" if one.concurrency is None else str(one.concurrency)
    return [
        queue,
        one.name,
        one.on,
        _rate(view),
        f"{view.held}/{most}" if plain else f"-/{most}",
        str(view.parked),
        _next(view, view.instances[0]) if plain else "-",
        "hand" if one.by_hand else "app",
    ]


def _row_of_instance(view: LimitView, one: Instance) -> list[str]:
    most = view.definition.concurrency
    held = f"{one.held}/{'-' if most is None else most}"
    return ["", f"  {one.name}", "", "", held, str(one.parked), _next(view, one), ""]


def _rate(view: LimitView) -> str:
    one = view.definition
    return f"{one.rate}, {one.burst} at once" if one.rate else "-"


def _next(view: LimitView, one: Instance) -> str:
    if not view.definition.every_us:
        return "-"
    return f"in {span(one.next_start)}" if one.next_start else "now"


def _shape(queue: str, view: LimitView) -> dict[str, object]:
    one, plain = view.definition, _is_plain(view)
    return {
        "queue": queue,
        "name": one.name,
        "concurrency": one.concurrency,
        "rate": one.rate,
        "burst": one.burst,
        "on": one.on,
        "by_hand": one.by_hand,
        "held": view.held,
        "parked": view.parked,
        "next_start_seconds": view.instances[0].next_start if plain else None,
        "instances": [
            {
                "name": each.name,
                "held": each.held,
                "parked": each.parked,
                "next_start_seconds": each.next_start,
            }
            for each in (() if plain else view.instances)
        ],
    }


@command.command(
    name="set",
    examples=(
        ("taskq limit set mail smtp --concurrency 5", "for all jobs of the queue"),
        ("taskq limit set mail vendor --rate 100/s --burst 20 --on task.charge", "for one task"),
        ("taskq limit set mail 'tenant:{tenant}' --concurrency 3", "for jobs that name it"),
    ),
    notes="Replaces the limit of that name: what is not given is not limited. It holds at once, for all"
    " workers, and stays until `taskq limit rm`, whatever apps declare.",
)
@queue_argument
@click.argument("name", metavar="LIMIT")
@click.option("--concurrency", type=click.IntRange(1, 1_000_000), help="Jobs at a time, at most.")
@click.option("--rate", help="Starts, at most: 100/s, 5/min, 1000/h, 1/10s.")
@click.option("--burst", type=click.IntRange(1, 1_000_000), help="Starts that may come at once.")
@click.option(
    "--on",
    metavar="JOBS",
    help="queue, task.NAME, group.NAME, or job: those that name it."
    "  [default: as it is, else queue; job for a limit with fields]",
)
@common_options()
@click.pass_obj
def set_(
    session: Session,
    queue: str,
    name: str,
    concurrency: int | None,
    rate: str | None,
    burst: int | None,
    on: str | None,
) -> None:
    """Set a limit of a queue, now and for all workers."""
    limit = Limit(name, concurrency, rate, burst)

    async def work(store: Store) -> int:
        keys = await _one_place(session, store, queue)
        await check_rights(store, keys, "limit")
        await register(session, store, queue)
        known = {view.definition.name: view.definition.on for view in await limits_of(store, keys)}
        words = by_hand(limit, on or known.get(name, ""))
        return await write_limits(store, keys, {name: words}, again=True)

    changed = session.run(work)
    note(f"limit {name} of queue {queue} is {'set' if changed else 'as it was'}")


async def _one_place(session: Session, store: Store, queue: str) -> QueueKeys:
    places = await all_keys(session, store, queue)
    if len(places) > 1 or is_partition(queue):
        raise InvalidOption(
            f"queue {queue!r} has partitions: a limit must be in one place to count over the whole"
        )
    return places[0]


@command.command(
    examples=(
        ("taskq limit rm mail smtp", "no limit of that name any more"),
        ("taskq limit rm mail 'tenant:{tenant}'", "one with fields"),
        ("taskq limit rm mail smtp --namespace staging", "in another namespace"),
    ),
    notes="Jobs that wait for it are looked at again at once. An app that declares it writes it anew when its"
    " next worker starts.",
)
@queue_argument
@click.argument("name", metavar="LIMIT")
@common_options()
@click.pass_obj
def rm(session: Session, queue: str, name: str) -> None:
    """Remove a limit of a queue."""

    async def work(store: Store) -> int:
        changed = 0
        for place in await places_of(Inspector(store, session.settings.namespace), [queue]):
            keys = keys_of(session, place)
            await check_rights(store, keys, "limit")
            changed += await write_limits(store, keys, {name: ""}, again=True)
        return changed

    if not session.run(work):
        raise exits.Stop(f"queue {queue} has no limit {name!r}", exits.NOT_FOUND)
    note(f"limit {name} of queue {queue} is removed")
