"""Finds the app (or task) that `module:attr` means, and says in one line why it cannot. Exit code
2.
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from taskq.errors import TaskqError

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.task import Task

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def load_app(spec: str) -> TaskQ:
    """The TaskQ that `module:attr` names; without `:attr`, the module's only one, or the one named
    `app`.
    """
    from taskq.app import TaskQ

    module, attribute = _load(spec)
    apps = {name: value for name, value in vars(module).items() if isinstance(value, TaskQ)}
    if not attribute:
        if "app" in apps or len({id(app) for app in apps.values()}) == 1:
            return apps.get("app") or next(iter(apps.values()))
        if apps:
            _refuse(f"module {module.__name__!r} has several apps: say {_choices(module, apps)}")
        _refuse(f"module {module.__name__!r} has no TaskQ app: make one there with `app = TaskQ()`")
    found = _walk(module, attribute)
    if not isinstance(found, TaskQ):
        hint = f"; did you mean {_choices(module, apps)}?" if apps else ""
        _refuse(f"{spec!r} is {_a(found)}, not a TaskQ app{hint}")
    return found


def load_task(spec: str) -> tuple[TaskQ, Task[Any, Any]]:
    """The task that `module:task` (or `module:app.name`) names, and its app."""
    from taskq.app import TaskQ
    from taskq.task import Task

    module, attribute = _load(spec)
    head, _, name = attribute.partition(".")
    found = _walk(
        module, head if head and isinstance(getattr(module, head, None), TaskQ) else attribute
    )
    if isinstance(found, TaskQ):
        found = found.tasks.get(name) if name else found
        if found is None:
            _refuse(
                f"app {module.__name__}:{head} has no task {name!r}{_mean(name, vars(module)[head].tasks)}"
            )
    if isinstance(found, TaskQ):
        names = ", ".join(sorted(found.tasks)) or "none"
        _refuse(f"{spec!r} is an app, not a task; its tasks: {names}")
    if not isinstance(found, Task):
        _refuse(f"{spec!r} is {_a(found)}, not a task: decorate it with @app.task")
    if not isinstance(found.sender, TaskQ):
        _refuse(f"{spec!r} belongs to no TaskQ app")
    return found.sender, found


def _refuse(message: str, cause: BaseException | None = None) -> NoReturn:
    error = click.UsageError(message, ctx=click.get_current_context(silent=True))
    raise error from cause


def _load(spec: str) -> tuple[ModuleType, str]:
    name, colon, attribute = spec.partition(":")
    if name.endswith(".py") or "/" in name or os.sep in name:
        better = name.removesuffix(".py").strip("./").replace("/", ".")
        _refuse(f"{spec!r} is a path: give the module's name, as in {better}{colon}{attribute}")
    if not _MODULE.fullmatch(name) or (colon and not _MODULE.fullmatch(attribute)):
        _refuse(f"{spec!r} is no module:attr, as in shop.tasks:app")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return _import(name), attribute


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except TaskqError:
        raise  # keeps its own exit code
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(missing + "."):
            hint = _mean(missing, _modules_here()) or f"; looked in {os.getcwd()} and on sys.path"
            _refuse(f"there is no module {missing!r}{hint}", error)
        _refuse(
            f"module {name!r} cannot be imported: it needs {missing!r}, which is not there", error
        )
    except SyntaxError as error:
        where = f"{error.filename}:{error.lineno}" if error.filename else name
        _refuse(f"module {name!r} cannot be imported: syntax error at {where}: {error.msg}", error)
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        _refuse(f"module {name!r} cannot be imported: {what}{_place(error)}", error)


def _place(error: BaseException) -> str:
    """File and line where the user's own code raised: the last frame outside importlib."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<") and file != __file__ and Path(file).parent.name != "importlib":
            place = f" ({file}:{trace.tb_lineno})"
        trace = trace.tb_next
    return place


def _walk(module: ModuleType, attribute: str) -> Any:
    if not attribute:
        _refuse(f"{module.__name__!r} names a module only: say {module.__name__}:attr")
    found: Any = module
    for part in attribute.split("."):
        names = [name for name in dir(found) if not name.startswith("_")]
        try:
            found = getattr(found, part)
        except AttributeError as error:
            _refuse(f"module {module.__name__!r} has no {attribute!r}{_mean(part, names)}", error)
    return found


def _mean(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _choices(module: ModuleType, apps: dict[str, Any]) -> str:
    return " or ".join(f"{module.__name__}:{name}" for name in apps)


def _modules_here() -> list[str]:
    names = []
    for entry in list(Path.cwd().iterdir())[:1000]:
        if entry.suffix == ".py" or (entry.is_dir() and (entry / "__init__.py").is_file()):
            names.append(entry.stem)
    return names


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
