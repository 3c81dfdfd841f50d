"""`taskq`: the root of the command line. Imports only what `taskq --help` needs; commands come when
called.
"""

from __future__ import annotations

import click

import taskq
from taskq.cli.command import Root
from taskq.cli.setting_options import common_options

_HOME = "taskq.cli.commands."
_COMMANDS = {
    "worker": (_HOME + "worker", "Run an app's tasks."),
    "dev": (_HOME + "dev", "Run an app with everything it needs, and reload it when it changes."),
    "demo": (_HOME + "demo", "See real work flow through a real server, in under a minute."),
    "enqueue": (_HOME + "enqueue", "Ask for a task to be run."),
    "status": (_HOME + "status", "One screen: queues, workers, and jobs that nobody can run."),
    "queue": (_HOME + "queue", "Look at queues; pause, set up, empty them."),
    "job": (_HOME + "job", "Look at jobs; retry, cancel, remove, explain them."),
    "cron": (_HOME + "cron", "Look at schedules; add, pause, trigger and remove them."),
    "task": (_HOME + "task", "Refuse a task on all workers, and allow it again."),
    "limit": (_HOME + "limit", "Look at limits, set and remove them."),
    "workers": (_HOME + "workers", "The workers that are alive."),
    "check": (_HOME + "check", "Import an app and list its tasks."),
    "doctor": (_HOME + "doctor", "Find out what is wrong with the server or the queues."),
    "embedded": (_HOME + "embedded", "The private server that is used when none is configured."),
}
_EXAMPLES = (
    ("taskq demo", "see it work"),
    ("taskq dev shop.tasks:app", "develop: server, worker and reload in one"),
    ("taskq enqueue resize '\"cat.png\"' --wait", "run one job and print its result"),
    ("taskq status", "how is it going?"),
    ("taskq doctor", "what is wrong?"),
)
_NOTES = """
APP is module:attr, as in shop.tasks:app; :attr may be left out when the module has one app.

Settings can be options, TASKQ_* variables, or keys of taskq.toml; in this order.

Exit codes:
  0 ok             1 failed               2 wrong usage
  3 not found      4 refused              5 timeout
  69 no Redis      70 internal error      78 bad configuration
"""


@click.group(
    name="taskq",
    cls=Root,
    lazy=_COMMANDS,
    examples=_EXAMPLES,
    notes=_NOTES,
    context_settings={"max_content_width": 100},
)
@click.version_option(taskq.__version__, prog_name="taskq", message="%(prog)s %(version)s")
@common_options(all_shown=True)
def main() -> None:
    """A Redis-backed job queue: priorities, deadlines, and no job lost."""
