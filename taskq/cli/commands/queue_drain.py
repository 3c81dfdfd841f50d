"""`taskq queue drain|open`: let a queue run empty, and let jobs in again."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from taskq.cli import exits
from taskq.cli.command import Command
from taskq.cli.options import queue_argument
from taskq.cli.places import all_keys
from taskq.cli.screen import note
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.draining import run_empty
from taskq.limit_writer import write_limits
from taskq.rights import check_rights
from taskq.steering import ALL
from taskq.store import Store

#: How often it is said how much is left, s.
TELL_EVERY = 5.0


@click.command(
    cls=Command,
    examples=(
        ("taskq queue drain mail", "refuse new jobs, wait until what is there has run"),
        ("taskq queue drain mail --timeout 60", "wait a minute at most: exit code 5"),
        ("taskq queue open mail", "let jobs in again"),
    ),
    notes="New jobs are refused (QueueClosed) until `taskq queue open`. Jobs that are scheduled for later stay"
    " and are not waited for; a paused queue never runs empty.",
)
@queue_argument
@click.option("--timeout", type=click.FloatRange(0), help="Seconds to wait, at most.")
@common_options()
@click.pass_obj
def drain(session: Session, queue: str, timeout: float | None) -> None:
    """Close a queue for new jobs and wait until it has run empty."""

    async def work(store: Store) -> int:
        places = await all_keys(session, store, queue)
        for keys in places:
            await check_rights(store, keys, "limit")
            await write_limits(store, keys, {}, strike=f"+{ALL}")
        note(f"queue {queue} is closed for new jobs: `taskq queue open {queue}` opens it again")
        return await run_empty(store, places, timeout, _teller(queue))

    left = session.run(work)
    if left:
        raise exits.Stop(f"{left} jobs of queue {queue} still run or wait", exits.TIMEOUT)
    note(f"queue {queue} is empty")


def _teller(queue: str) -> Callable[[int], None]:
    """Says how much is left, now and then."""
    told = time.monotonic()

    def tell(left: int) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_EVERY:
            told = time.monotonic()
            note(f"queue {queue}: {left} jobs left")

    return tell


@click.command(
    "open",
    cls=Command,
    examples=(
        ("taskq queue open mail", "after a drain"),
        ("taskq queue open mail --redis-url redis://queue.example.org", "on another server"),
        ("taskq queue open mail --namespace staging", "in another namespace"),
    ),
)
@queue_argument
@common_options()
@click.pass_obj
def open_(session: Session, queue: str) -> None:
    """Let a queue that was closed by drain be enqueued into again."""

    async def work(store: Store) -> None:
        for keys in await all_keys(session, store, queue):
            await check_rights(store, keys, "limit")
            await write_limits(store, keys, {}, strike=f"-{ALL}")

    session.run(work)
    note(f"queue {queue} takes jobs")
