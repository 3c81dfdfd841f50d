"""`taskq doctor`: looks at the server and the queues, says what is wrong and what to do, and with
--repair does it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from taskq.cli import exits
from taskq.cli.command import Command
from taskq.cli.kinds import Place
from taskq.cli.options import json_option
from taskq.cli.screen import coloured, note, print_json, say
from taskq.cli.session import Session
from taskq.cli.setting_options import common_options
from taskq.errors import StoreError, StoreUnavailable
from taskq.observe.escape import one_line

if TYPE_CHECKING:
    from taskq.audit import Audit
    from taskq.cli.diagnosis import Check
    from taskq.store import Store

_EXAMPLES = (
    ("taskq doctor", "look at everything"),
    ("taskq doctor -q mail --repair", "mend what is wrong in queue mail, after a question"),
    ("taskq doctor --repair --yes", "mend all queues without a question"),
    ("taskq doctor --json", "for programs and monitoring"),
)
_NOTES = """
Each line is ok, warn or fail, and what to do. Exit code 0: no fail; 1: some; 69: Redis cannot be
reached.

It reads every key of the queues, page by page, and proves that each job is in one place, as its
record says. docs/operations.md explains each finding.

--repair mends what it finds and says what it did. Nothing is thrown away: what cannot be read is
moved to quarantine. Exit code 0: all is well now; 1: something remains.

--json prints {ok, checks [{name, level, text, remedy}], findings [{queue, code, where, name,
detail}], repaired [{queue, code, where, name, done}]}; remedy is null when all is well; findings
are those that remain, at most 1,000 a queue; repaired is empty without --repair.
"""
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(cls=Command, examples=_EXAMPLES, notes=_NOTES)
@click.option(
    "-q",
    "--queue",
    "queues",
    type=Place(),
    multiple=True,
    help="Look at this queue only; repeatable.",
)
@click.option("--repair", is_flag=True, help="Mend what is wrong in the queues' keys.")
@click.option("--yes", is_flag=True, help="Do not ask. Needed when stdin is not a terminal.")
@json_option
@common_options()
@click.pass_obj
def command(
    session: Session, queues: tuple[str, ...], repair: bool, yes: bool, as_json: bool
) -> int:
    """Check the server, the queues, the workers and every key; with --repair, mend the queues'
    keys.
    """
    from taskq.cli.diagnosis import Check, audits_of, diagnose
    from taskq.cli.findings import finding_shape
    from taskq.inspect import Inspector
    from taskq.partitioned import places_of

    code = exits.OK
    audits: list[Audit] = []
    repaired: list[dict[str, str]] = []

    async def look(store: Store) -> list[Check]:
        where = f"{session.address.masked} ({session.found.source})"
        places = await places_of(Inspector(store, session.settings.namespace), queues)
        found = await diagnose(store, session.settings, where, session.found.source, places)
        audits.extend(await audits_of(store, session.settings.namespace, places))
        return found

    try:
        checks = session.run(look)
        if repair and any(audit.counts for audit in audits):
            _ask(audits, yes)
            repaired = _mend(session, audits, silent=as_json)
            audits.clear()
            checks = session.run(look)
    except StoreUnavailable as error:
        checks = [Check("reach", "fail", str(error), "start it, or mend the URL or the network")]
        code = exits.UNREACHABLE
    except StoreError as error:
        checks = [Check("reach", "fail", str(error), "mend what it says")]
        code = exits.code_of(error)
    checks += _of_audits(audits)
    failed = any(check.level == "fail" for check in checks)
    remain = any(audit.counts for audit in audits)
    if as_json:
        findings = [finding_shape(audit.queue, f) for audit in audits for f in audit.findings]
        shapes = [_shape(check) for check in checks]
        ok = not failed
        print_json({"ok": ok, "checks": shapes, "findings": findings, "repaired": repaired})
    else:
        for check in checks:
            level = coloured(f"{check.level:<4}", _COLOURS[check.level])
            remedy = f": {check.remedy}" if check.remedy else ""
            click.echo(f"{level}  {check.name:<12} {one_line(check.text + remedy)}")
    if repair and not code:
        return exits.FAILED if remain else exits.OK
    return code or (exits.FAILED if failed else exits.OK)


def _shape(check: Check) -> dict[str, Any]:
    shape = check._asdict()
    return {**shape, "remedy": shape["remedy"] or None}


def _of_audits(audits: list[Audit]) -> list[Check]:
    """A line for each kind of finding in each queue, or that all is well."""
    from taskq.cli.diagnosis import Check
    from taskq.cli.findings import KINDS, all_well, counted

    checks = []
    for audit in audits:
        if not audit.counts:
            checks.append(Check("audit", "ok", all_well(audit)))
        for code in sorted(audit.counts):
            harmless = code in KINDS and KINDS[code].harmless
            remedy = f"`taskq doctor --repair -q {audit.queue}`"
            level = "warn" if harmless else "fail"
            checks.append(Check("audit", level, counted(audit, code), remedy))
    return checks


def _ask(audits: list[Audit], yes: bool) -> None:
    """Stop unless somebody agrees."""
    from taskq.cli.findings import finding_line

    wrong = sum(audit.counts.total() for audit in audits)
    where = ", ".join(audit.queue for audit in audits if audit.counts)
    if yes:
        return
    if not sys.stdin.isatty():
        raise exits.Stop(f"{wrong} findings in {where} would be mended: say --yes", exits.REFUSED)
    for audit in audits:
        for finding in audit.findings[:20]:
            note(finding_line(audit.queue, finding))
    if not click.confirm(f"Mend {wrong} findings in {where}?", err=True):
        raise exits.Stop("nothing mended", exits.REFUSED)


def _mend(session: Session, audits: list[Audit], *, silent: bool) -> list[dict[str, str]]:
    """Repair the queues in which something is wrong; says each mend at once."""
    from taskq.audit import repair
    from taskq.cli.findings import mend_line, mend_shape
    from taskq.keys import QueueKeys
    from taskq.rights import check_rights

    shapes = []

    async def work(store: Store) -> None:
        for audit in audits:
            if not audit.counts:
                continue
            keys = QueueKeys(session.settings.namespace, audit.queue)
            await check_rights(store, keys, "repair")
            async for mends in repair(store, keys, session.settings):
                for mend in mends:
                    shapes.append(mend_shape(audit.queue, mend))
                    if not silent:
                        say(f"mended  {mend_line(audit.queue, mend)}")

    session.run(work)
    return shapes
