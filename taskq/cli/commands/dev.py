"""`taskq dev`: everything an app needs while it is written."""

from __future__ import annotations

import click

from taskq.cli.command import Command
from taskq.cli.commands.worker import supervise
from taskq.cli.load_app import load_app
from taskq.cli.options import app_argument
from taskq.cli.screen import note
from taskq.cli.session import Session
from taskq.cli.setting_options import WORKER, common_options, setting_options

_EXAMPLES = (
    ("taskq dev shop.tasks:app", "server, worker and reload"),
    ("taskq dev shop.tasks", "the same, when the module has one app"),
    ("taskq dev shop.tasks:app -c 1", "one job at a time"),
)
_NOTES = """
Uses the Redis that is configured, else one on 127.0.0.1:6379, else the embedded server, which stays
up (`taskq embedded stop` ends it). Reloading needs watchfiles: pip install 'taskq-redis[reload]'.
"""


@click.command(cls=Command, examples=_EXAMPLES, notes=_NOTES)
@app_argument
@setting_options(WORKER, shown=("concurrency", "process_slots", "drain"))
@common_options()
@click.pass_obj
def command(session: Session, app: str) -> int:
    """Run APP (module:attr) with a server, one worker, and a restart whenever a .py file
    changes.
    """
    from taskq.worker.reload import can_reload

    session.set_up_logs()
    loaded = load_app(app)
    if "queues" not in session.given and loaded.settings.queues == ("default",):
        used = sorted({task.defaults.queue or "default" for task in loaded.tasks.values()})
        session.given["queues"] = tuple(used or ["default"])
    session.adopt(loaded)
    reload = can_reload()
    tasks = ", ".join(sorted(loaded.tasks)[:8]) or "none yet"
    for line in (
        f"taskq dev: {app}",
        f"  Redis   {session.address.masked}",
        f"  queues  {', '.join(session.settings.queues)}",
        f"  tasks   {tasks}",
        "  reload  when a .py file here changes"
        if reload
        else "  reload  off: pip install 'taskq-redis[reload]'",
        "  try     taskq status",
        f"          taskq enqueue {app.partition(':')[0]}:TASK ARGUMENTS --wait",
        "  stop    Ctrl+C",
    ):
        note(line)
    return supervise(session, app, ["--loop", "auto"], count=1, reload=reload)
