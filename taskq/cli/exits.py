"""What the command's exit code says, and which error gets which. The only place that decides it."""

from __future__ import annotations

import errno
import os
import sys
import traceback

import click

from taskq import errors
from taskq.errors import TaskqError
from taskq.observe.escape import one_line

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
REFUSED = 4
TIMEOUT = 5
UNREACHABLE = 69
INTERNAL = 70
BAD_CONFIG = 78
INTERRUPTED = 130

#: The first class that fits decides.
_CODES: tuple[tuple[type[TaskqError], int], ...] = (
    (errors.InvalidName, USAGE),
    (errors.InvalidOption, USAGE),
    (errors.InvalidArguments, USAGE),
    (errors.UnknownTask, NOT_FOUND),
    (errors.ConfigError, BAD_CONFIG),
    (errors.SerializationError, USAGE),
    (errors.PayloadTooLarge, USAGE),
    (errors.StoreUnavailable, UNREACHABLE),
    (errors.StoreRefused, REFUSED),
    (errors.ServerUnsupported, BAD_CONFIG),
    (errors.ScriptBug, INTERNAL),
    (errors.JobNotFound, NOT_FOUND),
    (errors.ScheduleNotFound, NOT_FOUND),
    (errors.JobConflict, REFUSED),
    (errors.QueueFull, REFUSED),
    (errors.TaskStruck, REFUSED),
    (errors.QueueClosed, REFUSED),
    (errors.DeadlineUnreachable, REFUSED),
    (errors.WrongState, REFUSED),
    (errors.ResultTimeout, TIMEOUT),
)


class Stop(click.ClickException):
    """Ends the command with one line on stderr and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def code_of(error: BaseException) -> int:
    """The exit code of an error that ended a command."""
    if isinstance(error, Stop):
        return error.code
    if isinstance(error, click.ClickException):
        return error.exit_code
    if isinstance(error, TaskqError):
        return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return INTERRUPTED
    return INTERNAL


def report(error: BaseException, *, verbose: bool) -> int:
    """Say on stderr, in one line, what went wrong; the exit code. `verbose` adds the traceback."""
    code = code_of(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return code
    if verbose and not isinstance(error, click.UsageError | click.Abort):
        _print("".join(traceback.format_exception(error)).rstrip())
    elif verbose and error.__cause__ is not None:
        _print("".join(traceback.format_exception(error.__cause__)).rstrip())
    _print(f"taskq: error: {one_line(words_of(error))}")
    return code


def words_of(error: BaseException) -> str:
    """An error's message, with the way to more help where there is one."""
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "taskq"
        return f"{error.format_message()} (see `{path} --help`)"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, TaskqError):
        return str(error)
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return "interrupted"
    return f"unexpected {type(error).__name__}: {error} (-v shows where; please report this)"


def is_broken_pipe(error: BaseException) -> bool:
    """Did the reader of our output go away? Then there is nobody to tell."""
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def give_up_stdout() -> None:
    """Let Python's own flush at exit go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print(text: str) -> None:
    click.echo(text.encode("utf-8", "backslashreplace").decode(), err=True)
