"""What really happened, written to a file outside Redis by whoever it happened to.

Every process of a scenario appends to the same file: one JSON object a line, one write(2) with
O_APPEND a line, so that lines of many processes never mix and a SIGKILL loses nothing that was
written. Times are CLOCK_MONOTONIC, which all processes of one machine share and which no change of
a wall clock moves. Judging what it says is the checker's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Where the processes of a scenario find its folder.
FOLDER = "TASKQ_TEST_CHAOS_FOLDER"

Event = dict[str, Any]

#: what            told by    means
#: tried           producer   an enqueue is about to be sent: job, mark
#: returned        producer   it returned: job
#: refused         producer   it raised, and nothing was enqueued: job, error
#: unknown         producer   it raised, and nobody can know: job, error
#: start           task       a run began: job, token, worker, pid, attempt, mark
#: tick            task       the run's code is still at it
#: told            task       the run was told to stop: why (cancelled, lease_lost)
#: end             task       the run is over: how (done, failed, stopped, exits)
#: sink            sink       a fenced store was asked to write: job, token, accepted
#: fault           bed        a fault held since .. until (null: to the end): kind, pids (none: all)
#: died            bed        a process was seen dead: pid
RUN_WHATS = ("start", "tick", "told", "end")


class Ledger:
    """The ledger of one scenario, in its folder."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / "ledger"
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def note(self, what: str, **fields: object) -> float:
        """Append one event and return its time."""
        now = time.monotonic()
        line = json.dumps({"at": now, "what": what, **fields}, separators=(",", ":"))
        os.write(self._fd, line.encode() + b"\n")
        return now

    def close(self) -> None:
        os.close(self._fd)

    def events(self) -> list[Event]:
        """Everything written so far, in the order of writing."""
        return list(self.since(0)[0])

    def since(self, offset: int) -> tuple[list[Event], int]:
        """What was written after `offset` (0: all), and the offset for the next look."""
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        return list(_parsed(whole)), offset + len(whole)


def _parsed(data: bytes) -> Iterator[Event]:
    for line in data.splitlines():
        yield json.loads(line)


_opened: tuple[int, Ledger] | None = None


def mine() -> Ledger:
    """In a process of a scenario: its ledger, opened once a process (also after a fork)."""
    global _opened
    if _opened is None or _opened[0] != os.getpid():
        _opened = (os.getpid(), Ledger(os.environ[FOLDER]))
    return _opened[1]
