"""`taskq task ...`: refuse a task by name, on all workers at once."""

from __future__ import annotations

import click

from taskq import commands
from taskq.cli.command import LazyGroup
from taskq.cli.kinds import Name
from taskq.cli.options import queue_option
from taskq.cli.places import keys_of
from taskq.cli.screen import note
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.errors import JobNotFound, WrongState
from taskq.inspect import Inspector
from taskq.limit_writer import write_limits
from taskq.partitioned import places_of
from taskq.rights import check_rights
from taskq.store import Store

#: Running jobs of one queue that --stop looks through, at most.
MOST = 10_000

_EXAMPLES = (
    ("taskq task strike newsletter", "start and enqueue no more of it, in all queues"),
    ("taskq task strike newsletter -q mail --stop", "and stop what runs of it"),
    ("taskq task unstrike newsletter", "it may run again"),
)


@click.group(cls=LazyGroup, examples=_EXAMPLES)
@common_options()
def command() -> None:
    """Refuse a task by name, and allow it again."""


_task_argument = click.argument("task", metavar="TASK", type=Name("task name"))


@command.command(
    examples=(
        ("taskq task strike newsletter", "in all queues there are"),
        ("taskq task strike newsletter -q mail", "in one queue"),
        ("taskq task strike newsletter --stop", "stop what runs of it, too"),
    ),
    notes="At once and on all workers: enqueue fails with TaskStruck, jobs that wait stay where they are and"
    " do not start. What runs goes on, unless you say --stop: then it is cancelled.",
)
@_task_argument
@queue_option
@click.option("--stop", is_flag=True, help="Cancel the running jobs of the task, too.")
@common_options()
@click.pass_obj
def strike(session: Session, task: str, queue: str | None, stop: bool) -> None:
    """Start no more jobs of a task, and refuse new ones."""

    async def work(store: Store) -> int:
        inspector = Inspector(store, session.settings.namespace)
        stopped = 0
        for place in await _places(inspector, queue):
            keys = keys_of(session, place)
            await check_rights(store, keys, "limit", *(["cancel"] if stop else []))
            await write_limits(store, keys, commands.pausing("task", task), strike=f"+{task}")
            if stop:
                stopped += await _stop(session, store, inspector, place, task)
        return stopped

    stopped = session.run(work)
    where = f"queue {queue}" if queue else "all queues"
    note(f"task {task} is struck in {where}: `taskq task unstrike {task}` allows it again")
    if stop:
        note(f"{stopped} running jobs were asked to stop")


async def _stop(session: Session, store: Store, inspector: Inspector, place: str, task: str) -> int:
    keys = keys_of(session, place)
    keep_ms = round(session.settings.result_ttl * 1000)
    stopped = 0
    for entry in await inspector.jobs(place, "running", 0, MOST):
        if entry.info.task == task:
            try:
                await store.run(commands.cancel(keys, entry.info.id, keep_ms=keep_ms), tries=3)
            except (JobNotFound, WrongState):
                continue  # it has ended by itself
            stopped += 1
    return stopped


@command.command(
    examples=(
        ("taskq task unstrike newsletter", "in all queues"),
        ("taskq task unstrike newsletter -q mail", "in one queue"),
        ("taskq task unstrike newsletter --namespace staging", "in another namespace"),
    ),
    notes="Also ends a pause of the task.",
)
@_task_argument
@queue_option
@common_options()
@click.pass_obj
def unstrike(session: Session, task: str, queue: str | None) -> None:
    """Let a struck task be enqueued and run again."""

    async def work(store: Store) -> int:
        changed = 0
        for place in await _places(Inspector(store, session.settings.namespace), queue):
            keys = keys_of(session, place)
            await check_rights(store, keys, "limit")
            changed += await write_limits(
                store, keys, commands.resuming("task", task), strike=f"-{task}"
            )
        return changed

    was = session.run(work)
    note(f"task {task} may run again" if was else f"task {task} was not struck")


async def _places(inspector: Inspector, queue: str | None) -> list[str]:
    return await places_of(inspector, [queue] if queue else await inspector.queue_names())
