"""Random faults under steady load, judged by the checker: `python -m tests.chaos.nemesis`.

Some hundred jobs a second of all kinds come from three producers; four workers run them, each in a
network of its own where that can be made. Faults come as the schedule of the seed says. Exit code 1
when a job was lost, repeated without a reason, run beside itself, or a worker ended by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

from tests.chaos import results
from tests.chaos.bed import Bed
from tests.chaos.checker import Verdict
from tests.chaos.network import SERVER, Network, Place, network
from tests.chaos.processes import BedWorker
from tests.chaos.schedule import SEATS, Step, schedule
from tests.chaos.server import ServerProcess, server_process
from tests.helpers import last

#: What the producers send. The long ones outlive a lease and its grace time: only they can show
#: that a worker that was cut off went on.
MIX = (
    "quick*54,cruncher:20*10,sleeper:0.3*10,writer:0.1*6,fails:1*5,thread_sleeper:0.2*5,"
    "sleeper:2.0*2,sleeper:7.0*1.5,blocker:0.05*2,process_sleeper:0.2*2,process_sleeper:5.0*0.2,"
    "stubborn_writer:0.2*2"
)
SETTINGS: dict[str, object] = {
    "heartbeat": 0.5,
    "heartbeat_ttl": 2.0,
    "grace": 1.0,
    "drain": 4.0,
    "socket_timeout": 1.5,
    "connect_timeout": 1.5,
    "timeout": 20.0,
}
#: Exit codes of a worker that a poisoned job or the nemesis itself ended, or that was started while
#: Redis was away.
EXPECTED = (0, 66, 69, -signal.SIGKILL, 128 + signal.SIGTERM)
#: Longest wait for all jobs to end after the last fault, s.
CALM = 60.0


class Seat:
    """A place for a worker; whoever sits there. One thread at a time lays hands on it."""

    def __init__(self, number: int, place: Place | None) -> None:
        self.number = number
        self.place = place
        self.lock = threading.Lock()
        self.worker: BedWorker | None = None
        self.lives = 0
        self.frozen = False
        """Has its worker stood still? One that wakes up in a task that blocks may end with 70."""


class Nemesis:
    """One run."""

    def __init__(
        self, bed: Bed, server: ServerProcess, net: Network | None, say: Callable[[str], None]
    ) -> None:
        self.bed = bed
        self.server = server
        self.say = say
        self.seats = [Seat(n, net.join() if net else None) for n in range(SEATS)]
        self.problems: list[str] = []
        self.stopping = threading.Event()
        self.lanes_done = threading.Semaphore(0)
        self.began = time.monotonic()

    # Workers

    def fill(self, seat: Seat, wait: bool = False) -> None:
        """A new worker; the last seat has a supervisor with two."""
        seat.lives += 1
        seat.frozen = False
        words: dict[str, Any] = {}
        if seat.place is not None:
            words = {"netns": seat.place.name, "url": self.server.tcp_url}
        if seat.number == SEATS - 1:
            words["processes"] = 2
        name = f"seat{seat.number + 1}.{seat.lives}"
        seat.worker = self.bed.worker("-c", "50", name=name, wait=wait, **words)

    def keep(self) -> None:
        """Fill the seats of those that ended, as a supervisor of the machine would."""
        while not self.stopping.wait(0.5):
            for seat in self.seats:
                if seat.lock.acquire(blocking=False):
                    try:
                        self.see_to(seat)
                    finally:
                        seat.lock.release()

    def see_to(self, seat: Seat) -> None:
        worker = seat.worker
        if worker is None or worker.alive:
            return
        code = worker.popen.returncode
        if code not in EXPECTED and not (code == 70 and seat.frozen):
            self.problems.append(f"{worker.name} ended with {code}: {worker.log[-1500:]}")
            self.say(f"!! {worker.name} ended with {code}")
        self.fill(seat)

    def hurt_worker(self, step: Step) -> None:
        seat = self.seats[step.seat]
        with seat.lock:
            self.see_to(seat)
            worker = seat.worker
            assert worker is not None
            match step.kind:
                case "kill":
                    worker.kill()
                    self.fill(seat)
                case "kill a child":
                    children = worker.children()
                    if children:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(random.Random(step.at).choice(children), signal.SIGKILL)
                case "freeze":
                    seat.frozen = True
                    self.freeze(worker, step.lasts)
                case "replace" | "replace at once":
                    worker.stop()
                    if step.kind == "replace at once":
                        last(0.1)
                        worker.stop()
                    self.fill(seat)
                    worker.wait(30)
                case "poison":
                    self.bed.one("exits", 66)
                case _:
                    assert seat.place is not None
                    self.hurt_link(seat.place, worker, step)

    def freeze(self, worker: BedWorker, seconds: float) -> None:
        """All processes of a worker, a supervisor's children too."""
        pids = worker.pids()
        with self.bed.fault("frozen", *pids):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            last(seconds)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def hurt_link(self, place: Place, worker: BedWorker, step: Step) -> None:
        since, pids = time.monotonic(), worker.pids()
        if step.kind == "slow link":
            place.slow(128)
        else:
            place.cut(requests=step.kind != "lose replies", replies=step.kind != "lose requests")
        last(step.lasts)
        if step.kind == "slow link":
            place.fast()
        else:
            place.heal()
        # What was done and could not be reported before others took over runs again.
        pids = sorted({*pids, *worker.pids()})
        self.bed.declare("cut off", *pids, since=since, until=time.monotonic() + 2.0)

    # The server

    def hurt_server(self, step: Step) -> None:
        server = self.server
        match step.kind:
            case "freeze":
                server.freeze()
                last(step.lasts)
                server.thaw()
            case "kill and restart" | "restart":
                if step.kind == "restart":
                    server.stop()
                server.kill()
                last(step.lasts)
                server.start()
                self.say(f"        server is back, {server.client().dbsize()} keys")
            case _:
                self.ask_server(step)

    def ask_server(self, step: Step) -> None:
        client: Any = self.server.client()
        try:
            match step.kind:
                case "pause clients":
                    client.execute_command("CLIENT", "PAUSE", round(step.lasts * 1000), "ALL")
                    last(step.lasts)
                case "pause writes":
                    client.execute_command("CLIENT", "PAUSE", round(step.lasts * 1000), "WRITE")
                    last(step.lasts)
                case "hang up on all":
                    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                case "forget scripts":
                    client.script_flush()
                case "out of memory":
                    client.config_set("maxmemory", "1mb")
                    last(step.lasts)
                    client.config_set("maxmemory", "0")
                case "rewrite AOF":
                    with contextlib.suppress(redis.ResponseError):
                        client.bgrewriteaof()
        finally:
            client.close()

    # The run

    def lane(self, steps: list[Step], act: Callable[[Step], None]) -> None:
        """One fault after the other, each at its time or as soon as the one before is over."""
        for step in steps:
            if self.stopping.wait(max(0.0, self.began + step.at - time.monotonic())):
                return
            self.say(str(step))
            try:
                act(step)
            except Exception as error:  # trouble of the nemesis itself is no quiet run
                self.say(f"!! {error!r}")
                self.problems.append(f"the nemesis itself, at {step}: {error!r}")
        self.lanes_done.release()
        # The kernel ends the server with the thread that started it.
        self.stopping.wait()

    def run(self, steps: list[Step], seconds: float, rate: float) -> Verdict:
        for seat in self.seats:
            self.fill(seat)
        for seat in self.seats:
            assert seat.worker is not None
            self.bed.wait_up(seat.worker, 2 if seat.number == SEATS - 1 else 1)
        self.began = time.monotonic()
        producers = [
            self.bed.producer(rate=rate / 3, seconds=seconds, mix=MIX, name=f"producer{n}")
            for n in range(3)
        ]
        workers = [step for step in steps if step.seat >= 0]
        servers = [step for step in steps if step.seat < 0]
        threads = [
            threading.Thread(target=self.lane, args=(workers, self.hurt_worker), daemon=True),
            threading.Thread(target=self.lane, args=(servers, self.hurt_server), daemon=True),
        ]
        keeper = threading.Thread(target=self.keep, daemon=True)
        for thread in (*threads, keeper):
            thread.start()
        for producer in producers:
            if producer.wait(seconds + 60):
                self.problems.append(f"a producer ended with {producer.returncode}")
        for _ in threads:
            self.lanes_done.acquire(timeout=60)
        self.say("calm: waiting for all jobs to end")
        calm = time.monotonic()
        try:
            self.bed.settle(CALM)
            self.say(f"calm after {time.monotonic() - calm:.1f} s")
            return self.bed.judge()
        finally:
            self.stopping.set()
            keeper.join(10)


