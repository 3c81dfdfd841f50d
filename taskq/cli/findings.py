"""Words for what an audit finds and a repair does. docs/operations.md has the same table."""

from __future__ import annotations

from typing import NamedTuple

from taskq.audit import Audit
from taskq.commands import Finding, Mend, Place


class Kind(NamedTuple):
    """One kind of finding: what is wrong, what repair does, and whether it costs no job."""

    wrong: str
    mend: str
    harmless: bool = False


KINDS = {
    "homeless": Kind(
        "a live job is in no index, so it would never run",
        "puts it back where its state says: waiting jobs are due now, a running one goes back to"
        " its worker, or is ready again when no worker can hold it (no crash is charged)",
    ),
    "misplaced": Kind(
        "an index lists a job whose home is elsewhere, or a limit a job that does not hold it",
        "drops that entry",
    ),
    "ghost": Kind("an index lists an id that has no record", "drops that entry"),
    "unknown-owner": Kind(
        "a worker holds jobs here, and the reaper does not know it",
        "lists it among the holders: if it is dead, the reaper takes its jobs back",
    ),
    "live-ttl": Kind("something that must stay would run out by itself", "takes its TTL away"),
    "no-ttl": Kind("something that has ended would stay for ever", "gives it its TTL"),
    "bad-score": Kind("a score is no rank and no time", "sets it anew from the job's own fields"),
    "bad-field": Kind(
        "a field holds what it never should",
        "removes the field, so that its default counts; the value is noted in quarantine",
    ),
    "unreadable": Kind("a record has no state, or one nobody knows", "moves it to quarantine"),
    "bad-name": Kind(
        "an id, worker or class is no valid name",
        "moves the key to quarantine, or notes the entry there and drops it",
    ),
    "wrong-type": Kind("a key holds another type than it must", "moves it to quarantine"),
    "unlisted": Kind(
        "jobs wait in a class that no worker looks for", "lists the class, so workers find it"
    ),
    "untimed": Kind(
        "jobs wait for a limit, or for a new rank, that nobody will look at",
        "has it looked at now",
    ),
    "uncounted": Kind(
        "a running job does not count under a limit that it holds", "counts it there"
    ),
    "stale": Kind(
        "a setting that copies something else says otherwise", "sets it to what it copies"
    ),
    "leftover": Kind(
        "notes about a worker that is gone; a timer of nothing; a unique key of no live job",
        "removes them",
        harmless=True,
    ),
    "stray": Kind(
        "a key under the queue's prefix that this taskq never writes",
        "moves it to quarantine",
        harmless=True,
    ),
}

_DONE = {
    "moved": "moved to quarantine",
    "removed": "removed",
    "kept": "its TTL is taken away",
    "expires": "it will expire",
    "set": "its score is set anew",
    "listed": "listed",
    "counted": "counted under its limit",
}


def place_words(place: Place) -> str:
    """A place of a queue for people; foreign bytes are escaped."""
    where, name = (_shown(word) for word in place)
    if where == "job":
        return f"job {name}"
    if where in ("zset", "hash", "set", "list", "string", "stray"):
        return f"key {name}"
    if where in ("meta", "suspects"):
        return f"{where} field {name}"
    return f"{name} in {where}"


def _shown(word: bytes) -> str:
    return word.decode("utf-8", "backslashreplace")


def finding_line(queue: str, finding: Finding) -> str:
    """One finding, in one line."""
    detail = f" ({finding.detail})" if finding.detail else ""
    return f"queue {queue}: {place_words(finding.place)}: {finding.code}{detail}"


def mend_line(queue: str, mend: Mend) -> str:
    """What was done about one finding, in one line."""
    home = mend.done.removeprefix("placed ")
    done = _DONE.get(mend.done) or f"put into {home}"
    return f"queue {queue}: {place_words(mend.place)}: {mend.code}: {done}"


def all_well(found: Audit) -> str:
    """What was looked at, when nothing is wrong."""
    text = f"{found.queue}: {found.jobs:,} jobs and {found.entries:,} entries are as they must be"
    if found.quarantined:
        text += f"; {found.quarantined} keys are in quarantine"
    return text


def counted(found: Audit, code: str) -> str:
    """All findings of one kind, in one line, with the first as an example."""
    example = next(finding for finding in found.findings if finding.code == code)
    detail = f" ({example.detail})" if example.detail else ""
    wrong = KINDS[code].wrong if code in KINDS else code
    times = "" if found.counts[code] == 1 else f"{found.counts[code]:,} times: "
    return f"{found.queue}: {times}{wrong} ({code}); {place_words(example.place)}{detail}"


def finding_shape(queue: str, finding: Finding) -> dict[str, str]:
    """A finding as JSON."""
    where, name = (_shown(word) for word in finding.place)
    return {
        "queue": queue,
        "code": finding.code,
        "where": where,
        "name": name,
        "detail": finding.detail,
    }


def mend_shape(queue: str, mend: Mend) -> dict[str, str]:
    """A mend as JSON."""
    where, name = (_shown(word) for word in mend.place)
    return {"queue": queue, "code": mend.code, "where": where, "name": name, "done": mend.done}
