"""`taskq demo`: the demo, see taskq.demo."""

from __future__ import annotations

import click

from taskq.cli.command import Command
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options

_EXAMPLES = (
    ("taskq demo", "every file of the standard library, through a queue"),
    ("taskq demo --kill", "and kill a worker on the way: no job is lost"),
    ("taskq demo --limit 100", "a short one"),
)


@click.command(cls=Command, examples=_EXAMPLES)
@click.option("--kill", is_flag=True, help="Kill one of the workers on the way.")
@click.option("--limit", type=click.IntRange(1), help="At most so many files.")
@common_options()
@click.pass_obj
def command(session: Session, kill: bool, limit: int | None) -> int:
    """Measure Python's standard library through a queue of its own: a private server, two workers,
    a producer.

    Leaves nothing behind, and fails unless every figure equals the one computed without a queue.
    """
    from taskq.demo.run import main

    return main(kill=kill, limit=limit)
