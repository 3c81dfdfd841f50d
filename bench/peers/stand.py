"""What a scenario has in its hands: a server, workers and a producer of one system, in one round.

Scenarios ask for a worker for a kind of job, and get the one that runs already where it suits.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.child import BenchError, environment
from bench.peers.processes import Board, Fleet, Sender, Worker
from bench.peers.table import System
from bench.server import Server

_STARTS_WITHIN = 20.0
_ANSWERS_WITHIN = 10.0
#: A worker that has run its first job is left alone for a moment before anything is measured.
_SETTLE = 0.25


class NoStart(BenchError):
    """A worker that does not come up; the message says what it said."""


@dataclass(slots=True)
class Stand:
    """One system on one server. A context: all its processes are gone afterwards."""

    system: System
    python: str
    server: Server
    scale: float = 1.0
    """Times are multiplied by it: less with --quick."""
    _folder: tempfile.TemporaryDirectory[str] = field(init=False)
    _fleet: Fleet | None = field(init=False, default=None)
    _is_for: tuple[int, int, bool] | None = field(init=False, default=None)
    _sender: Sender | None = field(init=False, default=None)
    _sends_for: bool = field(init=False, default=False)
    _boards: int = field(init=False, default=0)
    ways: tuple[str, ...] = field(init=False, default=())

    def __enter__(self) -> Stand:
        self._folder = tempfile.TemporaryDirectory(prefix="taskq-peers-")
        self.server.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()
        self._folder.cleanup()

    def drop(self) -> None:
        """End every process; the next scenario begins with new ones, on an empty server.

        Never a part of them: a client that goes on when the server has been emptied under it may
        miss what it made there once, such as a consumer group.
        """
        if self._sender:
            self._sender.end()
        if self._fleet:
            self._fleet.end()
        self._fleet = self._sender = self._is_for = None
        self.server.clear()

    @property
    def stamps(self) -> Path:
        """The file in which `stamp` tasks note their delays, ns."""
        path = Path(self._folder.name) / "stamps"
        path.touch()
        return path

    def _environment(self, slots: int, results: bool, **words: str) -> dict[str, str]:
        return environment(
            BENCH_URL=self.server.url,
            BENCH_SLOTS=str(slots),
            BENCH_RESULTS="1" if results else "0",
            BENCH_STAMPS=str(self.stamps),
            **words,
        )

    def workers(self, kind: str, *, count: int = 1, results: bool = False) -> Fleet:
        """Workers that are warm: each has run a job."""
        slots = self.system.slots_for(kind)
        results = results and self.system.results == "asked"
        if self._fleet is None or self._is_for != (slots, count, results):
            self.drop()
            self._fleet = Fleet([self._start(slots, index, results) for index in range(count)])
            self._is_for = (slots, count, results)
            self._warm(self._fleet, results)
        return self._fleet

    def _start(self, slots: int, index: int, results: bool) -> Worker:
        self._boards += 1
        board = Board(Path(self._folder.name) / f"board-{self._boards}")
        words = [
            word.format(slots=slots, index=self._boards, url=self.server.url)
            for word in self.system.worker
        ]
        env = self._environment(slots, results, BENCH_BOARD=str(board.path))
        return Worker([self.python, *words], env, board)

    def _warm(self, fleet: Fleet, results: bool) -> None:
        """Send no-ops until each worker has run one."""
        sent, next_at = 0, 0.0

        def warm() -> bool:
            nonlocal sent, next_at
            if time.monotonic() >= next_at and sent < 2_000:
                next_at = time.monotonic() + 0.2
                sent += self.fill("noop", 5 * len(fleet.workers), results=results)["count"]
            return all(worker.board.ran for worker in fleet.workers) and fleet.ran >= sent

        try:
            fleet.wait_until(warm, _STARTS_WITHIN, "start")
        except BenchError as error:
            raise NoStart(str(error)) from None
        time.sleep(_SETTLE)

    def ask(self, within: float = _ANSWERS_WITHIN, *, results: bool = False, **words: Any) -> Any:
        """Have the producer do something."""
        results = results and self.system.results == "asked"
        if self._sender is None or self._sends_for != results:
            if self._sender:
                self._sender.end()
            env = self._environment(self.system.slots_for(""), results)
            command = [self.python, "-m", "bench.peers.producer", self.system.name]
            self._sender, self._sends_for = Sender(command, env), results
            self.ways = tuple(self._sender.ask(_STARTS_WITHIN, do="ways")["ways"])
        try:
            return self._sender.ask(within, **words)
        except BenchError:
            self._sender.end()
            self._sender = None
            raise

    def fill(
        self,
        task: str,
        count: int,
        *,
        seconds: float = 1.0,
        payload: int = 0,
        results: bool = False,
    ) -> dict[str, Any]:
        """Enqueue up to so many jobs, for about so long."""
        words = {"task": task, "count": count, "seconds": seconds, "payload": payload}
        answer: dict[str, Any] = self.ask(seconds + 10, results=results, do="fill", **words)
        return answer

    def left(self) -> int:
        """Jobs not yet ended, as far as the system's keys tell."""
        return self.system.left(self.server.client)
