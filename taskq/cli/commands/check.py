"""`taskq check`: does the app import, and which tasks does it have? For people and for CI."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

import click

from taskq.cli.command import Command
from taskq.cli.load_app import load_app
from taskq.cli.options import app_argument, json_option
from taskq.cli.screen import print_json, say, table
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options

if TYPE_CHECKING:
    from taskq.task import Task

_EXAMPLES = (
    ("taskq check shop.tasks:app", "list its tasks, or say why it cannot be imported"),
    ("taskq check shop.tasks", "when the module has one app"),
    ("taskq check shop.tasks:app --json", "for programs"),
)
_NOTES = """
Connects to nothing. Exit code 2: it cannot be imported or is no app; 78: a task, queue or setting
is wrong.

--json prints {app, tasks [{name, executor, queue, signature, function, defaults {...}}], queues
[{queue, ...}]}.
"""


@click.command(cls=Command, examples=_EXAMPLES, notes=_NOTES)
@app_argument
@json_option
@common_options()
@click.pass_obj
def command(session: Session, app: str, as_json: bool) -> None:
    """Import APP (module:attr) and list its tasks."""
    loaded = load_app(app)
    loaded.configure(loaded.settings.replace(**session.given))
    tasks = [_task(task) for _, task in sorted(loaded.tasks.items())]
    queues = [
        {"queue": name, "partitions": settings.partitions, **settings.meta()}
        for name, settings in sorted(loaded.queues.items())
    ]
    if as_json:
        print_json({"app": app, "tasks": tasks, "queues": queues})
        return
    if not tasks:
        say("the app has no tasks: decorate functions with @app.task")
        return
    rows = [
        [
            task["name"] + task["signature"],
            task["executor"],
            task["queue"],
            " ".join(f"{name}={value}" for name, value in task["defaults"].items()) or "-",
        ]
        for task in tasks
    ]
    table(("task", "executor", "queue", "defaults"), rows)
    say()
    say(f"{len(tasks)} tasks; {app} is fine")


def _task(task: Task[Any, Any]) -> dict[str, Any]:
    options = task.defaults
    defaults = {
        field.name: _plain(getattr(options, field.name))
        for field in dataclasses.fields(options)
        if field.name != "queue" and getattr(options, field.name) is not None
    }
    parameters = inspect.signature(task.fn)
    kept = [p for name, p in parameters.parameters.items() if name != task.context_name]
    return {
        "name": task.name,
        "executor": task.executor,
        "queue": options.queue or "default",
        "signature": str(parameters.replace(parameters=kept)),
        "function": f"{task.fn.__module__}.{task.fn.__qualname__}",
        "defaults": defaults,
    }


def _plain(value: object) -> Any:
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value)
