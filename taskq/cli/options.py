"""Options and arguments that several commands share."""

from __future__ import annotations

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
