"""A schedule as a value, and the text it is in Redis: JSON that a person can read there.

What a tick enqueues is fixed when the schedule is written, arguments included, so every worker can
fire it, also one that does not know the task.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from taskq.commands import NewJob
from taskq.cron.rules import Cron, Rule, cron_line, every_rule
from taskq.errors import InvalidName, InvalidOption
from taskq.keys import check_name, is_name
from taskq.options import Word
from taskq.partition import partition_of

MISSED: Final = ("skip", "once", "all")
OVERLAP: Final = ("allow", "skip")
#: The longest name of a schedule: the ids of its jobs have a time behind it.
LONGEST_NAME: Final = 40


class Unreadable(ValueError):
    """Text that is no schedule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When to enqueue what. `job` is a pattern: its id is not used.

    `call`: the task with its arguments, for people. `declared`: an app's code says it, and its
    workers write it anew when they start. `paused_ms`: since when it is paused.
    """

    name: str
    rule: Rule
    job: NewJob
    call: str
    missed: str = "once"
    overlap: str = "allow"
    declared: bool = False
    paused_ms: int | None = None

    def to_text(self) -> str:
        """Its definition in Redis; the same for equal schedules."""
        rule = self.rule
        words: dict[str, Any] = {"call": self.call, "task": self.job.task}
        if isinstance(rule, Cron):
            words |= {"cron": rule.line, "tz": rule.tz}
        else:
            words["every_seconds"] = rule.seconds
        words |= {"missed": self.missed, "overlap": self.overlap, "declared": self.declared}
        if self.paused_ms is not None:
            words["paused_ms"] = self.paused_ms
        words["job"] = _pattern(self.job)
        return json.dumps(words, ensure_ascii=False)

    @classmethod
    def from_text(cls, name: str, text: str) -> Schedule:
        """Read a definition; Unreadable when it is none. Words it does not know are let go."""
        try:
            words = json.loads(text)
            rule: Rule
            if "cron" in words:
                # A time zone that is unknown here may be known to others.
                rule = Cron(cron_line(words["cron"]), _text(words["tz"]))
            else:
                rule = every_rule(words["every_seconds"])
            paused = words.get("paused_ms")
            return cls(
                name=check_schedule_name(name),
                rule=rule,
                job=_job(_text(words["task"]), words["job"]),
                call=_text(words["call"]),
                missed=_one_of(words["missed"], MISSED),
                overlap=_one_of(words["overlap"], OVERLAP),
                declared=words["declared"] is True,
                paused_ms=None if paused is None else _number(paused),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from None

    def paused(self, since_ms: int | None) -> Schedule:
        """The same, paused since then; None: it is not."""
        return replace(self, paused_ms=since_ms)

    def new_job(self, job_id: str, *more: Word) -> NewJob:
        """A job of this schedule. `more`: field names and values besides."""
        extras = self.job.extras
        if self.overlap == "skip":
            extras += ("key", f"cron:{self.name}", "@unique", "running keep")
        return self.job._replace(id=job_id, extras=(*extras, *more))


def check_schedule_name(name: object) -> str:
    """A name a schedule may have, else InvalidName."""
    found = check_name(name, "schedule")
    if len(found) > LONGEST_NAME:
        raise InvalidName(
            f"schedule {found!r} has {len(found)} characters, {LONGEST_NAME} are the most,"
            " as the ids of its jobs begin with it: pass a shorter name="
        )
    return found


def check_policies(missed: object, overlap: object, job: NewJob | None = None) -> tuple[str, str]:
    """What is to happen with ticks that were missed, and while a run goes on; InvalidOption when
    there is no such way.
    """
    for option, value, words in (("missed", missed, MISSED), ("overlap", overlap, OVERLAP)):
        if value not in words:
            raise InvalidOption(f"{option}={value!r:.60}: use one of {', '.join(words)}")
    if overlap == "skip" and job is not None and "key" in job.extras[::2]:
        raise InvalidOption("overlap='skip' and key= were both given: use one of them")
    return str(missed), str(overlap)


def tick_id(name: str, tick_ms: int, queue: str, partitions: int = 1) -> str:
    """The id of a tick's job: the same whoever fires it. Jobs of schedules are in the first
    partition of a queue, and where a job is follows from its id, so there a number makes it fit.
    """
    moment = datetime.fromtimestamp(tick_ms // 1000, UTC)
    plain = f"{name}-{moment:%Y%m%dT%H%M%SZ}"
    if partitions == 1:
        return plain
    numbered = (f"{plain}.{number}" for number in itertools.count())
    return next(one for one in numbered if partition_of(queue, one, partitions) == queue)


def _pattern(job: NewJob) -> dict[str, Any]:
    """What is to be known of a job, in JSON's types."""
    names = [str(name) for name in job.extras[::2]]
    return {
        "payload": _packed(job.payload),
        "priority": job.priority,
        "at": job.at,
        "deadline": job.deadline,
        "class": job.job_class,
        "fields": {
            name: _packed(value) if isinstance(value, bytes) else value
            for name, value in zip(names, job.extras[1::2], strict=True)
        },
    }


def _job(task: str, words: dict[str, Any]) -> NewJob:
    extras: list[Word] = []
    for name, value in words["fields"].items():
        if isinstance(value, dict):
            value = _unpacked(value)
        elif not isinstance(value, (str, int, float)):
            raise Unreadable(f"field {name}")
        extras += (name, value)
    if not is_name(task):
        raise Unreadable("task")
    return NewJob(
        "",
        task,
        _unpacked(words["payload"]),
        _number(words["priority"]),
        _text(words["at"]),
        _text(words["deadline"]),
        _text(words["class"]),
        tuple(extras),
    )


def _packed(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode()}


def _unpacked(value: dict[str, str]) -> bytes:
    try:
        return base64.b64decode(value["base64"], validate=True)
    except binascii.Error as error:
        raise Unreadable(str(error)) from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Unreadable(f"{value!r:.60} is no text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unreadable(f"{value!r:.60} is no whole number")
    return value


def _one_of(value: object, words: tuple[str, ...]) -> str:
    if value not in words:
        raise Unreadable(f"{value!r:.60} is none of {', '.join(words)}")
    return str(value)
