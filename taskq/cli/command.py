"""click's Command and Group with what every taskq command has: examples, sections of options, lazy
sub-commands.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from taskq.cli import exits
from taskq.cli.session import Session


class Command(click.Command):
    """A command with `examples`: (command line, what it does) pairs, shown at the end of its help.

    Options with a `section` are listed under that title.
    """

    def __init__(
        self, *args: Any, examples: Sequence[tuple[str, str]] = (), notes: str = "", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.notes = notes

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(param, "section", "Options"), []).append(record)
        for title in sorted(sections, key=lambda title: title != "Options"):
            with formatter.section(title):
                formatter.write_dl(sections[title])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_notes(formatter, self.notes)
        write_examples(formatter, self.examples)


def write_notes(formatter: click.HelpFormatter, notes: str) -> None:
    """Paragraphs after the options; lines that begin with two spaces stay as they are."""
    for paragraph in filter(None, notes.strip().split("\n\n")):
        formatter.write_paragraph()
        if any(line.startswith("  ") for line in paragraph.splitlines()):
            formatter.write("".join(f"{line}\n" for line in paragraph.splitlines()))
        else:
            formatter.write_text(" ".join(paragraph.split()))


def write_examples(formatter: click.HelpFormatter, examples: Sequence[tuple[str, str]]) -> None:
    """The examples, each with what it does above it."""
    if not examples:
        return
    formatter.write_paragraph()
    formatter.write("Examples:\n")
    for line, meaning in examples:
        formatter.write(f"  # {meaning}\n  {line}\n")


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called: `lazy` is name -> (module, short
    help).

    A module's command is its attribute `command`. Only the short help is needed to list them.
    """

    def __init__(
        self,
        *args: Any,
        lazy: Mapping[str, tuple[str, str]] | None = None,
        examples: Sequence[tuple[str, str]] = (),
        notes: str = "",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("no_args_is_help", True)
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy or {})
        self.examples = tuple(examples)
        self.notes = notes
        self.command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.lazy, *sorted(self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.lazy and cmd_name not in self.commands:
            found = importlib.import_module(self.lazy[cmd_name][0]).command
            assert isinstance(found, click.Command)
            self.add_command(found, cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            close = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            known = ", ".join(self.list_commands(ctx))
            hint = f"did you mean {close[0]!r}?" if close else f"the commands are {known}"
            ctx.fail(f"no command {name!r}: {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, about) for name, (_, about) in self.lazy.items()]
        own = (
            (name, self.commands[name]) for name in sorted(self.commands) if name not in self.lazy
        )
        rows += [(name, command.get_short_help_str(80)) for name, command in own]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        Command.format_options(self, ctx, formatter)  # type: ignore[arg-type]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_notes(formatter, self.notes)
        write_examples(formatter, self.examples)


class Root(LazyGroup):
    """The top: every error becomes one line on stderr and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        session = Session()
        try:
            code = super().main(
                args,
                prog_name or "taskq",
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                obj=session,
                **extra,
            )
            sys.stdout.flush()
        except (Exception, KeyboardInterrupt) as error:
            if exits.is_broken_pipe(error):
                exits.give_up_stdout()
                sys.exit(exits.FAILED)
            sys.exit(exits.report(error, verbose=session.verbose > 0))
        sys.exit(code if isinstance(code, int) else exits.OK)
