"""Workers and producers as processes of a run: each worker a session of its own, so that all of
it can be measured, held and ended, whatever processes it starts."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from bench.child import ROOT, BenchError
from bench.peers.kit import COUNTERS

_LOG_LINES = 12


class Board:
    """The counters that the tasks of one worker add to; see bench/peers/kit.py."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(8 * COUNTERS))
        self.path = path
        self._file = path.open("rb", buffering=0)

    @property
    def ran(self) -> int:
        """Jobs that have run."""
        self._file.seek(0)
        taken = min(int.from_bytes(self._file.read(8), "little"), COUNTERS - 1)
        return sum(memoryview(self._file.read(8 * taken)).cast("Q"))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Child:
    """A process of its own session. What it writes goes to a file; with `pipes` its stdin and
    stdout are ours.
    """

    def __init__(self, command: Sequence[str], env: dict[str, str], *, pipes: bool = False) -> None:
        self._log = tempfile.TemporaryFile(mode="w+", errors="replace")  # noqa: SIM115 (`end`)
        self._process = psutil.Popen(
            command,
            env=env,
            cwd=ROOT,
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    @property
    def last_words(self) -> str:
        """The end of what it has written."""
        self._log.seek(0)
        return "".join(self._log.readlines()[-_LOG_LINES:])

    def end(self) -> None:
        """Kill it."""
        self._signal(signal.SIGKILL)
        with contextlib.suppress(psutil.TimeoutExpired):
            self._process.wait(5)
        if not self._log.closed:
            self._log.close()


class Worker(Child):
    """One worker process and all that it starts."""

    def __init__(self, command: Sequence[str], env: dict[str, str], board: Board) -> None:
        self.board = board
        super().__init__(command, env)

    def hold(self) -> None:
        """Stop it where it is, so that a queue can be filled beside a warm worker."""
        self._signal(signal.SIGSTOP)

    def go(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Kill it: what it has left to say is in the board."""
        super().end()
        self.board.close()

    @property
    def ended(self) -> bool:
        """True when it is gone."""
        return self._process.poll() is not None

    def _family(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return [self._process, *self._process.children(recursive=True)]
        return []

    @property
    def cpu(self) -> float:
        """CPU seconds so far of all its processes, those that have ended included."""
        total = 0.0
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                total += sum(process.cpu_times()[:4])
        return total

    @property
    def memory(self) -> int:
        """Resident bytes; of several processes, their proportional share, added up."""
        family = self._family()
        if len(family) == 1:
            return int(family[0].memory_info().rss)
        total = 0
        for process in family:
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total


class Fleet:
    """The workers of one scenario, as one."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = tuple(workers)

    @property
    def ran(self) -> int:
        return sum(worker.board.ran for worker in self.workers)

    @property
    def cpu(self) -> float:
        return sum(worker.cpu for worker in self.workers)

    @property
    def memory(self) -> int:
        """Of one of them, the mean."""
        return sum(worker.memory for worker in self.workers) // len(self.workers)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Stopped while the block runs."""
        for worker in self.workers:
            worker.hold()
        try:
            yield
        finally:
            for worker in self.workers:
                worker.go()

    def wait_until(
        self, done: Callable[[], bool], seconds: float, what: str, *, every: float = 0.002
    ) -> None:
        """Ask `done` until it is true. BenchError when a worker ends or the time is over."""
        end = time.monotonic() + seconds
        while not done():
            for worker in self.workers:
                if worker.ended:
                    raise BenchError(f"the worker ended before it did {what}: {worker.last_words}")
            if time.monotonic() > end:
                words = self.workers[0].last_words
                raise BenchError(f"no {what} within {seconds:g} s: {words}")
            time.sleep(every)

    def end(self) -> None:
        for worker in self.workers:
            worker.end()


class Sender(Child):
    """A producer process that is asked again and again; see bench/peers/producer.py."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        super().__init__(command, env, pipes=True)

    def ask(self, within: float, **words: Any) -> dict[str, Any]:
        """Have one thing done. BenchError when it fails or is not answered in time."""
        try:
            self._process.stdin.write(json.dumps(words).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise BenchError(f"the producer ended: {self.last_words}") from None
        if not select.select([self._process.stdout], [], [], within)[0]:
            raise BenchError(f"the producer did not {words['do']} within {within:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"the producer ended: {self.last_words}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BenchError(f"{words['do']}: {answer['error']}")
        return answer

    def end(self) -> None:
        """Kill it."""
        super().end()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
