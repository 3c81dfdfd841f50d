"""A trace through real workers: private server, two worker processes, one producer, one system.

Everything is divided by `speed`, so that a run takes seconds; records come back in trace seconds.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.child import BenchError, environment
from bench.replay.peers import python_of
from bench.replay.record import Record
from bench.replay.trace import Trace
from bench.server import Server
from taskq.keys import QueueKeys

Clock = Callable[[float], float]
ROOT = Path(__file__).resolve().parents[2]
_SYSTEMS = ROOT / "bench/replay/systems"
#: Workers that are ready have gone to sleep by then, s.
_SETTLE = 0.3
_TOO_LONG = 60.0
#: The slack that a peer's order is given: it tells no time of choice but the start itself, s.
PEER_MARGIN = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Which system replays, and how it is told to order."""

    system: str
    """taskq, bullmq or huey."""
    queue: Mapping[str, Any] = field(default_factory=dict)
    """taskq's settings of the queue."""
    priorities: bool = True
    deadlines: bool = True
    groups: bool = False
    expire: bool = False
    """Jobs past their deadline are dropped; else they run late (on_miss)."""
    admit: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay left: records, when the last worker began, how late the producer was."""

    records: list[Record]
    since: float
    late: float
    """p99 of how much later than planned a job was sent, trace s."""


def replay(
    server: Server,
    trace: Trace,
    setup: Setup,
    *,
    speed: float,
    workers: int = 2,
    waiting: bool = False,
    until: str | None = None,
    at_most: float = _TOO_LONG,
) -> Outcome:
    """Run a trace. `waiting`: all jobs are enqueued before the first worker starts. `until`: end
    when all jobs of this tenant have; or, in any case, after `at_most` s.
    """
    server.clear()
    with tempfile.TemporaryDirectory(prefix="taskq-bench-") as name:
        folder = Path(name)
        run = _Run(server, trace, setup, folder, speed, workers)
        run.write_order(waiting)
        if waiting:
            run.produce().wait(_TOO_LONG)
        with run.working():
            producer = None if waiting else run.produce()
            run.wait(until, at_most, producer)
            return run.outcome()


class _Run:
    def __init__(
        self,
        server: Server,
        trace: Trace,
        setup: Setup,
        folder: Path,
        speed: float,
        workers: int,
    ) -> None:
        self.server, self.trace, self.setup, self.folder = server, trace, setup, folder
        self.speed, self.workers = speed, workers
        self.slots = trace.slots // workers
        self._order = folder / "order.json"

    def write_order(self, waiting: bool) -> None:
        setup, jobs = self.setup, []
        for number, job in enumerate(self.trace.arrivals):
            jobs.append(
                {
                    "number": number,
                    "at": job.at / self.speed,
                    "service": job.service / self.speed,
                    "priority": job.priority if setup.priorities else None,
                    "deadline": job.deadline / self.speed
                    if setup.deadlines and job.deadline is not None
                    else None,
                    "group": job.tenant if setup.groups else None,
                    "admit": setup.admit,
                }
            )
        order = {
            "url": self.server.url,
            "slots": self.slots,
            "waiting": waiting,
            "priorities": setup.priorities,
            "expire": setup.expire,
            "queue": setup.queue,
            "jobs": jobs,
        }
        self._order.write_text(json.dumps(order))

    def _start(self, mode: str, notes: Path) -> subprocess.Popen[bytes]:
        env = environment(BENCH_ORDER=str(self._order), BENCH_NOTES=str(notes))
        if self.setup.system != "taskq":
            script = _SYSTEMS / f"{self.setup.system}_replay.py"
            command = [str(python_of(self.setup.system)), str(script), mode]
            env.pop("PYTHONPATH")
        elif mode == "produce":
            command = [sys.executable, "-m", "bench.replay.systems.taskq_replay"]
        else:
            worker = ["-m", "taskq", "worker", "bench.replay.systems.taskq_app:app"]
            command = [sys.executable, *worker, "-c", str(self.slots)]
        with (self.folder / f"{notes.name}.log").open("wb") as log:
            return subprocess.Popen(
                command, env=env, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )

    def produce(self) -> subprocess.Popen[bytes]:
        return self._start("produce", self.folder / "sent")

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Workers that are ready; told to stop at the end, and killed when they do not."""
        files = [self.folder / f"worker-{number}" for number in range(self.workers)]
        processes = [self._start("work", file) for file in files]
        try:
            end = time.monotonic() + 20
            while not all(file.exists() for file in files):
                self._check(processes)
                if time.monotonic() > end:
                    raise BenchError(f"{self.setup.system}: no worker within 20 s: {self._said()}")
                time.sleep(0.01)
            time.sleep(_SETTLE)
            yield
        finally:
            for process in processes:
                process.kill()  # nothing is kept: the server is cleared before the next run
                process.wait()

    def _check(self, processes: list[subprocess.Popen[bytes]]) -> None:
        if any(process.poll() is not None for process in processes):
            raise BenchError(f"{self.setup.system}: a process ended early: {self._said()}")

    def _said(self) -> str:
        texts = [path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log"))]
        return "\n".join(texts)[-2000:]

    def _lines(self, pattern: str) -> Iterator[list[str]]:
        for path in sorted(self.folder.glob(pattern)):
            if path.suffix != ".log":
                for line in path.read_text().splitlines():
                    yield line.split()

    def wait(
        self, until: str | None, at_most: float, producer: subprocess.Popen[bytes] | None
    ) -> None:
        """Until all jobs have ended, those of one tenant have, or time is over."""
        jobs = self.trace.arrivals
        wanted = {n for n, job in enumerate(jobs) if until in (None, job.tenant)}
        end = time.monotonic() + at_most
        try:
            while time.monotonic() < end:
                if producer is not None and producer.poll() not in (None, 0):
                    raise BenchError(f"{self.setup.system}: the producer ended: {self._said()}")
                done = {int(words[0]) for words in self._lines("worker-*") if len(words) == 5}
                if len(done & wanted) + self._dropped() >= len(wanted):
                    return
                time.sleep(0.1)
        finally:
            if producer is not None:
                producer.terminate()
                producer.wait(10)

    def _dropped(self) -> int:
        """Jobs that no worker saw: expired while they waited."""
        if not self.setup.expire:
            return 0
        return int(self.server.client.hget(QueueKeys("bench", "default").stats, "expired") or 0)

    def outcome(self) -> Outcome:
        """Records of all jobs that were sent, on the trace's clock."""
        sent = {int(words[0]): words for words in self._lines("sent") if len(words) >= 3}
        first = min(int(words[1]) for words in sent.values())
        # The first job was sent at its time; the others' times are counted from there.
        zero = first / 1e9 - self.trace.arrivals[min(sent)].at / self.speed

        def clock(seconds: float) -> float:
            return (seconds - zero) * self.speed

        runs = {}
        for words in self._lines("worker-*"):  # what has an end comes after what began
            runs[int(words[0])] = words
        records, late = [], []
        for number, words in sorted(sent.items()):
            record = Record(number, clock(int(words[2]) / 1e9), 0.0)
            late.append(clock(int(words[1]) / 1e9) - self.trace.arrivals[number].at)
            if number in runs:
                self._note_run(record, runs[number], clock)
            if len(words) == 5 and words[4] != "0":
                record.predicted = clock(int(words[4]) / 1000)
            records.append(record)
        if self.setup.system == "taskq":
            self._look(records, {n: words[3] for n, words in sent.items()}, clock)
        else:
            for record in records:
                urgent = self.trace.arrivals[record.number].priority
                record.rank = -float(urgent) if self.setup.priorities else 0.0
        late.sort()
        return Outcome(records, clock(self._all_began()), late[int(len(late) * 0.99)])

    @staticmethod
    def _note_run(record: Record, words: list[str], clock: Clock) -> None:
        """A run that has begun, or ended too: number, start, (end, was it its own,) token."""
        record.started = clock(int(words[1]) / 1e9)
        if len(words) == 5:
            end = clock(int(words[2]) / 1e9)
            record.ended, record.stopped = (end, None) if words[3] == "1" else (None, end)
        if words[-1] != "0" and len(words) > 2:
            record.decided = clock(int(words[-1]) / 1e6)

    def _all_began(self) -> float:
        """When the last of the workers began its first job, Unix time."""
        firsts = []
        for number in range(self.workers):
            began = [int(words[1]) for words in self._lines(f"worker-{number}")]
            firsts.append(min(began, default=0) / 1e9)
        return max(firsts)

    def _look(self, records: list[Record], ids: Mapping[int, str], clock: Clock) -> None:
        """Ranks and times as the server has them. A time in ms counts as the end of that ms."""
        prefix = QueueKeys("bench", "default").prefix + "job:"
        client: Any = self.server.client
        with client.pipeline(transaction=False) as pipe:
            for record in records:
                pipe.hmget(prefix + ids[record.number], "rank", "enqueued_ms", "ended_ms")
            found = pipe.execute()
        for record, (rank, enqueued, ended) in zip(records, found, strict=True):
            record.rank = float(rank or "inf")
            if enqueued is not None:
                record.enqueued = clock((int(enqueued) + 1) / 1000)
            if record.started is None and ended is not None:
                record.stopped = clock(int(ended) / 1000)
