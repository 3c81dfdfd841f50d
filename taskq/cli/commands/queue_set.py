"""`taskq queue set`: how a queue orders and bounds its jobs."""

from __future__ import annotations

from collections.abc import Sequence

import click

from taskq import commands
from taskq.cli.command import Command
from taskq.cli.kinds import Span
from taskq.cli.options import queue_argument
from taskq.cli.places import all_keys, register
from taskq.cli.screen import note
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.partition import queue_of
from taskq.queue_settings import ON_FULL, POLICIES, QueueSettings
from taskq.rights import check_rights
from taskq.setting_values import parse_seconds
from taskq.store import Store


class Patience(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Ten spans, with commas between."""

    name = "TEN SPANS"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[float]:
        try:
            return [parse_seconds(word.strip()) for word in str(value).split(",")]
        except ValueError:
            self.fail(f"{value!r}: use ten spans as 10m,8m,6m,4m,2m,60s,30s,10s,3s,1s", param, ctx)


class Weight(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A group and its weight; none takes it back."""

    name = "GROUP=N"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float | None]:
        group, sign, number = str(value).rpartition("=")
        try:
            if group and sign:
                return group, float(number) if number else None
        except ValueError:
            pass
        self.fail(f"{value!r}: use GROUP=NUMBER, as in gold=5, or GROUP= for none", param, ctx)


@click.command(
    cls=Command,
    name="set",
    examples=(
        ("taskq queue set mail --policy aging", "every job is the most urgent in the end"),
        (
            "taskq queue set mail --policy fair --weight gold=5",
            "groups take turns, gold more often",
        ),
        ("taskq queue set mail --max-jobs 10000 --on-full wait", "hold producers back at 10,000"),
    ),
    notes="With a new --policy the jobs that wait are ranked anew, by the workers, in small steps. A worker"
    " whose app says app.queue(...) writes the app's settings over these when it starts. --max-jobs is shared"
    " out to the partitions of a queue.",
)
@queue_argument
@click.option("--policy", type=click.Choice(POLICIES), help="How ready jobs are ordered.")
@click.option(
    "--horizon",
    type=Span(),
    help="A job without a deadline counts as due so long after becoming ready.",
)
@click.option(
    "--patience",
    type=Patience(),
    help="For --policy aging: longest wait for priority 0, 1 ... 9, commas between.",
)
@click.option("--max-jobs", type=click.IntRange(1, 10**9), help="Waiting jobs the queue may hold.")
@click.option("--on-full", type=click.Choice(ON_FULL), help="What enqueue does when it is full.")
@click.option(
    "--weight",
    "weights",
    type=Weight(),
    multiple=True,
    help="For --policy fair: a group's share, 1 when not set; may be given many times.",
)
@common_options()
@click.pass_obj
def set_(
    session: Session,
    queue: str,
    policy: str | None,
    horizon: float | None,
    patience: Sequence[float] | None,
    max_jobs: int | None,
    on_full: str | None,
    weights: Sequence[tuple[str, float | None]],
) -> None:
    """Set how a queue orders and bounds its jobs."""
    given = [v for v in (policy, horizon, patience, max_jobs, on_full) if v is not None]
    if not given and not weights:
        raise click.UsageError(
            "nothing to set: give --policy, --horizon, --patience, --max-jobs, --on-full or --weight"
        )

    async def work(store: Store) -> int:
        places = await all_keys(session, store, queue)
        wanted = QueueSettings.checked(
            queue_of(queue),
            policy=policy,
            horizon=horizon,
            patience=patience,
            max_jobs=max_jobs,
            on_full=on_full,
            weights={group: weight for group, weight in weights if weight is not None},
            partitions=len(places),
        ).meta()
        wanted |= {f"weight:{group}": "" for group, weight in weights if weight is None}
        for keys in places:
            await check_rights(store, keys, "configure")
        await register(session, store, queue)
        return max([await store.run(commands.configure(keys, wanted), tries=3) for keys in places])

    changed = session.run(work)
    note(f"queue {queue}: {changed} of {len(given) + len(weights)} settings changed")
