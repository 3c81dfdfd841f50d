"""Schedules that an app's code says: what `@app.cron` and `@app.every` take, checked when the
module is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from taskq.commands import NewJob
from taskq.context import Context
from taskq.cron.rules import Rule
from taskq.cron.schedule import Schedule, check_policies, check_schedule_name
from taskq.errors import InvalidOption
from taskq.options import checked_for_call
from taskq.task import AsyncTask, PlainTask, Signature, Task

P = ParamSpec("P")
R = TypeVar("R")

#: The most of a call that is shown to people, characters.
_SHOWN = 200


class Preparer(Protocol):
    """What makes the wire form of a call: an app."""

    def prepare(self, call: Signature[Any]) -> tuple[str, NewJob]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A schedule in code: it becomes a Schedule when a worker starts, or when it is added."""

    name: str
    queue: str
    rule: Rule
    call: Signature[Any]
    missed: str
    overlap: str
    by_hand: bool = False

    def schedule(self, app: Preparer) -> Schedule:
        """It as it is written to Redis. Raises InvalidOption, CodecError."""
        _, job = app.prepare(self.call)
        check_policies(self.missed, self.overlap, job)
        shown = repr(self.call)
        return Schedule(
            name=self.name,
            rule=self.rule,
            job=job._replace(id=""),
            call=shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "...",
            missed=self.missed,
            overlap=self.overlap,
            declared=not self.by_hand,
        )


def declare(
    rule: Rule,
    task: Task[Any, Any],
    *,
    name: str | None,
    missed: str,
    overlap: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    words: Mapping[str, object],
) -> Declared:
    """A schedule of calls of a task. Raises ConfigError, in one line, for whatever is wrong."""
    options = checked_for_call(check_options(words))
    check_policies(missed, overlap)
    call = task.call(*check_arguments(args, kwargs), options)
    return Declared(
        name=check_schedule_name(task.name if name is None else name),
        queue=options.queue or task.defaults.queue or "default",
        rule=rule,
        call=call,
        missed=missed,
        overlap=overlap,
    )


def check_options(words: Mapping[str, object]) -> Mapping[str, object]:
    """Options for every tick; InvalidOption for those that fit one job only."""
    for option, value in words.items():
        if option in ("id", "at") or isinstance(value, datetime):
            raise InvalidOption(f"{option} belongs to one job: a schedule makes many")
    return words


def check_arguments(args: object, kwargs: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of the calls; InvalidOption unless they are a sequence and a mapping."""
    if isinstance(args, (str, bytes)) or not isinstance(args, Sequence):
        raise InvalidOption(f"args={args!r:.60}: use a list or a tuple")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise InvalidOption(f"kwargs={kwargs!r:.60}: use a mapping of names to values")
    return tuple(args), dict(kwargs or {})


class ScheduleDecorator:
    """The type of `app.cron(...)` and `app.every(...)`: a task stays what it is, a function becomes
    a task as with `app.task`.
    """

    # The overlaps are meant, as those of `app.task`.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, fn: AsyncTask[P, R], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, fn: PlainTask[P, R], /
    ) -> PlainTask[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, fn: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, fn: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[Context, P], R], /) -> PlainTask[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> PlainTask[P, R]: ...

    def __call__(self, fn: Any, /) -> Any:
        raise AssertionError("only its type is used")
