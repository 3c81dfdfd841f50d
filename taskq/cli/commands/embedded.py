"""`taskq embedded ...`: the private server that is used when no Redis is configured."""

from __future__ import annotations

import click

from taskq.cli import exits
from taskq.cli.command import LazyGroup
from taskq.cli.options import json_option
from taskq.cli.screen import note, print_json, say
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options

_EXAMPLES = (
    ("taskq embedded status", "does it run, and where?"),
    ("taskq embedded stop", "end it; its data stays"),
    ('redis-cli -s "$(taskq embedded url | sed s,unix://,,)"', "look inside"),
)


@click.group(cls=LazyGroup, examples=_EXAMPLES)
@common_options()
def command() -> None:
    """The private server that is used when no Redis is configured. It stays up until it is
    stopped.
    """


@command.command(
    examples=(
        ("taskq embedded status", "for people; exit code 3 when none runs"),
        ("taskq embedded status --json", "for programs"),
        ("taskq embedded status --embedded-dir ./state", "the one of another folder"),
    ),
    notes="--json prints {running, url, pid, version, directory}; all but running are null when none runs.",
)
@json_option
@common_options()
@click.pass_obj
def status(session: Session, as_json: bool) -> int:
    """Does it run, and where? Starts nothing."""
    from taskq import embedded

    found = embedded.status(session.settings.embedded_dir)
    if as_json:
        print_json(
            {
                "running": found is not None,
                "url": found and found.url,
                "pid": found and found.pid,
                "version": found and found.version,
                "directory": str(found.directory) if found else None,
            }
        )
    elif found is None:
        note(
            "no embedded server runs; `taskq dev` or any command starts one when no Redis is configured"
        )
    else:
        say(f"version {found.version}, pid {found.pid}")
        say(f"url     {found.url}")
        say(f"data    {found.directory}")
    return exits.OK if found is not None else exits.NOT_FOUND


@command.command(
    examples=(
        ("taskq embedded stop", "its data stays"),
        ("taskq embedded stop --embedded-dir ./state", "the one of another folder"),
        ("taskq embedded stop -v", "with the traceback, should it fail"),
    )
)
@common_options()
@click.pass_obj
def stop(session: Session) -> int:
    """End it. Its data stays; the next command that needs it starts it again."""
    from taskq import embedded

    if embedded.stop(session.settings.embedded_dir):
        note("the embedded server has ended; its data stays")
    else:
        note("no embedded server runs")
    return exits.OK


@command.command(
    examples=(
        ("taskq embedded url", "print its URL; exit code 3 when none runs"),
        ("TASKQ_REDIS_URL=$(taskq embedded url) python producer.py", "for another program"),
        ("taskq embedded url --embedded-dir ./state", "the one of another folder"),
    )
)
@common_options()
@click.pass_obj
def url(session: Session) -> int:
    """Print its URL. Starts nothing."""
    from taskq import embedded

    found = embedded.status(session.settings.embedded_dir)
    if found is None:
        note("no embedded server runs")
        return exits.NOT_FOUND
    click.echo(found.url)
    return exits.OK
