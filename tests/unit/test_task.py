"""Tasks and calls without a server: what a signature takes, where the context goes, which executor
fits.
"""

from __future__ import annotations

from typing import Any

import pytest

from taskq import Context, TaskQ
from taskq.errors import ConfigError, InvalidArguments, InvalidOption
from taskq.task import AsyncTask, PlainTask, context_parameter

CONTEXT = Context(job_id="j", task="t", queue="q", attempt=1, token=1, worker_id="w")


@pytest.fixture
def app() -> TaskQ:
    return TaskQ("redis://127.0.0.1:1")


def none() -> None: ...
def two(a: int, b: int = 2) -> None: ...
def only(a: int, /, *, k: int) -> None: ...
def rest(*args: int, **kwargs: int) -> None: ...
def first(ctx: Context, a: int, b: int = 2) -> None: ...
def middle(a: int, ctx: Context, b: int = 2) -> None: ...
def keyword(a: int, b: int = 2, *, ctx: Context) -> None: ...
def spread(a: int, *more: int, ctx: Context) -> None: ...


GOOD: list[tuple[Any, tuple[int, ...], dict[str, int]]] = [
    (none, (), {}),
    (two, (1,), {}),
    (two, (1, 2), {}),
    (two, (), {"a": 1, "b": 2}),
    (only, (1,), {"k": 2}),
    (rest, (1, 2, 3), {"x": 1}),
    (first, (1,), {}),
    (first, (1, 2), {}),
    (middle, (1,), {"b": 3}),
    (keyword, (1, 2), {}),
    (spread, (1, 2, 3), {}),
]
BAD: list[tuple[Any, tuple[int, ...], dict[str, int]]] = [
    (none, (1,), {}),
    (two, (), {}),
    (two, (1, 2, 3), {}),
    (two, (1,), {"a": 2}),
    (two, (1,), {"c": 2}),
    (only, (1,), {}),
    (only, (), {"a": 1, "k": 2}),
    (first, (), {}),
    (first, (1, 2, 3), {}),
    (first, (1,), {"ctx": 2}),
    (middle, (), {}),
    (keyword, (1, 2, 3), {}),
    (spread, (), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), GOOD)
def test_a_call_that_fits_is_taken_and_the_function_can_be_called_with_it(
    app: TaskQ, function: Any, args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    task: Any = app.task(function)

    call = task.s(*args, **kwargs)

    assert (call.args, dict(call.kwargs)) == (args, kwargs)
    if task.context_name is not None:
        args = task.inject(CONTEXT, args, kwargs := dict(kwargs))
        assert CONTEXT in (*args, *kwargs.values())
    function(*args, **kwargs)


@pytest.mark.parametrize(("function", "args", "kwargs"), BAD)
def test_a_call_that_does_not_fit_is_refused_as_python_would(
    app: TaskQ, function: Any, args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    task: Any = app.task(function)

    with pytest.raises(InvalidArguments, match=f"^{function.__name__}\\(") as caught:
        task.s(*args, **kwargs)

    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("name", ["ctx: Context", "ctx: 'Context'", "ctx: 'taskq.Context'"])
def test_the_context_parameter_is_found_however_it_is_annotated(name: str) -> None:
    scope: dict[str, Any] = {"Context": Context}
    exec(f"def function(a, {name}): ...", scope)

    assert context_parameter(scope["function"]) == "ctx"
    assert context_parameter(two) is None


def test_a_context_in_the_middle_gets_its_place(app: TaskQ) -> None:
    task: Any = app.task(middle)
    kwargs: dict[str, object] = {}

    assert task.inject(CONTEXT, (1, 3), kwargs) == (1, CONTEXT, 3)
    assert kwargs == {}
    assert task.inject(CONTEXT, (), kwargs) == ()
    assert kwargs == {"ctx": CONTEXT}


def test_executors_are_chosen_and_checked(app: TaskQ) -> None:
    async def coroutine() -> None: ...

    async def stream() -> Any:
        yield 1

    assert isinstance(app.task(coroutine), AsyncTask)
    assert isinstance(app.task(none), PlainTask)
    assert app.tasks["none"].executor == "thread"
    assert app.task(name="p", executor="process")(two).executor == "process"
    for function, executor in (
        (coroutine, "thread"),
        (coroutine, "process"),
        (none, "async"),
        (none, "gpu"),
        (stream, None),
    ):
        loose: Any = function
        with pytest.raises(ConfigError):
            app.task(name="other", executor=executor)(loose)
    with pytest.raises(ConfigError, match="top of a module"):
        app.task(executor="process")(lambda: None)  # a lambda inside a function


def test_the_id_is_an_option_of_a_call_not_of_a_task(app: TaskQ) -> None:
    with pytest.raises(InvalidOption, match="one call"):
        app.task(id="x")


def test_calls_of_process_tasks_are_marked(app: TaskQ) -> None:
    task: Any = app.task(executor="process")(two)

    assert task.s(1).process
    assert task.options(priority=1).s(1).process
    assert repr(task.s(1, b=2)) == "two(1, b=2)"
    assert repr(task) == "<task two>"
