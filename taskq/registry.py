"""What an app registers: tasks, their dataclasses, a lifespan, settings of queues. Knows nothing of
Redis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, overload

from taskq.codec import Codec
from taskq.context import Context
from taskq.cron.declare import Declared, ScheduleDecorator, declare
from taskq.cron.rules import Rule, cron_rule, every_rule
from taskq.errors import ConfigError, InvalidOption, UnknownTask
from taskq.handle import Job
from taskq.keys import check_name
from taskq.limit import Limit
from taskq.limit_book import LimitBook
from taskq.options import NOTHING, OptionWords, checked
from taskq.partition import partition_names
from taskq.queue_settings import QueueSettings
from taskq.task import AsyncTask, PlainTask, Signature, Task, choose_executor

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Registry(ABC):
    """The registering half of `TaskQ`, which knows how to send."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task[Any, Any]] = {}
        self.queues: dict[str, QueueSettings] = {}
        self.partitions: dict[str, int] = {}
        """How many partitions a queue has; those with one are not in here."""
        self.limits = LimitBook(self.tasks, self.queues)
        self.declared: dict[tuple[str, str], Declared] = {}
        """Schedules of this app's code, by queue and name."""
        self.codec = Codec()
        self._lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None

    @abstractmethod
    async def send(self, call: Signature[R]) -> Job[R]:
        """Enqueue one call; see TaskQ.send."""

    @abstractmethod
    def send_sync(self, call: Signature[R]) -> Job[R]:
        """As `send`, blocking."""

    def register_dataclass(self, cls: type[T], name: str | None = None) -> type[T]:
        """Let instances of a dataclass be arguments and results; also a decorator. Both sides must
        register it.
        """
        return self.codec.register_dataclass(cls, name)

    # The overlaps are meant: the first that fits wins, and a coroutine function fits the plain ones
    # too.
    @overload
    def task(  # type: ignore[overload-overlap]
        self, fn: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(  # type: ignore[overload-overlap]
        self, fn: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, fn: Callable[Concatenate[Context, P], R], /) -> PlainTask[P, R]: ...
    @overload
    def task(self, fn: Callable[P, R], /) -> PlainTask[P, R]: ...
    @overload
    def task(
        self, *, name: str | None = None, executor: str | None = None, **words: Unpack[OptionWords]
    ) -> TaskDecorator: ...

    def task(  # type: ignore[misc]
        self,
        fn: Any = None,
        /,
        *,
        name: str | None = None,
        executor: str | None = None,
        **words: Any,
    ) -> Any:
        """Register a function as a task: `@app.task` or `@app.task(retries=5, timeout=30)`.

        `name` defaults to the function's; `executor` to "async" for coroutine functions, "thread"
        for plain ones. Raises ConfigError for a name that is taken, an option out of range, a
        function that cannot be a task.
        """
        options = checked(words) if words else NOTHING
        if "id" in words:
            raise InvalidOption("id belongs to one call: task.options(id=...)")

        def register(function: Callable[..., Any]) -> Any:
            if isinstance(function, Task):
                raise ConfigError(
                    f"{function.name} is a task already: put @app.cron and @app.every above"
                    " @app.task"
                )
            kind = choose_executor(function, executor)
            task_name = check_name(name or function.__name__, "task name")
            if task_name in self.tasks:
                taken = self.tasks[task_name].fn
                raise ConfigError(
                    f"task name {task_name!r} is taken by {taken.__module__}.{taken.__qualname__}:"
                    " pass another name="
                )
            make = AsyncTask if kind == "async" else PlainTask
            task: Task[Any, Any] = make(
                function, name=task_name, options=options, executor=kind, sender=self
            )
            self.tasks[task_name] = task
            self.limits.changed()
            return task

        return register if fn is None else register(fn)

    def cron(
        self,
        line: str,
        *,
        tz: str = "UTC",
        name: str | None = None,
        missed: str = "once",
        overlap: str = "allow",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **words: Unpack[OptionWords],
    ) -> ScheduleDecorator:
        """Run a task by the clock: `@app.cron("0 9 * * mon-fri", tz="Europe/Rome")`, above
        `@app.task` or on a plain function, which becomes a task. `app.cron(...)(task)` as well.

        `name` of the schedule: the task's when not given. `missed`: of ticks that nobody could
        enqueue in time, none ("skip"), the newest ("once") or "all" are enqueued later. `overlap`:
        "skip" enqueues nothing while the last job of the schedule has not ended. `args`, `kwargs`
        and other options are those of each call. See docs/cron.md.
        """
        rule = cron_rule(line, tz)
        return self._schedule(rule, name, missed, overlap, args, kwargs, words)

    def every(
        self,
        span: float | timedelta,
        *,
        name: str | None = None,
        missed: str = "once",
        overlap: str = "allow",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **words: Unpack[OptionWords],
    ) -> ScheduleDecorator:
        """Run a task every so many seconds: `@app.every(30)` at :00 and :30 of every minute. The
        rest is as for `cron`.
        """
        return self._schedule(every_rule(span), name, missed, overlap, args, kwargs, words)

    def _schedule(self, rule: Rule, name: str | None, *rest: Any) -> ScheduleDecorator:
        missed, overlap, args, kwargs, words = rest

        def register(function: Any) -> Any:
            task = function
            if not isinstance(function, Task):
                known = self.tasks.get(getattr(function, "__name__", ""))
                task = known if known and known.fn is function else self.task(function)
            elif self.tasks.get(function.name) is not function:
                raise ConfigError(f"task {function.name} belongs to another app")
            found = declare(
                rule,
                task,
                name=name,
                missed=missed,
                overlap=overlap,
                args=args,
                kwargs=kwargs,
                words=words,
            )
            where = (found.queue, found.name)
            if where in self.declared:
                raise ConfigError(
                    f"schedule {found.name!r} of queue {found.queue!r} is there already:"
                    " pass another name="
                )
            self.declared[where] = found
            return task

        return register  # type: ignore[return-value]

    def lifespan(self, fn: Callable[[Any], AsyncIterator[T]]) -> Callable[[Any], AsyncIterator[T]]:
        """Register an async generator that sets up what tasks share, and tears it down when the
        worker ends.

        What it yields is `ctx.state`. Runs once per worker process.
        """
        if self._lifespan is not None:
            raise ConfigError("this app has a lifespan already: do both in one function")
        self._lifespan = asynccontextmanager(fn)
        return fn

    def run_lifespan(self) -> AbstractAsyncContextManager[Any]:
        """The lifespan as a context manager; its value is None when there is none."""
        return self._lifespan(self) if self._lifespan is not None else nullcontext()

    def queue(
        self,
        name: str,
        *,
        policy: str | None = None,
        horizon: float | None = None,
        patience: Sequence[float] | None = None,
        max_jobs: int | None = None,
        on_full: str | None = None,
        weights: Mapping[str, float] | None = None,
        limits: Sequence[Limit] = (),
        partitions: int = 1,
    ) -> QueueSettings:
        """Say how a queue orders and bounds its jobs; workers write it to Redis when they start.

        `policy`: "strict" (priority first), "aging" (every job is the most urgent in the end) or
        "fair" (groups take turns by what they use, and by `weights`, 1 each).
        `horizon` (s): when a job without a deadline counts as due. `patience`: ten waits (s), for
        priority 0 to 9. See docs/guarantees.md.
        `on_full`: what an enqueue does when `max_jobs` wait: "reject" (QueueFull), "wait" for room,
        or "drop_oldest". `limits`: for all its jobs together; see docs/limits.md.
        `partitions`: 2 to 64 spread a queue that is too busy for one Redis core; every program that
        enqueues must say the same number. See docs/high-availability.md.
        """
        settings = QueueSettings.checked(
            name,
            policy=policy,
            horizon=horizon,
            patience=patience,
            max_jobs=max_jobs,
            on_full=on_full,
            weights=weights,
            limits=limits,
            partitions=partitions,
        )
        self.queues[name] = settings
        self.limits.changed()
        self.partitions.pop(name, None)
        if partitions > 1:
            self.partitions[name] = partitions
        return settings

    def places_of(self, queues: Iterable[str]) -> list[str]:
        """These queues with all their partitions; a partition's name stands for itself."""
        found = (
            name
            for queue in queues
            for name in partition_names(queue, self.partitions.get(queue, 1))
        )
        return list(dict.fromkeys(found))


class TaskDecorator:
    """The type of `app.task(...)` with options: decorates like `app.task` itself."""

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


def find_task(app: Registry, name: str) -> Task[Any, Any]:
    """The task of that name; UnknownTask, with the names there are, otherwise."""
    task = app.tasks.get(name)
    if task is None:
        names = ", ".join(sorted(app.tasks)) or "none"
        raise UnknownTask(f"this app has no task {name!r}: it has {names}")
    return task
