"""`taskq workers`: the roster."""

from __future__ import annotations

import click

from taskq.cli import shapes
from taskq.cli.command import Command
from taskq.cli.options import json_option
from taskq.cli.screen import Cell, print_json, say, size, span, table
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.partition import shown_places

_EXAMPLES = (
    ("taskq workers", "who works, and how hard"),
    ("taskq workers --json", "the same for programs, with the tasks each knows"),
    ("taskq workers --namespace staging", "of another namespace"),
)
_NOTES = """
A worker tells about itself every few seconds; HEALTH is its own word: ok, or busy and how fit it
is (1 is ok) while it is short of memory or its event loop is late; silent when no queue has its
heartbeat. One that crashed is gone from the list after about 20 s.

--json prints a list of {worker, host, pid, queues, tasks, provides, running, concurrency, slots,
taken, process_slots, done, failed, cpu, rss, loop_lag_seconds, beat_age_seconds, started_at, python, alive, health}.
"""


@click.command(cls=Command, examples=_EXAMPLES, notes=_NOTES)
@json_option
@common_options()
@click.pass_obj
def command(session: Session, as_json: bool) -> None:
    """The workers: where they run, what they serve, how busy and how healthy they are."""
    views = session.look(lambda inspector: inspector.workers())
    if as_json:
        print_json([shapes.worker(view) for view in views])
        return
    if not views:
        say("no workers: `taskq worker APP` starts one")
        return
    titles = (
        "worker", "host", ">pid", "queues", "provides", ">running", ">cpu", ">rss", ">done", ">failed", ">beat", "health",
    )  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            view.id,
            view.host,
            str(view.pid),
            shown_places(view.queues),
            " ".join(sorted(view.provides)),
            f"{view.running}/{view.concurrency}",
            f"{view.cpu:.0f}%",
            size(view.rss),
            str(view.done),
            str(view.failed),
            f"{span(view.beat_age)} ago",
            view.health if view.health == "ok" else Cell(view.health, "red"),
        ]
        for view in views
    ]
    table(titles, rows)
