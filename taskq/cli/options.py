"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from taskq.cli.kinds import Name, Place

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
queue_option = click.option(
    "-q",
    "--queue",
    type=Place(),
    help="The queue; all queues are asked when it is not given.",
)
app_argument = click.argument("app", metavar="APP")
queue_argument = click.argument("queue", type=Place())
ids_argument = click.argument("ids", metavar="ID...", nargs=-1, required=True, type=Name("job id"))


def limit_option(default: int, most: int) -> Callable[[Any], Any]:
    """-n of the commands that list jobs."""
    return click.option(
        "-n",
        "--limit",
        type=click.IntRange(1, most),
        default=default,
        show_default=True,
        help="Jobs to show.",
    )
