"""`taskq queue ...`: the group. What looks is in queue_look.py, what changes something in queue_act.py,
queue_drain.py and queue_set.py."""

from __future__ import annotations

import click

from taskq.cli.command import LazyGroup
from taskq.cli.commands import queue_act, queue_drain, queue_look, queue_set
from taskq.cli.setting_options import common_options

_EXAMPLES = (
    ("taskq queue ls", "all queues"),
    ("taskq queue peek mail -n 5", "what runs next, and why in this order"),
    ("taskq queue pause mail", "claim nothing from it until resume"),
)


@click.group(cls=LazyGroup, examples=_EXAMPLES)
@common_options()
def command() -> None:
    """Look at queues; pause, set up, empty them."""


for _one in (queue_look.ls, queue_look.show, queue_look.peek, queue_look.signals):
    command.add_command(_one)
for _one in (
    queue_act.pause,
    queue_act.resume,
    queue_act.purge,
    queue_set.set_,
    queue_drain.drain,
    queue_drain.open_,
):
    command.add_command(_one)
