"""`taskq status`: one screen about queues, workers, and jobs that nobody alive can run."""

from __future__ import annotations

import click

from taskq.cli import shapes
from taskq.cli.command import Command
from taskq.cli.options import json_option
from taskq.cli.screen import Cell, print_json, say, span, table
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.inspect import Inspector
from taskq.partitioned import Whole, left_apart, wholes
from taskq.served import advice, unserved
from taskq.views import QueueView, WorkerView

_EXAMPLES = (
    ("taskq status", "queues, workers and problems"),
    ("taskq status --json", "the same for programs"),
    ("taskq status --redis-url redis://db:6379", "of another Redis"),
    ("taskq status --namespace staging", "of another namespace"),
)
#: Limits shown of one queue, those that block most.
SHOWN = 10
_NOTES = """
--json prints redis {url, source}, queues [...], workers [...] and unserved [{queue, class, jobs,
missing, advice}] and held_back [{queue, limits, parked, paused_parts, struck, next_ticks}]; queues are as in `taskq queue ls --json`, workers as in `taskq workers --json`.
"""


@click.command(cls=Command, examples=_EXAMPLES, notes=_NOTES)
@json_option
@common_options()
@click.pass_obj
def command(session: Session, as_json: bool) -> None:
    """One screen: where Redis is, what is in the queues, who works, and jobs that nobody alive can
    run.
    """

    async def look(inspector: Inspector) -> tuple[list[QueueView], list[WorkerView]]:
        return await inspector.queues(), await inspector.workers()

    queues, workers = session.look(look)
    problems = unserved(queues, workers)
    if as_json:
        print_json(
            {
                "redis": {"url": session.address.masked, "source": session.found.source},
                "queues": [shapes.queue(whole, workers) for whole in wholes(queues)],
                "workers": [shapes.worker(view) for view in workers],
                "held_back": [
                    {"queue": whole.view.name, **shapes.held_back(whole.view)}
                    for whole in wholes(queues)
                ],
                "unserved": [shapes.unserved(found, advice(found)) for found in problems],
            }
        )
        return
    say(
        f"Redis at {session.address.masked} ({session.found.source}), namespace {session.settings.namespace}"
    )
    say()
    show_queues(wholes(queues), workers)
    alive = [worker for worker in workers if worker.alive]
    running = sum(worker.running for worker in alive)
    slots = sum(worker.concurrency for worker in alive)
    say()
    say(f"{len(alive)} workers alive, {running} of {slots} slots in use")
    for found in problems:
        what = f"{found.jobs} ready jobs of queue {found.queue} cannot run: {advice(found)}"
        say(what, "red")
    for whole in wholes(queues):
        show_held_back(whole.view, whole.view.name)
    for apart in left_apart(queues, workers):
        say(f"{apart.jobs} jobs are in partition {apart.partition}, which nobody serves", "red")


def show_held_back(view: QueueView, named: str = "") -> None:
    """What people and limits hold back in a queue. `named`: say which queue."""
    where = f" of queue {named}" if named else ""
    for kind, name in view.paused_parts():
        say(f"paused   {kind} {name}{where}", "yellow")
    for task in view.struck:
        what = "closed   to new jobs" if task == "*" else f"struck   task {task}"
        say(f"{what}{where}", "yellow")
    blocking = {name: n for name, n in view.parked.items() if not name.startswith("pause:")}
    for limit, jobs in sorted(blocking.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN]:
        say(f"limit    {limit}: blocks {jobs} jobs{where}", "yellow")
    if len(blocking) > SHOWN:
        say(f"limit    and {len(blocking) - SHOWN} more{where}", "yellow")
    for name, when in sorted(view.ticks.items(), key=lambda tick: (tick[1], tick[0]))[:SHOWN]:
        left = when.timestamp() - view.now_ms / 1000
        say(f"schedule {name}{where}: {f'next in {span(left)}' if left > 0 else 'due now'}")


def show_queues(queues: list[Whole], workers: list[WorkerView]) -> None:
    """The table of queues; the partitions of one are added up."""
    if not queues:
        say("no queues yet: `taskq enqueue` or a worker makes one")
        return
    titles = (
        "queue", ">ready", ">blocked", ">scheduled", ">retry", ">running", ">dead", ">done",
        ">next waits", ">next due", ">workers", "state",
    )  # fmt: skip
    rows: list[list[str | Cell]] = []
    for whole in queues:
        view, count = whole.view, len(whole.parts)
        jobs = view.jobs
        state: str | Cell = "open"
        if whole.paused:
            some = "" if whole.paused == count else f"{whole.paused} of {count} "
            state = Cell(f"{some}paused", "yellow")
        dead = str(jobs["dead"])
        rows.append(
            [
                view.name if count == 1 else f"{view.name} ({count} partitions)",
                str(jobs["ready"]),
                str(jobs.get("blocked", 0)),
                str(jobs["scheduled"]),
                str(jobs["retry"]),
                str(jobs["running"]),
                Cell(dead, "red") if jobs["dead"] else dead,
                str(jobs["done"]),
                span(view.head_waits),
                span(view.due_in),
                str(whole.workers(workers)),
                state,
            ]
        )
    table(titles, rows)
