"""`taskq cron ...`: look at schedules, add them, pause, trigger and remove them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from taskq.cli import exits, shapes
from taskq.cli.command import LazyGroup
from taskq.cli.kinds import Name, Span
from taskq.cli.options import json_option
from taskq.cli.screen import Cell, note, print_json, say, span, table
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.cli.values import argument, keyword_arguments

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.schedules import ScheduleInfo

_EXAMPLES = (
    ("taskq cron ls", "all schedules, and when they tick next"),
    ("taskq cron pause nightly", "no more ticks until resume, whatever workers start"),
    ("taskq cron trigger nightly", "enqueue its job now"),
)

name_argument = click.argument("name", type=Name("schedule"))
queue_option = click.option(
    "-q",
    "--queue",
    type=Name("queue"),
    help="The schedule's queue; needed when several have one of that name.",
)


@click.group(cls=LazyGroup, examples=_EXAMPLES)
@common_options()
def command() -> None:
    """Look at schedules; add, pause, trigger and remove them."""


@contextmanager
def _app(session: Session) -> Iterator[TaskQ]:
    app = session.app()
    try:
        yield app
    finally:
        app.close_sync()


@command.command(
    examples=(
        ("taskq cron ls", "of all queues"),
        ("taskq cron ls -q reports", "of one queue"),
        ("taskq cron ls --json", "for programs"),
    ),
    notes="NEXT is the time of the next tick, from now, by this machine's clock.\n\n--json prints a list of {schedule, queue,"
    " task, call, cron, tz, every_seconds, missed, overlap, declared, next_at, paused, paused_at, problem}; declared: an"
    " app's code says it, so workers write it anew when they start.",
)
@click.option("-q", "--queue", type=Name("queue"), help="Of this queue only.")
@json_option
@common_options()
@click.pass_obj
def ls(session: Session, queue: str | None, as_json: bool) -> None:
    """All schedules: what they enqueue, and when next."""
    with _app(session) as app:
        found = app.schedules.list_sync(queue)
    if as_json:
        print_json([shapes.schedule(info) for info in found])
        return
    if not found:
        say("no schedules: `@app.cron` in code makes one, or `taskq cron add`")
        return
    rows: list[list[str | Cell]] = [
        [info.name, info.queue, _when(info), info.call or "?", *_next(info)] for info in found
    ]
    table(("name", "queue", "when", "call", "next", "state"), rows)


def _when(info: ScheduleInfo) -> str:
    if info.cron is not None:
        return f"{info.cron} {info.tz}"
    return "?" if info.every is None else f"every {span(info.every)}"


def _next(info: ScheduleInfo) -> tuple[str, str | Cell]:
    from datetime import UTC, datetime

    if info.problem:
        return "-", Cell(info.problem, "red")
    if info.paused_at is not None:
        return "-", Cell("paused", "yellow")
    if info.next_at is None:
        return "never", "-"
    left = (info.next_at - datetime.now(UTC)).total_seconds()
    if left < 0:
        return "now", Cell(f"due for {span(-left)}", "yellow" if left < -2 else "")
    return f"{info.next_at:%Y-%m-%d %H:%M:%SZ}", f"in {span(left)}"


@command.command(
    examples=(
        (
            "taskq cron add nightly report '\"sales\"' --cron '0 2 * * *' --tz Europe/Rome",
            "a task by name, by the clock of Rome",
        ),
        ("taskq cron add beat ping --every 30s", "at :00 and :30 of every minute"),
        (
            "taskq cron add weekly shop.tasks:report --cron '0 9 * * mon' --overlap skip --missed all",
            "the task itself: arguments and queue checked here",
        ),
    ),
    notes="TASK and each ARG as for `taskq enqueue`. An older schedule of that name in the queue is"
    " written over, and stays paused when it is.\n\n--cron takes five fields: minute hour day-of-month month day-of-week;"
    " six have the second first.",
)
@name_argument
@click.argument("task", metavar="TASK")
@click.argument("args", metavar="[ARG]...", nargs=-1)
@click.option("--kwargs", metavar="JSON", help="Keyword arguments, a JSON object.")
@click.option("--cron", "line", metavar="LINE", help="When, as a cron line.")
@click.option("--every", type=Span(), help="Or every so many seconds.")
@click.option(
    "--tz", metavar="ZONE", default="UTC", show_default=True, help="Whose clock --cron means."
)
@click.option(
    "--missed",
    type=click.Choice(("skip", "once", "all")),
    default="once",
    show_default=True,
    help="Which of the ticks that nobody could enqueue in time are enqueued later.",
)
@click.option(
    "--overlap",
    type=click.Choice(("allow", "skip")),
    default="allow",
    show_default=True,
    help="skip: enqueue nothing while its last job has not ended.",
)
@click.option(
    "-q", "--queue", type=Name("queue"), help="The queue.  [default: the task's, else default]"
)
@click.option("--priority", type=click.IntRange(0, 9), help="9 is the most urgent.")
@click.option("--deadline", type=Span(), help="Each job must have run so long after its tick.")
@common_options()
@click.pass_obj
def add(
    session: Session,
    /,
    name: str,
    task: str,
    args: tuple[str, ...],
    kwargs: str | None,
    line: str | None,
    every: float | None,
    tz: str,
    missed: str,
    overlap: str,
    **options: Any,
) -> None:
    """Enqueue a call of TASK by the clock, from now on."""
    if (line is None) == (every is None):
        raise click.UsageError("give either --cron or --every")
    words = {option: value for option, value in options.items() if value is not None}
    target: Any = task
    if ":" in task:
        from taskq.cli.load_app import load_task

        app, target = load_task(task)
        session.adopt(app)
    else:
        app = session.app()
    try:
        info = app.schedules.add_sync(
            name,
            target,
            cron=line,
            tz=tz,
            every=every,
            missed=missed,
            overlap=overlap,
            args=[argument(text) for text in args],
            kwargs=keyword_arguments(kwargs) if kwargs is not None else None,
            **words,
        )
    finally:
        app.close_sync()
    state = _next(info)
    words_of_state = state[1].text if isinstance(state[1], Cell) else state[1]
    note(f"schedule {name} of queue {info.queue}: next {state[0]}, {words_of_state}")


@command.command(
    examples=(
        ("taskq cron rm nightly", "no more ticks; its jobs stay"),
        ("taskq cron rm nightly -q reports", "of one of several queues"),
        ("taskq cron rm nightly --namespace staging", "in another namespace"),
    ),
    notes="A schedule that an app's code says comes back when a worker of that app starts: pause it, or take it out of the"
    " code first.",
)
@name_argument
@queue_option
@common_options()
@click.pass_obj
def rm(session: Session, name: str, queue: str | None) -> None:
    """Remove a schedule. Jobs it has enqueued stay."""
    with _app(session) as app:
        info = _find(app, name, queue)
        app.schedules.remove_sync(name, queue=info.queue)
    note(f"schedule {name} of queue {info.queue} is gone")
    if info.declared:
        note("an app's code says it: a worker of that app writes it anew when it starts")


@command.command(
    examples=(
        ("taskq cron pause nightly", "no more ticks"),
        ("taskq cron resume nightly", "go on with the next one"),
        ("taskq cron pause nightly -q reports", "of one of several queues"),
    ),
    notes="It stays paused when workers start, also with another definition. Ticks of the meantime count as not wanted,"
    " not as missed.",
)
@name_argument
@queue_option
@common_options()
@click.pass_obj
def pause(session: Session, name: str, queue: str | None) -> None:
    """Let a schedule tick no more until resume."""
    with _app(session) as app:
        info = _find(app, name, queue)
        changed = app.schedules.pause_sync(name, queue=info.queue)
    how = "is paused" if changed else "was paused already"
    note(f"schedule {name} of queue {info.queue} {how}: `taskq cron resume {name}` ends it")


@command.command(
    examples=(
        ("taskq cron resume nightly", "go on with the next tick"),
        ("taskq cron resume nightly -q reports", "of one of several queues"),
        ("taskq cron resume nightly --namespace staging", "in another namespace"),
    )
)
@name_argument
@queue_option
@common_options()
@click.pass_obj
def resume(session: Session, name: str, queue: str | None) -> None:
    """Let a paused schedule go on."""
    with _app(session) as app:
        info = _find(app, name, queue)
        changed = app.schedules.resume_sync(name, queue=info.queue)
    note(f"schedule {name} of queue {info.queue} {'goes on' if changed else 'was not paused'}")


@command.command(
    examples=(
        ("taskq cron trigger nightly", "enqueue its job now; prints the id"),
        ("taskq job show $(taskq cron trigger nightly)", "and see what becomes of it"),
        ("taskq cron trigger nightly -q reports", "of one of several queues"),
    ),
    notes="Works while it is paused, and leaves its ticks as they are. Prints the job's id.",
)
@name_argument
@queue_option
@common_options()
@click.pass_obj
def trigger(session: Session, name: str, queue: str | None) -> None:
    """Enqueue the job of a schedule now, beside its ticks."""
    from taskq.partition import partitions_among

    with _app(session) as app:
        info = _find(app, name, queue)
        known = session.look(lambda inspector: inspector.queue_names())
        app.queue(info.queue, partitions=max(1, len(partitions_among(known, info.queue))))
        job = app.schedules.trigger_sync(name, queue=info.queue)
    click.echo(job.id)


def _find(app: TaskQ, name: str, queue: str | None) -> ScheduleInfo:
    """The schedule of that name, in whatever queue it is."""
    if queue is not None:
        return app.schedules.get_sync(name, queue=queue)
    found = [info for info in app.schedules.list_sync() if info.name == name]
    if not found:
        raise exits.Stop(
            f"no schedule {name!r} in any queue: `taskq cron ls` shows those there are",
            exits.NOT_FOUND,
        )
    if len(found) > 1:
        queues = ", ".join(info.queue for info in found)
        raise click.UsageError(f"several queues have a schedule {name!r}: say -q, one of {queues}")
    return found[0]
