"""`taskq job ...`: look at jobs; retry, cancel, remove, explain them."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence

import click

from taskq import commands
from taskq.cli import exits, shapes
from taskq.cli.command import LazyGroup
from taskq.cli.options import ids_argument, json_option, limit_option, queue_option
from taskq.cli.screen import Cell, ago, note, print_json, say, say_block, span, table
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.codec import Codec
from taskq.errors import JobNotFound, TaskqError, WrongState
from taskq.inspect import LISTABLE, Inspector
from taskq.keys import QueueKeys, check_name
from taskq.partitioned import find_job, jobs_of, partitions_of
from taskq.rights import check_rights
from taskq.store import Store
from taskq.views import Entry, Explanation

#: What is done to one job; the words say how it went.
Action = Callable[[Store, QueueKeys, str], Awaitable[str]]

#: Characters of arguments and results shown; --json shows all.
SHOWN = 2000
_COLOURS = {
    "dead": "red",
    "expired": "yellow",
    "retry": "yellow",
    "blocked": "yellow",
    "running": "cyan",
    "completed": "green",
}
_DEFAULT_STATES = ("running", "ready", "blocked", "retry", "scheduled", "dead")

_EXAMPLES = (
    ("taskq job ls --state dead", "what was given up, newest first"),
    ("taskq job show 06f2k9t1m8000cj3v5q7xyz1", "all about one job"),
    ("taskq job explain 06f2k9t1m8000cj3v5q7xyz1", "why is it not running?"),
)
_ID = "06f2k9t1m8000cj3v5q7xyz1"


@click.group(cls=LazyGroup, examples=_EXAMPLES)
@common_options()
def command() -> None:
    """Look at jobs; retry, cancel, remove, explain them."""


@command.command(
    examples=(
        ("taskq job ls", "jobs that are not over, and dead ones"),
        ("taskq job ls --state dead --queue mail --limit 100", "the dead of one queue"),
        ("taskq job ls --state completed --json", "what went well, for programs"),
    ),
    notes="--json prints a list of {id, queue, task, state, priority, attempt, crashes, deadline_at, enqueued_at,"
    " started_at, ended_at, worker, reason, error, progress, note, cancel_requested, class, group, blocked_by,"
    " due_at}.",
)
@click.option(
    "-s",
    "--state",
    type=click.Choice(LISTABLE),
    help="Only jobs of this state; done is all that ended but dead.",
)
@queue_option
@limit_option(50, 10_000)
@click.option(
    "--start",
    type=click.IntRange(0),
    default=0,
    help="Jobs to pass over in each queue and state, to page on.",
)
@json_option
@common_options()
@click.pass_obj
def ls(
    session: Session, state: str | None, queue: str | None, limit: int, start: int, as_json: bool
) -> None:
    """Jobs by state: what runs next first, what ended last first."""

    async def look(inspector: Inspector) -> list[Entry]:
        names = [queue] if queue else await inspector.queue_names()
        found: list[Entry] = []
        for wanted in [state] if state else _DEFAULT_STATES:
            for name in names:
                if len(found) < limit:
                    more = limit - len(found)
                    if queue:
                        found += await jobs_of(inspector, queue, wanted, start, more)
                    else:
                        found += await inspector.jobs(name, wanted, start, more)
        return found

    entries = session.look(look)
    if as_json:
        print_json([shapes.listed_job(entry) for entry in entries])
        return
    if not entries:
        say("no such jobs")
        return
    table(
        ("id", "queue", "task", "state", ">pri", ">attempt", "when", "about"),
        [_row(entry) for entry in entries],
    )
    if len(entries) == limit:
        note(f"the first {limit}; --limit and --start show more")


def _row(entry: Entry) -> list[str | Cell]:
    info = entry.info
    if info.state in ("scheduled", "retry"):
        left = (entry.score / 1000) - time.time()
        when = f"due in {span(left)}" if left > 0 else "due now"
    elif info.state == "running":
        when = f"started {ago(info.started_at)}"
    elif info.state.ended:
        when = f"ended {ago(info.ended_at)}"
    else:
        when = f"enqueued {ago(info.enqueued_at)}"
    about = (
        info.error
        or info.reason
        or info.note
        or (info.worker if info.state == "running" else "")
        or ""
    )
    if info.state == "blocked":
        about = f"waits for limit {info.fields.get('blocked_by', b'?').decode('utf-8', 'replace')}"
    if info.job_class:
        about = f"[{info.job_class}] {about}".rstrip()
    return [
        info.id,
        info.queue,
        info.task,
        Cell(str(info.state), _COLOURS[info.state]) if info.state in _COLOURS else str(info.state),
        str(info.priority),
        str(info.attempt),
        when,
        about if len(about) <= 100 else about[:97] + "...",
    ]


@command.command(
    examples=(
        (f"taskq job show {_ID}", "fields, arguments, error and traceback"),
        (f"taskq job show {_ID} --queue mail", "without asking all queues"),
        (f"taskq job show {_ID} --json", "all of it, for programs"),
    ),
    notes="--json prints what ls prints and {args, kwargs, payload_bytes, payload_problem, result, traceback,"
    " token, headers}. Dataclasses of an app cannot be decoded here; payload_problem says so.",
)
@click.argument("job_id", metavar="ID")
@queue_option
@json_option
@common_options()
@click.pass_obj
def show(session: Session, job_id: str, queue: str | None, as_json: bool) -> None:
    """Everything about one job."""
    info = session.look(lambda inspector: find_job(inspector, _checked(job_id), queue))
    codec = Codec()
    if as_json:
        print_json(shapes.job_details(info, codec))
        return
    shape = shapes.job_details(info, codec)
    for name, value in shape.items():
        if name not in (
            "args",
            "kwargs",
            "result",
            "traceback",
            "payload_problem",
            "headers",
        ) and value not in (None, False):
            say(f"{name:<14} {value}")
    if shape["payload_problem"]:
        say(f"{'arguments':<14} cannot be decoded: {shape['payload_problem']}")
    else:
        words = [_short(arg) for arg in shape["args"]]
        words += [f"{name}={_short(value)}" for name, value in shape["kwargs"].items()]
        say(f"{'arguments':<14} {_cut(', '.join(words)) or 'none'}")
    if shape["result"] is not None:
        say(f"{'result':<14} {_cut(_short(shape['result']))}")
    for name, value in shape["headers"].items():
        say(f"{'header':<14} {name}: {value}")
    if info.traceback:
        say("traceback")
        say_block(info.traceback)


def _checked(job_id: str) -> str:
    return check_name(job_id, "job id")


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    return (
        text
        if len(text) <= SHOWN
        else f"{text[:SHOWN]}... ({len(text):,} characters; --json shows all)"
    )


@command.command(
    examples=(
        (f"taskq job explain {_ID}", "in words"),
        (f"taskq job explain {_ID} --json", "for programs"),
        (f"taskq job explain {_ID} --queue mail", "without asking all queues"),
    ),
    notes="--json prints {id, queue, task, state, reason, reasons [...], remedies [...], predicted_start_at,"
    " explained [{code, sentence, details, remedies}]}, the most important reason first. The codes and their"
    " details are in docs/explain.md.",
)
@click.argument("job_id", metavar="ID")
@queue_option
@json_option
@common_options()
@click.pass_obj
def explain(session: Session, job_id: str, queue: str | None, as_json: bool) -> None:
    """Why a job is where it is: paused, due later, behind others, nobody to run it ..."""

    async def look(inspector: Inspector) -> Explanation:
        job = await find_job(inspector, _checked(job_id), queue)
        return await inspector.explain(job.id, job.queue)

    found = session.look(look)
    if as_json:
        print_json(shapes.explanation(found))
        return
    for line in str(found).splitlines():
        say(line)


@command.command(
    examples=(
        (f"taskq job retry {_ID}", "bring a dead job back"),
        (f"taskq job retry {_ID} --queue mail", "without asking all queues"),
        (f"taskq job retry {_ID} 06f2k9t1m8000cj3v5q7xyz2", "several"),
    ),
    notes="Takes dead, expired and cancelled jobs; they start again with fresh attempts and without deadline.",
)
@ids_argument
@queue_option
@common_options()
@click.pass_obj
def retry(session: Session, ids: Sequence[str], queue: str | None) -> None:
    """Run dead, expired or cancelled jobs again. Prints the ids that are ready."""

    async def one(store: Store, keys: QueueKeys, job_id: str) -> str:
        word = (await store.run(commands.revive(keys, [job_id]), tries=3)).get(job_id, "NOT_FOUND")
        return _done(keys, job_id, word, "READY", "is ready again", "retried")

    _each(session, ids, queue, "revive", one)


@command.command(
    examples=(
        (f"taskq job cancel {_ID}", "stop it, running or not"),
        (f"taskq job cancel {_ID} --queue mail", "without asking all queues"),
        (f"taskq job cancel {_ID} 06f2k9t1m8000cj3v5q7xyz2", "several"),
    ),
    notes="A running job is stopped by its worker, at its next heartbeat.",
)
@ids_argument
@queue_option
@common_options()
@click.pass_obj
def cancel(session: Session, ids: Sequence[str], queue: str | None) -> None:
    """Stop jobs that have not ended. Prints the ids."""
    keep_ms = round(session.settings.result_ttl * 1000)

    async def one(store: Store, keys: QueueKeys, job_id: str) -> str:
        gone = await store.run(commands.cancel(keys, job_id, keep_ms=keep_ms), tries=3)
        return "is cancelled" if gone else "runs: its worker was asked to stop it"

    _each(session, ids, queue, "cancel", one)


@command.command(
    examples=(
        (f"taskq job rm {_ID}", "forget an ended job and its result"),
        (f"taskq job rm {_ID} --queue mail", "without asking all queues"),
        (f"taskq job rm {_ID} 06f2k9t1m8000cj3v5q7xyz2", "several"),
    ),
    notes="Only jobs that have ended can be removed; cancel others first.",
)
@ids_argument
@queue_option
@common_options()
@click.pass_obj
def rm(session: Session, ids: Sequence[str], queue: str | None) -> None:
    """Remove the records of ended jobs. Prints the ids."""

    async def one(store: Store, keys: QueueKeys, job_id: str) -> str:
        word = (await store.run(commands.forget(keys, [job_id]), tries=3)).get(job_id, "NOT_FOUND")
        return _done(keys, job_id, word, "GONE", "is removed", "removed")

    _each(session, ids, queue, "forget", one)


async def _queue_of(inspector: Inspector, job_id: str, queue: str | None) -> str:
    """Where the job is; without a look when only one place can be."""
    places = [] if queue is None else await partitions_of(inspector, queue)
    return places[0] if len(places) == 1 else (await find_job(inspector, job_id, queue)).queue


def _done(keys: QueueKeys, job_id: str, word: str, good: str, words: str, verb: str) -> str:
    if word == good:
        return words
    if word == "NOT_FOUND":
        raise commands.not_found(keys, job_id)
    raise WrongState(f"job {job_id} cannot be {verb}: it is {word}", job_id=job_id, state=word)


def _each(
    session: Session, ids: Sequence[str], queue: str | None, script: str, one: Action
) -> None:
    """Do it to every job, with one script; those that cannot are named on stderr, and the first's
    exit code is the command's.
    """
    problems: list[TaskqError] = []
    allowed: set[str] = set()

    async def work(store: Store) -> None:
        inspector = Inspector(store, session.settings.namespace)
        for job_id in dict.fromkeys(ids):
            try:
                name = await _queue_of(inspector, job_id, queue)
                if name not in allowed:
                    await check_rights(store, inspector.keys(name), script)
                    allowed.add(name)
                words = await one(store, inspector.keys(name), job_id)
            except (JobNotFound, WrongState) as error:
                problems.append(error)
            else:
                say(job_id)
                note(f"job {job_id} {words}")

    session.run(work)
    for error in problems[1:]:
        note(f"taskq: error: {error}")
    if problems:
        raise exits.Stop(str(problems[0]), exits.code_of(problems[0]))
