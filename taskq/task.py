"""Tasks and calls of them: a decorated function, its defaults, and one bound call (`Signature`)."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, Unpack

from taskq.codec import Codec
from taskq.context import Context
from taskq.errors import ConfigError, InvalidArguments
from taskq.handle import Job
from taskq.options import NOTHING, Options, OptionWords, checked_for_call

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

EXECUTORS = ("async", "thread", "process")


class Sender(Protocol):
    """What a task needs of its app."""

    codec: Codec

    async def send(self, call: Signature[R]) -> Job[R]: ...

    def send_sync(self, call: Signature[R]) -> Job[R]: ...


class Signature(Generic[R_co]):
    """One call, not yet sent: task name, arguments, options. Made by `task.s(...)`."""

    __slots__ = ("args", "kwargs", "options", "process", "task")

    def __init__(
        self,
        task: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        options: Options = NOTHING,
        process: bool = False,
    ) -> None:
        self.task = task
        self.args = args
        self.kwargs = kwargs
        self.options = options
        self.process = process

    def __repr__(self) -> str:
        words = [repr(arg) for arg in self.args]
        words += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self.task}({', '.join(words)})"


class Task(Generic[P, R]):
    """A registered function with a name and default options. Still callable like the function.

    `executor`: "async" for coroutine functions; "thread" (default) or "process" for plain ones.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str,
        options: Options,
        executor: str,
        sender: Sender,
    ) -> None:
        self.fn = fn
        self.name = name
        self.defaults = options
        self.executor = executor
        self.sender = sender
        self.context_name = context_parameter(fn)
        self._context_at = context_position(fn, self.context_name)
        self._signature = call_signature(fn, self.context_name)
        self._counts = _plain_counts(self._signature)
        self.__doc__ = fn.__doc__
        self.__name__ = getattr(fn, "__name__", name)
        self.__module__ = fn.__module__
        self.__wrapped__ = fn

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function here and now, without any queue."""
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.name}>"

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """InvalidArguments unless the function can be called like this."""
        if not kwargs and self._counts and self._counts[0] <= len(args) <= self._counts[1]:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(f"{self.name}{self._signature}: {error}") from None

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name, defaults included. The call was checked."""
        found = self._signature.bind(*args, **kwargs)
        found.apply_defaults()
        named = dict(found.arguments)
        for name, parameter in self._signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                named.update(named.pop(name))
        return named

    def inject(
        self, context: Context, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, ...]:
        """The arguments with the context where the function wants it; `kwargs` may be added to."""
        if len(args) < self._context_at:
            kwargs[self.context_name or ""] = context
            return args
        return (*args[: self._context_at], context, *args[self._context_at :])

    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """This call, to be sent later: for `app.enqueue_many`."""
        return self.call(args, kwargs, NOTHING)

    def call(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Options
    ) -> Signature[R]:
        """A checked call with options of its own on top of the task's defaults."""
        self.check(args, kwargs)
        return Signature(
            self.name, args, kwargs, options=options, process=self.executor == "process"
        )

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Ask for this call to be run; returns when Redis has it."""
        return await self.sender.send(self.call(args, kwargs, NOTHING))

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """As `enqueue`, blocking; from any thread without a running event loop's help."""
        return self.sender.send_sync(self.call(args, kwargs, NOTHING))

    def options(self, **words: Unpack[OptionWords]) -> TaskWithOptions[P, R]:
        """This task with options for the calls that follow:
        `task.options(priority=9).enqueue(...)`.
        """
        return TaskWithOptions(self, checked_for_call(words))


class TaskWithOptions(Generic[P, R]):
    """A task and options for its next calls."""

    __slots__ = ("_options", "_task")

    def __init__(self, task: Task[P, R], options: Options) -> None:
        self._task = task
        self._options = options

    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """This call with these options, to be sent later."""
        return self._task.call(args, kwargs, self._options)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Ask for this call to be run with these options."""
        return await self._task.sender.send(self._task.call(args, kwargs, self._options))

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """As `enqueue`, blocking."""
        return self._task.sender.send_sync(self._task.call(args, kwargs, self._options))

    def options(self, **words: Unpack[OptionWords]) -> TaskWithOptions[P, R]:
        """More options on top."""
        return TaskWithOptions(self._task, self._options.merged(checked_for_call(words)))


class AsyncTask(Task[P, R]):
    """A coroutine task; calling it gives a coroutine."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        result: Coroutine[Any, Any, R] = self.fn(*args, **kwargs)
        return result


class PlainTask(Task[P, R]):
    """A plain function as a task."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = self.fn(*args, **kwargs)
        return result


def choose_executor(fn: Callable[..., Any], wanted: str | None) -> str:
    """Where the function runs; ConfigError when it cannot run there."""
    name = getattr(fn, "__qualname__", repr(fn))
    if inspect.isasyncgenfunction(fn) or inspect.isgeneratorfunction(fn):
        raise ConfigError(f"task {name}: a generator cannot be a task; return a list instead")
    coroutine = inspect.iscoroutinefunction(fn)
    if wanted is None:
        return "async" if coroutine else "thread"
    if wanted not in EXECUTORS or coroutine != (wanted == "async"):
        fits = "'async'" if coroutine else "'thread' or 'process'"
        raise ConfigError(f"task {name}: executor={wanted!r} does not fit; use {fits}")
    if wanted == "process" and "<locals>" in name:
        raise ConfigError(
            f"task {name}: executor='process' needs a function at the top of a module"
        )
    return wanted


def context_parameter(fn: Callable[..., Any]) -> str | None:
    """Name of the parameter annotated `Context`, if there is one."""
    for name, parameter in inspect.signature(fn).parameters.items():
        annotation = parameter.annotation
        if isinstance(annotation, str):
            annotation = annotation.strip("'\"")
            if annotation.split(".")[-1] == "Context":
                return name
        elif annotation is Context:
            return name
    return None


def context_position(fn: Callable[..., Any], name: str | None) -> int:
    """How many positional arguments come before the context; more than any call has when it goes by
    keyword.
    """
    for position, parameter in enumerate(inspect.signature(fn).parameters.values()):
        if parameter.name == name:
            by_keyword = parameter.kind is parameter.KEYWORD_ONLY
            return sys.maxsize if by_keyword else position
    return 0


def call_signature(fn: Callable[..., Any], context: str | None) -> inspect.Signature:
    """What a caller may pass: the function's signature without the injected parameter."""
    signature = inspect.signature(fn)
    kept = [p for name, p in signature.parameters.items() if name != context]
    return signature.replace(parameters=kept, return_annotation=inspect.Signature.empty)


def _plain_counts(signature: inspect.Signature) -> tuple[int, int] | None:
    """(fewest, most) positional arguments when counting is all the checking needed; else None."""
    fewest = most = 0
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = 10**9
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.default is parameter.empty:
                return None
        elif parameter.kind is not parameter.VAR_KEYWORD:
            most += 1
            if parameter.default is parameter.empty:
                fewest += 1
    return fewest, most


def is_awaitable(value: object) -> bool:
    """True for coroutines and other awaitables a plain function may have returned by mistake."""
    return isinstance(value, (types.CoroutineType, Awaitable))
