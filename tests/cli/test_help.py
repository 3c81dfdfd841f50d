"""Every command explains itself, with examples that are right; and `taskq --help` is quick."""

from __future__ import annotations

import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from taskq.cli.command import Command, LazyGroup
from taskq.cli.main import main
from taskq.setting import BY_NAME
from tests.cli.conftest import ROOT, Cli


def walk(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, *path, name)


COMMANDS = list(walk(main, "taskq"))
NAMES = [" ".join(path) for path, _ in COMMANDS]


def test_the_commands_of_the_design_are_there() -> None:
    wanted = [
        "worker",
        "dev",
        "demo",
        "enqueue",
        "status",
        "queue",
        "job",
        "cron",
        "task",
        "limit",
        "workers",
        "check",
        "doctor",
        "embedded",
    ]
    wanted += [
        f"queue {name}" for name in ["ls", "show", "peek", "signals", "pause", "resume", "purge"]
    ]
    wanted += [f"queue {name}" for name in ["set", "drain", "open"]]
    wanted += [f"job {name}" for name in ["ls", "show", "retry", "cancel", "rm", "explain"]]
    wanted += [f"cron {name}" for name in ["ls", "add", "rm", "pause", "resume", "trigger"]]
    wanted += [f"task {name}" for name in ["strike", "unstrike"]]
    wanted += [f"limit {name}" for name in ["ls", "set", "rm"]]
    wanted += [f"embedded {name}" for name in ["status", "stop", "url"]]

    assert set(NAMES) == {"taskq", *(f"taskq {name}" for name in wanted)}


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=NAMES)
def test_a_command_has_help_and_three_examples(
    path: tuple[str, ...], command: click.Command
) -> None:
    assert isinstance(command, (Command, LazyGroup))

    text = command.get_help(click.Context(command, info_name=" ".join(path)))

    assert command.help
    assert len(command.examples) >= 3
    assert "Examples:" in text
    for line, meaning in command.examples:
        assert f"# {meaning}\n  {line}" in text


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=NAMES)
def test_the_examples_of_a_command_can_be_parsed(
    path: tuple[str, ...], command: click.Command
) -> None:
    assert isinstance(command, (Command, LazyGroup))
    for line, _ in command.examples:
        inner = re.search(r"\$\((taskq [^)|]*)", line)
        words = shlex.split(inner[1] if inner else line)
        words = words[: words.index("|")] if "|" in words else words
        assert words[0] == "taskq", line

        node: click.Command = main
        context = main.make_context("taskq", [*words[1:]])
        rest = words[1:]
        while isinstance(node, click.Group) and rest:
            name, found, rest = node.resolve_command(context, rest)
            assert found is not None, line
            context = found.make_context(name, [*rest], parent=context, resilient_parsing=False)
            node = found

        assert not isinstance(node, click.Group), line


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=NAMES)
def test_every_look_has_json_and_documents_it(
    path: tuple[str, ...], command: click.Command
) -> None:
    looks = {"status", "queue ls", "queue show", "queue peek", "job ls", "job show", "job explain"}
    looks |= {"queue signals", "cron ls", "limit ls", "workers", "check", "doctor"}
    looks |= {"embedded status"}
    options = [option for param in command.params for option in param.opts]

    assert ("--json" in options) == (" ".join(path[1:]) in looks)
    if "--json" in options:
        assert isinstance(command, Command)
        assert "--json prints" in command.notes


def test_every_setting_but_a_secret_not_used_yet_is_an_option_somewhere() -> None:
    found = {
        param.name for _, command in COMMANDS for param in command.params if param.name in BY_NAME
    }

    assert set(BY_NAME) - found == {"jwt_secret"}


def test_help_answers_within_150_ms_of_its_own_time() -> None:
    """Processor time: other tests run beside this one. `.ci/check_installed.py` times it alone."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "taskq", "--help"], cwd=ROOT, check=True, capture_output=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    assert min(times) < 0.150, times


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from taskq.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('redis', 'rich', 'psutil', 'asyncio', 'hiredis', 'msgpack')"
        " if m in sys.modules], file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert done.stderr.strip() == "[]"


def test_a_mistyped_command_gets_a_suggestion(cli: Cli) -> None:
    top = cli.call("statsu")
    nested = cli.call("queue", "pase")

    assert (top.code, nested.code) == (2, 2)
    assert "did you mean 'status'?" in top.error
    assert "did you mean 'pause'?" in nested.error


def test_no_command_shows_help_with_code_2(cli: Cli) -> None:
    ran = cli.call()

    assert ran.code == 2
    assert "Usage: taskq" in ran.err


def test_the_version_is_told(cli: Cli) -> None:
    ran = cli.call("--version")

    assert ran.code == 0
    assert re.fullmatch(r"taskq \d+\.\d+\.\d+\S*\n", ran.out)
