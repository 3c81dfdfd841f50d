"""`taskq queue pause|resume|purge`: stop a queue or a part of it, go on, empty it."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from taskq import commands
from taskq.cli import exits
from taskq.cli.command import Command
from taskq.cli.kinds import Name
from taskq.cli.options import queue_argument
from taskq.cli.places import all_keys, keys_of, register
from taskq.cli.screen import note, say
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.keys import QueueKeys
from taskq.limit_writer import write_limits
from taskq.partitioned import whole_of
from taskq.rights import check_rights
from taskq.store import Store
from taskq.views import QueueView

#: What `purge` empties, and the index it is.
PURGEABLE = ("ready", "scheduled", "retry", "dead", "done")


def _task_and_group(fn: Callable[..., None]) -> Callable[..., None]:
    """Options that narrow a pause to one task, or to one group."""
    fn = click.option("--group", help="Only jobs of this group.")(fn)
    return click.option("--task", type=Name("task name"), help="Only jobs of this task.")(fn)


def _kind(task: str | None, group: str | None) -> tuple[str, str] | None:
    if task and group:
        raise click.UsageError("give --task or --group, not both")
    return ("task", task) if task else ("group", group) if group else None


@click.command(
    cls=Command,
    examples=(
        ("taskq queue pause mail", "stop claims; running jobs go on, enqueue still works"),
        ("taskq queue pause mail --task newsletter", "start no more jobs of one task"),
        ("taskq queue pause mail --group acme", "nor of one group"),
    ),
    notes="A queue that does not exist yet may be paused too. Partitions that are used for the first time"
    " later are not paused.",
)
@queue_argument
@_task_and_group
@common_options()
@click.pass_obj
def pause(session: Session, queue: str, task: str | None, group: str | None) -> None:
    """Start nothing from a queue, or of one task or group of it, until resume. Running jobs go on."""
    what = _kind(task, group)
    definitions = commands.pausing(*what) if what else {}

    async def work(store: Store) -> None:
        await register(session, store, queue)
        for keys in await all_keys(session, store, queue):
            await check_rights(store, keys, "limit" if what else "pause")
            if what:
                await write_limits(store, keys, definitions)
            else:
                await store.run(commands.pause(keys), tries=3)

    session.run(work)
    name, option = _words(what, queue)
    note(f"{name} is paused: `taskq queue resume {queue}{option}` ends it")


@click.command(
    cls=Command,
    examples=(
        ("taskq queue resume mail", "allow claims again"),
        ("taskq queue resume mail --task newsletter", "of one task"),
        ("taskq queue resume mail --group acme", "of one group"),
    ),
)
@queue_argument
@_task_and_group
@common_options()
@click.pass_obj
def resume(session: Session, queue: str, task: str | None, group: str | None) -> None:
    """End a pause: of a queue, or of one task or group of it."""
    what = _kind(task, group)
    definitions = commands.resuming(*what) if what else {}

    async def work(store: Store) -> bool:
        places = await all_keys(session, store, queue)
        for keys in places:
            await check_rights(store, keys, "limit" if what else "resume")
        was = False
        for keys in places:
            if what:
                was |= await write_limits(store, keys, definitions) > 0
            else:
                was |= await store.run(commands.resume(keys), tries=3)
        return was

    was = session.run(work)
    name, _ = _words(what, queue)
    note(f"{name} goes on" if was else f"{name} was not paused")


def _words(what: tuple[str, str] | None, queue: str) -> tuple[str, str]:
    """What was paused or resumed, and the option that names it."""
    if what is None:
        return f"queue {queue}", ""
    kind, name = what
    return f"{kind} {name} of queue {queue}", f" --{kind} {name}"


@click.command(
    cls=Command,
    examples=(
        ("taskq queue purge mail dead", "forget the dead jobs, after a question"),
        ("taskq queue purge mail ready --yes", "without a question, as scripts need it"),
        ("taskq queue purge mail done --yes", "forget what has ended, and its results"),
    ),
    notes="Running jobs cannot be purged: cancel them.",
)
@queue_argument
@click.argument("state", type=click.Choice(PURGEABLE))
@click.option("--yes", is_flag=True, help="Do not ask. Needed when stdin is not a terminal.")
@common_options()
@click.pass_obj
def purge(session: Session, queue: str, state: str, yes: bool) -> None:
    """Remove all jobs of one state from a queue, for good. Prints how many."""
    whole = session.look(lambda inspector: whole_of(inspector, queue))
    count = whole.view.jobs[state]
    if not yes:
        if not sys.stdin.isatty():
            raise exits.Stop(
                f"{count} {state} jobs of queue {queue} would be removed: say --yes", exits.REFUSED
            )
        if not click.confirm(f"Remove {count} {state} jobs of queue {queue} for good?", err=True):
            raise exits.Stop("nothing removed", exits.REFUSED)

    async def work(store: Store) -> int:
        removed = 0
        for view in whole.parts:
            keys = keys_of(session, view.name)
            await check_rights(store, keys, "purge")
            for index in _indexes(keys, state, view):
                left = 1
                while left:
                    gone, left = await store.run(commands.purge(keys, index), tries=3)
                    removed += gone
        return removed

    removed = session.run(work)
    say(str(removed))
    note(f"removed {removed} {state} jobs of queue {queue}")


def _indexes(keys: QueueKeys, state: str, view: QueueView) -> list[str]:
    """Where the jobs of a state are."""
    if state != "ready":
        return [state]
    return [state, *(keys.ready_of(name).removeprefix(keys.prefix) for name in view.classes)]
