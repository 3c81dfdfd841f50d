"""What `key=`, `unique=` and `on_duplicate=` become on the wire. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from taskq.errors import InvalidOption
from taskq.options import Options, Word
from taskq.template import LONGEST_KEY, fill


class Unique(NamedTuple):
    """A job that is unique: what is sent with it."""

    extras: tuple[Word, ...]
    limit: str
    """A limit it names, so that it waits until the run of its key has ended; ''."""
    apart: str
    """Jobs with the same word go in different calls; ''."""


def unique_words(
    options: Options, task: str, payload: bytes, values: Callable[[], Mapping[str, object]]
) -> Unique | None:
    """None for a job that is not unique. Without a key its task and arguments are the key."""
    unique, choice = options.unique, options.on_duplicate
    if unique is None:
        if options.key is not None:
            raise InvalidOption(
                f"key={options.key!r}: say unique='queued', 'running' or a number of seconds too"
            )
        if choice is not None:
            raise InvalidOption(f"on_duplicate={choice!r}: belongs to unique=")
        return None
    if options.key is None:
        key = f"{task}:{hashlib.blake2b(payload, digest_size=12).hexdigest()}"
    else:
        key = fill(options.key, "key", values, LONGEST_KEY)
    choice = choice or "keep"
    mode = unique if isinstance(unique, str) else str(max(1, round(unique * 1000)))
    limit = ""
    if mode == "running" and choice == "replace":
        # A running job cannot be replaced: the newest waits for its end, and only the newest.
        mode, limit = "queued", f"key:{key}"
    return Unique(
        ("key", key, "@unique", f"{mode} {choice}"), limit, "" if choice == "keep" else key
    )
