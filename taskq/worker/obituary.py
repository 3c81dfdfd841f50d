"""What a supervisor knows of a child that died, and how it came to know: the lives the child had
told it of. No I/O but one line on a pipe.

A child tells (queue, worker id) pairs, one JSON line each, when it begins and whenever it goes on
under a new id.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Obituary:
    """Who is dead: `lives` are (queue, worker id), `how` is for people, as `killed by SIGKILL`."""

    lives: tuple[tuple[str, str], ...]
    how: str

    def to_mark(self) -> dict[str, object]:
        """As it travels to the next child."""
        return {"lives": [list(life) for life in self.lives], "how": self.how}

    @classmethod
    def from_mark(cls, mark: Any) -> Obituary | None:
        """What `to_mark` made; None for anything else."""
        try:
            lives = tuple((str(queue), str(worker)) for queue, worker in mark["lives"])
            return cls(lives, str(mark["how"]))
        except (KeyError, TypeError, ValueError):
            return None


def tell_life(pipe: int, queue: str, worker: str) -> None:
    """In a child: this process works for `queue` as `worker`. Never blocks, never fails: without it
    the reaper takes over.
    """
    with contextlib.suppress(OSError):
        os.write(pipe, json.dumps([queue, worker]).encode() + b"\n")


def read_lives(told: bytes) -> tuple[tuple[str, str], ...]:
    """The lives a child told of, in order; a line cut short by its death is left out."""
    lives = []
    for line in told.splitlines():
        with contextlib.suppress(ValueError):
            queue, worker = json.loads(line)
            lives.append((str(queue), str(worker)))
    return tuple(lives)


def how_it_ended(code: int) -> str:
    """An exit code of asyncio's subprocess in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
