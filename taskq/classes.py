"""Capability classes: which workers may run a job, as one word made of parts.

A class is its parts joined by `+`: labels the worker must provide (`gpu`, `region=eu`), `process`
(a free process), `task.<name>` (the task's code), `fragile` (one such run at a time). '' is the
common class, which every worker of the queue serves. Pure rules, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import combinations

from taskq.errors import InvalidOption

COMMON = ""
#: Part of jobs that need a process; a worker serves it with process slots.
PROCESS = "process"
#: Part of jobs whose next lost worker makes them dead; a worker runs one of them at a time.
FRAGILE = "fragile"
#: Begins the part of jobs that were left to workers which know the task.
TASK = "task."
#: Characters that the labels of one job may have, joined; with all other parts a class has at most
#: 200 (see keys.check_class).
LABELS_LENGTH = 110

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,32}(=[A-Za-z0-9_.-]{1,32})?", re.ASCII)
_RULE = (
    "a label is 1 to 32 letters, digits, '_' or '-', and may have a value: gpu, region=eu;"
    " 'process' and 'fragile' are taken"
)


def check_labels(name: str, value: object) -> tuple[str, ...]:
    """Labels, sorted, each once; a text is one label. InvalidOption, in one line, naming `name`."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple, set, frozenset)):
        raise InvalidOption(f"{name}={_show(value)}: use a set of labels; {_RULE}")
    for label in listed:
        if not isinstance(label, str) or not _LABEL.fullmatch(label) or label in (PROCESS, FRAGILE):
            raise InvalidOption(f"{name}: {_show(label)} is no label: {_RULE}")
    labels = tuple(sorted(set(listed)))
    if len("+".join(labels)) > LABELS_LENGTH:
        raise InvalidOption(
            f"{name}: {len(labels)} labels of {len('+'.join(labels))} characters are too many:"
            f" use at most {LABELS_LENGTH} characters, joined by '+'"
        )
    return labels


def is_label(part: str) -> bool:
    """Is this part of a class a label that a worker provides?"""
    return part not in (PROCESS, FRAGILE) and not part.startswith(TASK)


def compose(parts: Iterable[str]) -> str:
    """The class of these parts, each once: sorted, but `fragile` always first, as the script that
    adds it puts it there.
    """
    kept = sorted(set(parts) - {COMMON})
    if FRAGILE in kept:
        kept.remove(FRAGILE)
        kept.insert(0, FRAGILE)
    return "+".join(kept)


def parts(job_class: str) -> tuple[str, ...]:
    """The parts of a class; none for the common one."""
    return tuple(part for part in job_class.split("+") if part)


def with_part(job_class: str, part: str) -> str:
    """The class with one part more; it keeps what it had."""
    return compose((*parts(job_class), part))


def lacks(
    job_class: str, labels: Collection[str], tasks: Collection[str], processes: bool
) -> list[str]:
    """The parts of a class that a worker with these labels, tasks and process slots does not
    satisfy.
    """
    missing = []
    for part in parts(job_class):
        if part == PROCESS:
            able = processes
        elif part.startswith(TASK):
            able = part.removeprefix(TASK) in tasks
        else:
            able = part == FRAGILE or part in labels
        if not able:
            missing.append(part)
    return missing


def expected(labels: Sequence[str], processes: bool) -> tuple[str, ...]:
    """Classes that a worker with these labels can expect jobs of, though it has not seen any: one
    label, two, or all, each with a process too where it has some. At most 128.
    """
    chosen = [*combinations(labels, 1), *combinations(labels, 2), tuple(labels)]
    plain = list(dict.fromkeys(compose(some) for some in chosen if some))
    both = [*plain, *(with_part(name, PROCESS) for name in plain if processes)]
    return tuple(both[:128])


def serves(
    job_class: str, labels: Collection[str], tasks: Collection[str], processes: bool
) -> bool:
    """Would a worker with these labels, tasks and process slots run jobs of this class?"""
    return not lacks(job_class, labels, tasks, processes)


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
