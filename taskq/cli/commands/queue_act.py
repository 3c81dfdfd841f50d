"""`taskq queue pause|resume|purge|set`: change a queue."""

from __future__ import annotations

import sys

import click

from taskq import commands
from taskq.cli import exits
from taskq.cli.command import Command
from taskq.cli.kinds import Span
from taskq.cli.options import queue_argument
from taskq.cli.screen import note, say
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.inspect import Inspector
from taskq.keys import QueueKeys, SharedKeys
from taskq.partition import queue_of
from taskq.partitioned import partitions_of, whole_of
from taskq.queue_settings import POLICIES, QueueSettings
from taskq.rights import check_rights
from taskq.store import Store
from taskq.views import QueueView

#: What `purge` empties, and the index it is.
PURGEABLE = ("ready", "scheduled", "retry", "dead", "done")


@click.command(
    cls=Command,
    examples=(
        ("taskq queue pause mail", "stop claims; running jobs go on, enqueue still works"),
        ("taskq queue resume mail", "go on"),
        ("taskq queue pause mail --redis-url redis://db:6379", "in another Redis"),
    ),
    notes="A queue that does not exist yet may be paused too. Partitions that are used for the first time"
    " later are not paused.",
)
@queue_argument
@common_options()
@click.pass_obj
def pause(session: Session, queue: str) -> None:
    """Claim nothing from a queue until resume. Running jobs go on."""

    async def work(store: Store) -> None:
        await _register(session, store, queue)
        for keys in await _all_keys(session, store, queue):
            await store.run(commands.pause(keys), tries=3)

    session.run(work)
    note(f"queue {queue} is paused: `taskq queue resume {queue}` ends it")


@click.command(
    cls=Command,
    examples=(
        ("taskq queue resume mail", "allow claims again"),
        ("taskq queue resume mail -v", "with debug output"),
        ("taskq queue resume mail --namespace staging", "in another namespace"),
    ),
)
@queue_argument
@common_options()
@click.pass_obj
def resume(session: Session, queue: str) -> None:
    """Allow claims from a paused queue again."""

    async def work(store: Store) -> bool:
        places = await _all_keys(session, store, queue)
        for keys in places:
            await check_rights(store, keys, "resume")
        was = [await store.run(commands.resume(keys), tries=3) for keys in places]
        return any(was)

    was = session.run(work)
    note(f"queue {queue} goes on" if was else f"queue {queue} was not paused")


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
            keys = _keys(session, view.name)
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


@click.command(
    cls=Command,
    name="set",
    examples=(
        ("taskq queue set mail --policy aging", "every job is the most urgent in the end"),
        ("taskq queue set mail --horizon 5m", "when a job without a deadline counts as due"),
        ("taskq queue set mail --max-jobs 10000", "refuse to enqueue more"),
    ),
    notes="Jobs that are ready keep the rank they have. A worker whose app says app.queue(...) writes the app's"
    " settings over these when it starts. --max-jobs is shared out to the partitions of a queue.",
)
@queue_argument
@click.option("--policy", type=click.Choice(POLICIES), help="How ready jobs are ordered.")
@click.option(
    "--horizon",
    type=Span(),
    help="A job without a deadline counts as due so long after becoming ready.",
)
@click.option("--max-jobs", type=click.IntRange(1, 10**9), help="Waiting jobs the queue may hold.")
@common_options()
@click.pass_obj
def set_(
    session: Session, queue: str, policy: str | None, horizon: float | None, max_jobs: int | None
) -> None:
    """Set how a queue orders and bounds its jobs."""
    given = [value for value in (policy, horizon, max_jobs) if value is not None]
    if not given:
        raise click.UsageError("nothing to set: give --policy, --horizon or --max-jobs")

    async def work(store: Store) -> int:
        places = await _all_keys(session, store, queue)
        for keys in places:
            await check_rights(store, keys, "configure")
        await _register(session, store, queue)
        wanted = QueueSettings.checked(
            queue_of(queue),
            policy=policy,
            horizon=horizon,
            max_jobs=max_jobs,
            partitions=len(places),
        ).meta()
        return max([await store.run(commands.configure(keys, wanted), tries=3) for keys in places])

    changed = session.run(work)
    note(f"queue {queue}: {changed} of {len(given)} settings changed")


def _keys(session: Session, queue: str) -> QueueKeys:
    return QueueKeys(session.settings.namespace, queue)


async def _all_keys(session: Session, store: Store, queue: str) -> list[QueueKeys]:
    """The keys of all partitions of a queue."""
    names = await partitions_of(Inspector(store, session.settings.namespace), queue)
    return [_keys(session, name) for name in names]


async def _register(session: Session, store: Store, queue: str) -> None:
    """It shows in lists from now on."""
    shared = SharedKeys(session.settings.namespace)
    await store.run(commands.plain("SADD", shared.queues, queue, parse=int), tries=3)
