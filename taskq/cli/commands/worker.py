"""`taskq worker`: run an app's tasks, in this process or in several under a supervisor."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taskq.cli.command import Command
from taskq.cli.kinds import Name, Place
from taskq.cli.load_app import load_app
from taskq.cli.options import app_argument
from taskq.cli.session import Session
from taskq.cli.setting_options import COMMON, WORKER, common_options, setting_options
from taskq.setting import BY_NAME

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.settings import Settings

LOOPS = ("auto", "asyncio", "uvloop")
_EXAMPLES = (
    ("taskq worker shop.tasks:app", "serve the queue `default`"),
    ("taskq worker shop.tasks -q mail -q reports -c 20", "two queues, twenty jobs at a time"),
    ("taskq worker shop.tasks:app -p 4", "four processes, restarted when they die"),
    ("taskq worker shop.tasks:app --provides gpu,region=eu", "also jobs that require these"),
    ("taskq worker shop.tasks:app --burst", "end when nothing is ready any more"),
    ("taskq worker shop.tasks:app --reload", "start again when a .py file changes"),
)
_NOTES = """
Ctrl+C or SIGTERM drains: running jobs may end, at most --drain seconds; the rest is given back
without a penalty, exit code 0. A second one stops at once.

With several processes, one that dies is started again after a pause that grows to 30 s; when the
parent dies its children drain and end.
"""


def _queues(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    names = [name.strip() for word in value for name in word.split(",")]
    checked = [Place().convert(name, param, ctx) for name in names]
    twice = sorted({name for name in checked if checked.count(name) > 1})
    if twice:
        raise click.BadParameter(f"queue {twice[0]!r} is given twice", ctx=ctx, param=param)
    if checked:
        ctx.find_root().ensure_object(Session).given["queues"] = tuple(checked)
    return tuple(checked)


@click.command(cls=Command, examples=_EXAMPLES, notes=_NOTES)
@app_argument
@click.option(
    "-q",
    "--queue",
    "queues",
    multiple=True,
    callback=_queues,
    metavar="NAME",
    help="A queue to serve; may be repeated.  [default: default]",
)
@click.option("--burst", is_flag=True, help="End when nothing is ready any more.")
@click.option("--reload", is_flag=True, help="Restart when a .py file below this folder changes.")
@click.option(
    "--name",
    type=Name("worker name"),
    help="First part of the worker's id.  [default: host and pid]",
)
@click.option(
    "--loop",
    type=click.Choice(LOOPS),
    default="auto",
    show_default=True,
    help="The event loop; auto is uvloop where installed.",
)
@setting_options(WORKER)
@common_options()
@click.pass_obj
def command(
    session: Session,
    app: str,
    queues: tuple[str, ...],
    burst: bool,
    reload: bool,
    name: str | None,
    loop: str,
) -> int:
    """Run the tasks of APP (module:attr) from some queues until told to stop."""
    from taskq.worker.supervisor import child_mark

    mark = child_mark()
    if mark is not None:
        _adopt_mark(session, mark)
    session.set_up_logs()
    extra = _extra_words(burst, name, loop)
    if reload and mark is None:
        return supervise(session, app, extra, count=session.settings.processes, reload=True)
    loaded = load_app(app)
    session.adopt(loaded)
    several = session.settings.processes > 1 or recycles(session.settings)
    if several and mark is None:
        return supervise(session, app, extra, count=session.settings.processes, burst=burst)
    return _run(session, loaded, burst, name, loop, mark)


def _run(
    session: Session,
    app: TaskQ,
    burst: bool,
    name: str | None,
    loop: str,
    mark: dict[str, object] | None,
) -> int:
    from taskq.cli.run_worker import log, run_worker

    settings = session.settings
    log.info(
        "%s: %d tasks, queues %s, %d jobs at a time, Redis at %s",
        app_name(app),
        len(app.tasks),
        ", ".join(settings.queues),
        settings.concurrency,
        session.address.masked,
    )
    from taskq.worker.obituary import Obituary

    mark = mark or {}
    pipe, tell = mark.get("pipe"), mark.get("tell")
    return run_worker(
        app,
        queues=settings.queues,
        name=name,
        burst=burst,
        loop=loop,
        parent_pipe=pipe if isinstance(pipe, int) else None,
        life_pipe=tell if isinstance(tell, int) else None,
        obituary=Obituary.from_mark(mark.get("obituary")),
    )


def recycles(settings: Settings) -> bool:
    """Does a worker process make room for a new one some day? Then somebody must start that."""
    return bool(settings.recycle_jobs or settings.recycle_rss)


def app_name(app: TaskQ) -> str:
    """For messages: the module of its tasks."""
    return next((task.fn.__module__ for task in app.tasks.values()), "app")


def _adopt_mark(session: Session, mark: dict[str, object]) -> None:
    if "redis_url" in mark:
        session.given["redis_url"] = mark["redis_url"]
    session.quiet = mark.get("number") != 1


def _extra_words(burst: bool, name: str | None, loop: str) -> list[str]:
    words = ["--loop", loop]
    if burst:
        words.append("--burst")
    if name is not None:
        words += ["--name", name]
    return words


def supervise(
    session: Session,
    app: str,
    extra: list[str],
    *,
    count: int,
    burst: bool = False,
    reload: bool = False,
) -> int:
    """Run `count` child processes of this command. The URL travels in the environment: it may hold
    a password.
    """
    from taskq.worker.reload import check_reload
    from taskq.worker.supervisor import Supervisor

    if reload:
        check_reload()
    words = [sys.executable, "-m", "taskq", "worker", app, *extra]
    for queue in session.settings.queues if "queues" in session.given else ():
        words += ["-q", queue]
    for name in (*COMMON, *WORKER):
        if name in session.given and name not in ("redis_url", "processes"):
            words += [BY_NAME[name].option, str(session.given[name])]
    words += ["--processes", "1", *["-v"] * session.verbose]
    url = session.settings.redis_url
    secrets = (
        {"redis_url": url}
        if url is not None and ("redis_url" in session.given or not reload)
        else {}
    )

    async def main() -> int:
        supervisor = Supervisor(
            words,
            count=count,
            drain=session.settings.drain,
            burst=burst,
            reload=Path(os.getcwd()) if reload else None,
            secrets=secrets,
        )
        return await supervisor.run()

    return asyncio.run(main())
