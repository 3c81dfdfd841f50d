"""`taskq enqueue`: ask for one call of a task, and wait for its result if wanted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from taskq.cli import exits
from taskq.cli.command import Command
from taskq.cli.kinds import Labels, Name, Span, Unique
from taskq.cli.screen import note, span
from taskq.cli.session import Session
from taskq.cli.setting_options import ENQUEUE, common_options, setting_options
from taskq.cli.values import argument, jsonable, keyword_arguments
from taskq.options import MOST_SLOTS

if TYPE_CHECKING:
    from taskq.handle import Job

_EXAMPLES = (
    ("taskq enqueue resize cat.png 640", "by name; a worker that knows it checks the arguments"),
    (
        "taskq enqueue shop.tasks:resize '\"cat.png\"' --kwargs '{\"width\": 640}'",
        "the task itself: arguments checked here",
    ),
    ("taskq enqueue resize cat.png --wait --timeout 10s", "print the result, or end with 5"),
    ("taskq enqueue report '[1, 2]' --queue slow --priority 9 --delay 5m", "options of the job"),
)
_NOTES = """
TASK is a task's name, or module:task to use its code: its signature, queue and other defaults.

Each ARG is JSON: 640, true, null, '"text"', '[1, 2]', '{"a": 1}'. One that is not valid JSON is
sent as text, unless it begins like a list, an object or a string. After -- arguments may begin with
a dash.

Prints the job's id; with --wait its result as JSON, or its error on stderr with exit code 1.
"""


@click.command(cls=Command, examples=_EXAMPLES, notes=_NOTES)
@click.argument("task", metavar="TASK")
@click.argument("args", metavar="[ARG]...", nargs=-1)
@click.option("--kwargs", metavar="JSON", help="Keyword arguments, a JSON object.")
@click.option(
    "-q", "--queue", type=Name("queue"), help="The queue.  [default: the task's, else default]"
)
@click.option(
    "--priority",
    type=click.IntRange(0, 9),
    help="9 is the most urgent.  [default: the task's, else 5]",
)
@click.option("--deadline", type=Span(), help="It must have run so long from now.")
@click.option("--delay", type=Span(), help="It may run so long from now.")
@click.option(
    "--id",
    "job_id",
    type=Name("job id"),
    help="The job's id; the same call twice with one id is one job.",
)
@click.option(
    "--requires",
    type=Labels("requires"),
    multiple=True,
    help="Labels a worker must provide; may be repeated.  [default: the task's]",
)
@click.option(
    "--cost",
    type=click.IntRange(1, MOST_SLOTS),
    help="Slots it takes.  [default: the task's, else 1]",
)
@click.option("--group", help="The group it counts for in a fair queue.")
@click.option("--key", help="With --unique: what it is unique by.  [default: task and arguments]")
@click.option(
    "--unique",
    type=Unique(),
    help="One live job for each key: queued, running, or for so many seconds.",
)
@click.option(
    "--on-duplicate",
    type=click.Choice(("keep", "replace", "extend")),
    help="With --unique: what becomes of a second.  [default: keep]",
)
@click.option(
    "--admit",
    type=click.Choice(("warn", "reject")),
    help="Say, or end with 4, when it would start after its --deadline.",
)
@click.option("--wait", is_flag=True, help="Wait for the result and print it.")
@click.option("--timeout", type=Span(), help="How long to --wait.  [default: for ever]")
@setting_options(ENQUEUE)
@common_options()
@click.pass_obj
def command(
    session: Session,
    task: str,
    args: tuple[str, ...],
    kwargs: str | None,
    queue: str | None,
    priority: int | None,
    deadline: float | None,
    delay: float | None,
    job_id: str | None,
    requires: tuple[str, ...],
    cost: int | None,
    group: str | None,
    key: str | None,
    unique: str | float | None,
    on_duplicate: str | None,
    admit: str | None,
    wait: bool,
    timeout: float | None,
) -> int:
    """Ask for TASK to be run with some arguments. Prints the job's id."""
    if timeout is not None and not wait:
        raise click.UsageError("--timeout is for --wait")
    values = [argument(text) for text in args]
    named = keyword_arguments(kwargs) if kwargs is not None else {}
    words: dict[str, Any] = {
        "queue": queue,
        "priority": priority,
        "deadline": deadline,
        "delay": delay,
        "id": job_id,
        "requires": ",".join(requires).split(",") if requires else None,
        "cost": cost,
        "group": group,
        "key": key,
        "unique": unique,
        "on_duplicate": on_duplicate,
        "admit": admit,
    }
    words = {name: value for name, value in words.items() if value is not None}
    app: Any
    if ":" in task:
        from taskq.cli.load_app import load_task

        app, target = load_task(task)
        session.adopt(app)
    else:
        app = session.app()
        target = app.named(task)
    try:
        job = target.options(**words).enqueue_sync(*values, **named)
        if not wait:
            click.echo(job.id)
            if job.duplicate:
                note(f"job {job.id} was there already")
            if job.predicted_start is not None:
                left = (job.predicted_start - datetime.now(UTC)).total_seconds()
                note(f"job {job.id} should start in about {span(max(0.0, left))}")
            return exits.OK
        return _wait(job, timeout)
    finally:
        app.close_sync()


def _wait(job: Job[Any], timeout: float | None) -> int:
    from taskq.errors import JobFailed

    note(f"job {job.id} in queue {job.queue}")
    try:
        value = job.result_sync(timeout)
    except JobFailed as error:
        if error.traceback:
            note("the task's traceback:")
            say_block_err(error.traceback)
        raise
    click.echo(json.dumps(jsonable(value)))
    return exits.OK


def say_block_err(text: str) -> None:
    """Foreign lines on stderr, escaped."""
    from taskq.observe.escape import lines

    for line in lines(text.rstrip("\n")):
        click.echo("  " + line, err=True)
