"""`taskq queue ...`: look at queues, pause, set up, empty them."""

from __future__ import annotations

import sys

import click

from taskq import commands
from taskq.cli import exits, shapes
from taskq.cli.command import LazyGroup
from taskq.cli.commands.status import show_queues
from taskq.cli.kinds import Span
from taskq.cli.options import json_option, queue_argument
from taskq.cli.screen import ago, note, print_json, say, span, table
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.inspect import Entry, Inspector, QueueView, WorkerView
from taskq.keys import QueueKeys, SharedKeys
from taskq.partition import partitions_among, queue_of
from taskq.partitioned import Whole, jobs_of, partitions_of, whole_of, wholes
from taskq.queue_settings import POLICIES, QueueSettings
from taskq.rank import describe
from taskq.rights import check_rights
from taskq.store import Store

#: What `purge` empties, and the index it is.
PURGEABLE = ("ready", "scheduled", "retry", "dead", "done")

_EXAMPLES = (
    ("taskq queue ls", "all queues"),
    ("taskq queue peek mail -n 5", "what runs next, and why in this order"),
    ("taskq queue pause mail", "claim nothing from it until resume"),
)


@click.group(cls=LazyGroup, examples=_EXAMPLES)
@common_options()
def command() -> None:
    """Look at queues; pause, set up, empty them."""


@command.command(
    examples=(
        ("taskq queue ls", "a table"),
        ("taskq queue ls --json", "for programs"),
        ("taskq queue ls --namespace staging", "of another namespace"),
    ),
    notes="--json prints a list of {queue, ready, scheduled, retry, running, dead, done, paused, paused_at,"
    " next_job, next_job_waits_seconds, next_due_seconds, workers, partitions}; the partitions of a queue"
    " are added up.",
)
@json_option
@common_options()
@click.pass_obj
def ls(session: Session, as_json: bool) -> None:
    """All queues and how many jobs are where."""
    queues, workers = session.look(_all)
    if as_json:
        print_json([shapes.queue(whole, workers) for whole in wholes(queues)])
    else:
        show_queues(wholes(queues), workers)


async def _all(inspector: Inspector) -> tuple[list[QueueView], list[WorkerView]]:
    return await inspector.queues(), await inspector.workers()


@command.command(
    examples=(
        ("taskq queue show mail", "its jobs, settings, workers and counters"),
        ("taskq queue show mail --json", "for programs"),
        ("taskq queue show default --redis-url redis://db:6379", "in another Redis"),
    ),
    notes="--json prints what ls prints and {policy, horizon_seconds, max_jobs, classes, holders [{worker,"
    " running, life}], counters, parts}; parts lists each partition as ls lists a queue, when there are several.",
)
@queue_argument
@json_option
@common_options()
@click.pass_obj
def show(session: Session, queue: str, as_json: bool) -> None:
    """Everything about one queue."""

    async def look(inspector: Inspector) -> tuple[Whole, list[WorkerView]]:
        await _must_exist(inspector, queue)
        return await whole_of(inspector, queue), await inspector.workers()

    whole, workers = session.look(look)
    if as_json:
        print_json(shapes.queue_details(whole, workers))
        return
    view, parts = whole.view, [Whole(part, (part,)) for part in whole.parts]
    show_queues([whole, *parts] if len(parts) > 1 else [whole], workers)
    say()
    say(f"policy   {view.policy}, horizon {span(view.horizon)}")
    most = view.max_jobs or session.settings.max_jobs
    say(f"limit    {most:,} waiting jobs")
    if view.paused_at is not None:
        say(f"paused   {ago(view.paused_at)}", "yellow")
    for name, count in sorted(view.classes.items()):
        say(f"class    {name}: {count} ready")
    for worker, (count, life) in sorted(view.holders.items()):
        say(f"worker   {worker}: {count} running, {life}", "" if life == "alive" else "red")
    if view.counters:
        say(
            "so far   "
            + ", ".join(f"{name} {count}" for name, count in sorted(view.counters.items()))
        )


async def _must_exist(inspector: Inspector, queue: str) -> None:
    known = await inspector.queue_names()
    if queue not in known and not partitions_among(known, queue):
        names = ", ".join(known[:10]) or "none"
        raise exits.Stop(f"no queue {queue!r}: the queues are {names}", exits.NOT_FOUND)


@command.command(
    examples=(
        ("taskq queue peek mail", "the next ten jobs"),
        ("taskq queue peek mail -n 100 --json", "the next hundred, for programs"),
        ("taskq queue peek default --namespace staging", "in another namespace"),
    ),
    notes="Looks without touching: jobs stay where they are.\n\n--json prints a list of jobs as `taskq job ls"
    " --json` does, each with {place, rank, rank_words}.",
)
@queue_argument
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Jobs to show.",
)
@json_option
@common_options()
@click.pass_obj
def peek(session: Session, queue: str, limit: int, as_json: bool) -> None:
    """The jobs that run next, in order, with their rank in words."""

    async def look(inspector: Inspector) -> tuple[list[Entry], str]:
        await _must_exist(inspector, queue)
        policy = (await inspector.queue(queue)).policy
        return await jobs_of(inspector, queue, "ready", limit=limit), policy

    entries, policy = session.look(look)
    if as_json:
        print_json([shapes.peeked_job(e, i + 1, policy) for i, e in enumerate(entries)])
        return
    if not entries:
        say(f"no job of queue {queue} is ready")
        return
    rows = [
        [
            str(i + 1),
            e.info.id,
            e.info.task,
            describe(e.score, policy),
            e.info.job_class or "-",
            ago(e.info.enqueued_at),
        ]
        for i, e in enumerate(entries)
    ]
    table((">place", "id", "task", "rank", "class", "enqueued"), rows)


@command.command(
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


@command.command(
    examples=(
        ("taskq queue resume mail", "allow claims again"),
        ("taskq queue resume mail -v", "with debug output"),
        ("taskq queue resume mail --namespace staging", "in another namespace"),
    )
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


@command.command(
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


@command.command(
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
