"""A store outside Redis that honours fencing tokens: smaller than the largest seen is refused."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tests.chaos.ledger import Ledger


class FencedSink:
    """One file a job in `folder`: the largest token seen and what was written with it."""

    def __init__(self, folder: str | os.PathLike[str], ledger: Ledger) -> None:
        self._folder = Path(folder) / "sink"
        self._folder.mkdir(exist_ok=True)
        self._ledger = ledger

    def write(self, job: str, token: int, text: str) -> bool:
        """Store `text` for `job` unless a newer lease has written; whether it was stored."""
        fd = os.open(self._folder / job, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            seen = os.read(fd, 1 << 16).decode().partition("\n")[0]
            accepted = not seen or token >= int(seen)
            if accepted:
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{token}\n{text}".encode(), 0)
            # Before the lock is given up, so that the ledger has the order of the writes.
            self._ledger.note("sink", job=job, token=token, accepted=accepted)
            return accepted
        finally:
            os.close(fd)

    def read(self, job: str) -> tuple[int, str]:
        """The winning token and text."""
        token, _, text = (self._folder / job).read_text().partition("\n")
        return int(token), text
