"""Takes a long run: one worker, one producer at a steady rate, and a look every few seconds."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench import systems
from bench.child import ROOT, BenchError, WorkerProcess, environment
from bench.endurance.delays import Delays, share_ms, since
from bench.endurance.record import Moment, Record
from bench.server import Server
from taskq.keys import QueueKeys

#: Rates that are tried, jobs/s, and for how long each, s.
_LADDER = [6_000 * 1.3**step for step in range(9)]
_TRY = 2.0
#: A rate is sustained when so much of it was sent, and no more than so many seconds of it wait.
_KEPT_UP, _BEHIND = 0.97, 0.05
_DRAINS_WITHIN = 60.0

Say = Callable[[str], None]


class Producer:
    """The process that sends; its CPU and memory from outside, its answer when it has ended."""

    def __init__(self, env: dict[str, str], rate: float, seconds: float) -> None:
        command = [sys.executable, "-m", "bench.endurance.producer", str(rate), str(seconds)]
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 (closed by `end`)
        self._process = psutil.Popen(
            command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def usage(self) -> tuple[float, int]:
        """CPU seconds so far, resident bytes; psutil.NoSuchProcess when it has ended."""
        with self._process.oneshot():
            times = self._process.cpu_times()
            return float(times.user + times.system), int(self._process.memory_info().rss)

    def wait(self, seconds: float) -> None:
        """Until it ends, for so long at most."""
        try:
            self._process.wait(seconds)
        except psutil.TimeoutExpired:
            return

    def answer(self) -> dict[str, Any]:
        """What it says once it has ended; BenchError when it failed."""
        output, _ = self._process.communicate()
        if self._process.returncode:
            self._errors.seek(0)
            raise BenchError(f"the producer failed:\n{self._errors.read()[-1500:]}")
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        return found

    def end(self) -> None:
        """Gone, whatever it was doing."""
        if self.running:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()


@dataclass(slots=True)
class Stand:
    """A server of the run's own, its worker, and what the queue and the tasks have counted."""

    server: Server
    worker: WorkerProcess
    env: dict[str, str]
    delays: Delays
    stats: str = field(init=False)

    def __post_init__(self) -> None:
        self.stats = QueueKeys(self.server.namespace, "default").stats

    def counts(self) -> tuple[int, int]:
        """Jobs enqueued, jobs completed."""
        found: Any = self.server.client.hmget(self.stats, "enqueued", "completed")
        return int(found[0] or 0), int(found[1] or 0)

    @contextmanager
    def producing(self, rate: float, seconds: float) -> Iterator[Producer]:
        """A producer that sends from now on."""
        producer = Producer(self.env, rate, seconds)
        try:
            yield producer
        finally:
            producer.end()

    def drain(self) -> None:
        """Wait until nothing is left; BenchError when that takes too long."""
        self.worker.wait_until(lambda: len(set(self.counts())) == 1, _DRAINS_WITHIN, "finish")


@contextmanager
def stand(server: Server, keep: float) -> Iterator[Stand]:
    """A worker with default settings, as a user starts it; results are kept for `keep` seconds."""
    with tempfile.TemporaryDirectory(prefix="taskq-soak-") as folder:
        path = Path(folder) / "delays"
        delays = Delays(path)
        env = environment(
            BENCH_URL=server.url,
            BENCH_NAMESPACE=server.namespace,
            BENCH_KEEP=str(keep),
            BENCH_DELAYS=str(path),
        )
        command = [sys.executable, "-m", "taskq", "worker", "bench.endurance.app:app"]
        system = systems.system("taskq", server.url, server.namespace)
        try:
            with WorkerProcess(command, env, system.worker_is_up) as worker:
                yield Stand(server, worker, env, delays)
        finally:
            system.close()
            delays.close()


def probe(server: Server, say: Say) -> float:
    """The highest of the tried rates (jobs/s) that producer, worker and server sustain together.

    BenchError when it is none of them.
    """
    best = 0.0
    with stand(server, 1.0) as found:
        for rate in _LADDER:
            with found.producing(rate, _TRY) as producer:
                answer = producer.answer()
                enqueued, completed = found.counts()
            say(f"{rate:,.0f} jobs/s: {answer['rate']:,.0f} sent, {enqueued - completed:,} wait")
            if answer["rate"] < _KEPT_UP * rate or enqueued - completed > _BEHIND * rate:
                break
            best = rate
            found.drain()
    server.clear()
    if not best:
        raise BenchError(f"this machine does not sustain {_LADDER[0]:,.0f} jobs/s; give --rate")
    return best


def take(server: Server, record: Record, say: Say) -> None:
    """Run for as long as the record says, and note in it what is found."""
    with stand(server, record.keep) as found:
        with found.producing(record.wanted, record.seconds) as producer:
            _watch(found, producer, record, say)
            answer = producer.answer()
        for name in ("rate", "sent", "failed", "trouble"):
            setattr(record, name, answer[name])
        try:
            found.drain()
        except BenchError as error:
            record.trouble = record.trouble or str(error)
        record.enqueued, record.completed = found.counts()
        record.started = sum(found.delays.read())


def _watch(found: Stand, producer: Producer, record: Record, say: Say) -> None:
    """Look every so often until the producer ends."""
    began = time.monotonic()
    watch = _Watch(found, producer, began)
    for count in range(1, int(record.seconds / record.every) + 1):
        producer.wait(max(0.0, began + count * record.every - time.monotonic()))
        if not producer.running:
            return
        try:
            moment = watch.look()
        except psutil.NoSuchProcess:
            return  # it ended in the middle of the look
        record.moments.append(moment)
        say(
            f"{moment.at:5.0f} s  {moment.done:,} done, {moment.waiting:,} wait,"
            f" worker {moment.worker_rss / 2**20:.1f} MiB,"
            f" server {moment.server_used / 2**20:.1f} MiB, p99 {moment.p99:.2f} ms"
        )


class _Watch:
    """Keeps what was read last, so that a moment can say what was added."""

    def __init__(self, found: Stand, producer: Producer, began: float) -> None:
        self._found, self._producer, self._began = found, producer, began
        self._last = self._totals(producer.usage[0])
        self._delays, self._at = found.delays.read(), time.monotonic()

    def _totals(self, producer_cpu: float) -> tuple[float, float, float, int]:
        server, worker = self._found.server.read().cpu, self._found.worker.cpu
        return worker, producer_cpu, server, self._found.counts()[1]

    def look(self) -> Moment:
        """What there is now, and what was done since the last look."""
        found, now = self._found, time.monotonic()
        cpu, producer_rss = self._producer.usage
        totals, seen = self._totals(cpu), found.delays.read()
        enqueued, completed = found.counts()
        spent = [(a - b) / (now - self._at) * 100 for a, b in zip(totals, self._last, strict=True)]
        added, done = since(seen, self._delays), totals[3] - self._last[3]
        self._last, self._delays, self._at = totals, seen, now
        info = found.server.info("memory")
        return Moment(
            at=now - self._began,
            done=done,
            waiting=enqueued - completed,
            keys=int(found.server.client.dbsize()),
            worker_rss=found.worker.memory,
            producer_rss=producer_rss,
            server_used=int(info["used_memory"]) - int(info["mem_clients_normal"]),
            server_rss=int(info["used_memory_rss"]),
            worker_cpu=spent[0],
            producer_cpu=spent[1],
            server_cpu=spent[2],
            p50=share_ms(added, 0.5),
            p99=share_ms(added, 0.99),
            longest=share_ms(added, 1.0),
        )
