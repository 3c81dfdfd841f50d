"""`taskq doctor`: looks at the server and the queues, and says what is wrong and what to do."""

from __future__ import annotations

from typing import NamedTuple

import click

from taskq.cli import exits
from taskq.cli.command import Command
from taskq.cli.options import json_option
from taskq.cli.screen import coloured, print_json
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.errors import StoreError, StoreUnavailable
from taskq.observe.escape import one_line

_EXAMPLES = (
    ("taskq doctor", "look at everything"),
    ("taskq doctor --redis-url redis://db:6379", "of that server"),
    ("taskq doctor --json", "for programs and monitoring"),
)
_NOTES = """
Each line is ok, warn or fail, and what to do. Exit code 0: no fail; 1: some; 69: Redis cannot be
reached.

--json prints {ok, checks [{name, level, text, remedy}]}; remedy is null when all is well.
"""
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(cls=Command, examples=_EXAMPLES, notes=_NOTES)
@json_option
@common_options()
@click.pass_obj
def command(session: Session, as_json: bool) -> int:
    """Check reach, latency, version, memory policy, persistence, scripts, clock, queues and
    workers.
    """
    from taskq.cli.diagnosis import Check, diagnose

    code = exits.OK
    try:
        where = f"{session.address.masked} ({session.found.source})"
        checks = session.run(
            lambda store: diagnose(store, session.settings, where, session.found.source)
        )
    except StoreUnavailable as error:
        checks = [Check("reach", "fail", str(error), "start it, or mend the URL or the network")]
        code = exits.UNREACHABLE
    except StoreError as error:
        checks = [Check("reach", "fail", str(error), "mend what it says")]
        code = exits.code_of(error)
    failed = any(check.level == "fail" for check in checks)
    if as_json:
        print_json({"ok": not failed, "checks": [_shape(check) for check in checks]})
    else:
        for check in checks:
            level = coloured(f"{check.level:<4}", _COLOURS[check.level])
            remedy = f": {check.remedy}" if check.remedy else ""
            click.echo(f"{level}  {check.name:<12} {one_line(check.text + remedy)}")
    return code or (exits.FAILED if failed else exits.OK)


def _shape(check: NamedTuple) -> dict[str, str | None]:
    shape: dict[str, str | None] = check._asdict()
    return {**shape, "remedy": shape["remedy"] or None}
