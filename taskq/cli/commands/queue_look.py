"""`taskq queue ls|show|peek|signals`: look at queues, change nothing."""

from __future__ import annotations

import click

from taskq.cli import exits, shapes
from taskq.cli.command import Command
from taskq.cli.commands.status import show_held_back, show_queues
from taskq.cli.options import json_option, limit_option, queue_argument
from taskq.cli.screen import ago, note, print_json, say, span, table
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.inspect import Inspector
from taskq.partition import partitions_among
from taskq.partitioned import Tasks, Whole, jobs_of, tasks_of, whole_of, wholes
from taskq.rank import describe
from taskq.views import Entry, QueueView, Signals, Slack, WorkerView


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
    " running, life, slots}], counters, slots, limits {name: definition}, parked {limit: jobs}, paused_parts"
    " [{kind, name}], struck [...], next_ticks [{schedule, due_at}], tasks [{task, average_seconds, slack}], parts}; parts lists each partition as"
    " ls lists a queue, when there are several. slack is {started, mean_seconds, least_seconds, late, expired} of"
    " jobs with a deadline: what was left to them when they began, runs that went on to it, jobs that could not"
    " begin in time.",
)
@queue_argument
@json_option
@common_options()
@click.pass_obj
def show(session: Session, queue: str, as_json: bool) -> None:
    """Everything about one queue."""

    async def look(inspector: Inspector) -> tuple[Whole, list[WorkerView], Tasks]:
        await _must_exist(inspector, queue)
        whole = await whole_of(inspector, queue)
        return whole, await inspector.workers(), await tasks_of(inspector, queue)

    whole, workers, tasks = session.look(look)
    if as_json:
        print_json(shapes.queue_details(whole, workers, tasks))
        return
    view, parts = whole.view, [Whole(part, (part,)) for part in whole.parts]
    show_queues([whole, *parts] if len(parts) > 1 else [whole], workers)
    say()
    say(f"policy   {view.policy}, horizon {span(view.horizon)}")
    most = view.max_jobs or session.settings.max_jobs
    say(f"limit    {most:,} waiting jobs")
    if view.paused_at is not None:
        say(f"paused   {ago(view.paused_at)}", "yellow")
    show_held_back(view)
    for task, (seconds, slack) in sorted(tasks.items()):
        say(f"task     {'all tasks' if task == '*' else task}: {_measured(seconds, slack)}")
    for name, count in sorted(view.classes.items()):
        say(f"class    {name}: {count} ready")
    for worker, (count, life) in sorted(view.holders.items()):
        say(f"worker   {worker}: {count} running, {life}", "" if life == "alive" else "red")
    if view.counters:
        say(
            "so far   "
            + ", ".join(f"{name} {count}" for name, count in sorted(view.counters.items()))
        )


def _measured(seconds: float | None, slack: Slack | None) -> str:
    words = [] if seconds is None else [f"runs take {span(seconds)}"]
    if slack is not None:
        if slack.mean is not None:
            words.append(
                f"{span_of_slack(slack.mean)} left at start (least {span_of_slack(slack.least)})"
            )
        words.append(f"{slack.late + slack.expired} deadlines missed")
    return ", ".join(words)


