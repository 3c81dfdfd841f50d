"""`taskq queue ls|show|peek`: look at queues, change nothing."""

from __future__ import annotations

import click

from taskq.cli import exits, shapes
from taskq.cli.command import Command
from taskq.cli.commands.status import show_queues
from taskq.cli.options import json_option, queue_argument
from taskq.cli.screen import ago, print_json, say, span, table
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.inspect import Inspector
from taskq.partition import partitions_among
from taskq.partitioned import Whole, jobs_of, whole_of, wholes
from taskq.rank import describe
from taskq.views import Entry, QueueView, WorkerView


@click.command(
    cls=Command,
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


@click.command(
    cls=Command,
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


@click.command(
    cls=Command,
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