@contextlib.contextmanager
def ground() -> Iterator[tuple[ServerProcess, Network | None]]:
    """A server, in a network of its own where one can be made."""
    kind = os.environ.get("TASKQ_TEST_CHAOS_SERVER")
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0 and shutil.which("ip") and shutil.which("tc"):
            net = stack.enter_context(network())
            words = {"host": SERVER, "port": 6379, "netns": net.server}
            yield stack.enter_context(server_process(kind, **words))[0], net  # type: ignore[arg-type]
        else:
            yield stack.enter_context(server_process(kind))[0], None


def run(seconds: float, seed: int, rate: float, say: Callable[[str], None]) -> tuple[str, bool]:
    """One run: its summary, and whether all is well."""
    with ground() as (server, net), tempfile.TemporaryDirectory(prefix="taskq-", dir="/tmp") as to:
        able = ["network"] if net else []
        steps = schedule(seed, seconds, able)
        without = "" if net else ", without network faults: these need root and iproute2"
        say(f"seed {seed}, {seconds:g} s, {rate:g} jobs/s, {len(steps)} faults{without}")
        for step in steps:
            say(f"  {step}")
        bed = Bed(Path(to), server, **{**SETTINGS, "result_ttl": seconds + 3600})
        try:
            nemesis = Nemesis(bed, server, net, say)
            verdict = nemesis.run(steps, seconds, rate)
            for job in verdict.accused()[:5]:
                tell_story(nemesis, job, verdict.records.get(job))
        finally:
            bed.close()
        problems = verdict.violations() + nemesis.problems
        dead = Counter(
            f"{r.reason} {r.task}" for r in verdict.records.values() if r.state == "dead"
        )
        counted = Counter(step.kind for step in steps)
        words = [
            f"seed {seed}: {verdict.figures()}",
            f"reasons of extra runs: {_counts(verdict.reasons)}; dead: {_counts(dead)}",
            f"faults: {_counts(counted)}",
            *(f"VIOLATION {problem}" for problem in problems),
            "no violation" if not problems else f"{len(problems)} violations",
        ]
        return "\n".join(words), not problems


def tell_story(nemesis: Nemesis, job: str, record: object) -> None:
    """All that is known of a job for which the verdict is bad."""
    bed, say = nemesis.bed, nemesis.say
    say(f"-- {job}: {record}")
    for event in bed.events(job=job):
        say(f"   {event['at'] - nemesis.began:8.3f} {event}")
    for worker in bed.workers:
        for line in worker.log.splitlines():
            if job in line:
                say(f"   {worker.name}: {line[:300]}")


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common()) or "none"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=None, help="default: a random one")
    parser.add_argument("--rate", type=float, default=200, help="jobs a second, all producers")
    parser.add_argument("--results", type=Path, help="add the summary to this JSON file")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10_000) if given.seed is None else given.seed
    began = time.monotonic()
    # Whatever ends this must not leave workers and networks behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f}] {text}", flush=True)

    try:
        summary, well = run(given.seconds, seed, given.rate, say)
    except AssertionError as error:  # jobs that did not end
        summary, well = f"seed {seed}: VIOLATION {error}", False
    print(summary, flush=True)
    if given.results:
        row = {"seconds": given.seconds, "rate": given.rate, "summary": summary.splitlines()}
        results.write(given.results, f"nemesis seed {seed}", row)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