def span_of_slack(seconds: float | None) -> str:
    """A span that may be below 0."""
    return f"-{span(-seconds)}" if seconds is not None and seconds < 0 else span(seconds)


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
    notes="Looks without touching: jobs stay where they are. Jobs of all classes are listed in one order; a"
    " worker passes by those it cannot run, and a job that a limit blocks waits apart until that has room.\n\n"
    "--json prints a list of jobs as `taskq job ls --json` does, each with {place, rank, rank_words}; those that"
    " are blocked come last, without a place.",
)
@queue_argument
@limit_option(10, 1000)
@json_option
@common_options()
@click.pass_obj
def peek(session: Session, queue: str, limit: int, as_json: bool) -> None:
    """The jobs that run next, in order, with their rank in words; and those a limit blocks."""

    async def look(inspector: Inspector) -> tuple[list[Entry], list[Entry], QueueView]:
        await _must_exist(inspector, queue)
        view = (await whole_of(inspector, queue)).view
        ready = await jobs_of(inspector, queue, "ready", limit=limit)
        return ready, await jobs_of(inspector, queue, "blocked", limit=limit), view

    ready, blocked, view = session.look(look)
    if as_json:
        print_json(
            [shapes.peeked_job(e, i + 1, view.policy) for i, e in enumerate(ready)]
            + [shapes.peeked_job(e, None, view.policy) for e in blocked]
        )
        return
    if not ready:
        say(f"no job of queue {queue} is ready")
    else:
        rows = [[str(i + 1), *_peeked(e, view.policy)] for i, e in enumerate(ready)]
        table((">place", "id", "task", "rank", "class", "enqueued"), rows)
    if blocked:
        say()
        say(f"{view.jobs['blocked']} wait for a limit; the first of them, by rank:")
        rows = [[shapes.blocked_by(e) or "?", *_peeked(e, view.policy)] for e in blocked]
        table(("limit", "id", "task", "rank", "class", "enqueued"), rows)
    if view.paused_at is not None:
        note(f"queue {queue} is paused: nothing runs until `taskq queue resume {queue}`")


def _peeked(entry: Entry, policy: str) -> list[str]:
    group = shapes.group(entry)
    return [
        entry.info.id,
        entry.info.task,
        describe(entry.score, policy) + (f", group {group}" if group else ""),
        entry.info.job_class or "-",
        ago(entry.info.enqueued_at),
    ]


@click.command(
    cls=Command,
    examples=(
        ("taskq queue signals mail", "how old is the oldest, how many workers does it take?"),
        ("taskq queue signals mail --json", "for an autoscaler"),
        (
            "taskq queue signals mail --slots-per-worker 20",
            "what a new worker brings, when none lives",
        ),
    ),
    notes="--json prints {queue, ready, due, blocked, running, workers, slots, utilisation, oldest_age_seconds,"
    " work_seconds, time_to_drain_seconds, least_slack_seconds, late, workers_needed, paused, exact}; what cannot"
    " be said is null. exact: every ready job was looked at, else the numbers are estimates from the best jobs of"
    " each priority. docs/autoscaling.md says what each is good for.",
)
@queue_argument
@click.option(
    "--slots-per-worker",
    type=click.IntRange(1, 100_000),
    help="Slots of a worker to come; those alive are asked first. Default: the setting concurrency.",
)
@json_option
@common_options()
@click.pass_obj
def signals(session: Session, queue: str, slots_per_worker: int | None, as_json: bool) -> None:
    """What an autoscaler must know: ages, work, slack, workers needed."""
    each = slots_per_worker or session.settings.concurrency

    async def look(inspector: Inspector) -> Signals:
        await _must_exist(inspector, queue)
        return await inspector.signals(queue, each)

    found = session.look(look)
    if as_json:
        print_json(shapes.signals(found))
        return
    about = "" if found.exact else " (estimates: not every job was looked at)"
    used = "-" if found.utilisation is None else f"{found.utilisation:.0%}"
    say(f"waiting  {found.ready} ready, {found.due} due, {found.blocked} blocked by limits")
    say(
        f"working  {found.running} running in {found.slots} slots of {found.workers} workers, {used}"
    )
    say(f"oldest   {span(found.oldest_age)}{about}")
    say(f"work     {span(found.work)} of one slot, done in {span(found.time_to_drain)}")
    say(f"slack    {span_of_slack(found.least_slack)} at least, {found.late} too late by now")
    say(f"workers  {found.workers_needed} needed so that no deadline is missed")
    if found.paused:
        say(f"paused   nothing runs until `taskq queue resume {queue}`", "yellow")
