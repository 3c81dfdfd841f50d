"""The bed of a scenario: a folder, a server, real workers, producers, and the verdict at the end.

Everything that was started is ended when the bed is closed, whatever happened. Faults themselves
are made by the scenarios, and declared here so that the checker knows of them.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import redis

from taskq import TaskQ
from taskq.errors import StoreUnavailable, TaskqError
from taskq.job import JobIds
from tests.chaos import results
from tests.chaos.checker import Record, Verdict, judge
from tests.chaos.ledger import FOLDER, Event, Ledger
from tests.chaos.look import look, unfinished
from tests.chaos.processes import BedWorker, bound, end_sessions, runs
from tests.helpers import last, wait_until

ROOT = Path(__file__).resolve().parents[2]
APP = "tests.chaos.tasks:app"
#: Settings that let a scenario take seconds. Figures at the defaults use none of them.
FAST: dict[str, object] = {
    "heartbeat": 0.2,
    "heartbeat_ttl": 0.8,
    "grace": 0.3,
    "drain": 5.0,
    "block": 1.0,
    "process_slots": 2,
    "socket_timeout": 1.0,
    "connect_timeout": 1.0,
}
#: Seconds between two looks for processes that have died.
WATCH = 0.05


class AServer(Protocol):
    """What a bed needs of a server."""

    @property
    def url(self) -> str: ...

    def client(self) -> redis.Redis: ...


class Bed:
    """One scenario. `server` may be any that the scenario made; `settings` are for all workers."""

    def __init__(
        self,
        folder: Path,
        server: AServer,
        *,
        test: str = "",
        results_file: Path | None = None,
        **settings: object,
    ) -> None:
        self.folder = folder
        self.server = server
        self.namespace = "chaos"
        self.settings: dict[str, object] = {**FAST, **settings}
        self.ledger = Ledger(folder)
        self.workers: list[BedWorker] = []
        self.test = test
        self.clean_up = contextlib.ExitStack()
        """Scenarios push here what must be undone, whatever happens."""
        self._results_file = results_file
        self._client: redis.Redis | None = None
        self._ids = JobIds()
        self._started: list[subprocess.Popen[bytes]] = []
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="chaos-watch", daemon=True)
        self._watcher.start()
        self.app = self.new_app()
        self.clean_up.callback(self.app.close_sync)

    # Looking

    @property
    def client(self) -> redis.Redis:
        """A plain client of the server, for faults and for looking."""
        if self._client is None:
            self._client = self.server.client()
            self.clean_up.callback(self._client.close)
        return self._client

    def events(self, what: str | None = None, job: str | None = None) -> list[Event]:
        """The ledger so far; only of this kind, only of this job."""
        return [
            event
            for event in self.ledger.events()
            if what in (None, event["what"]) and job in (None, event.get("job"))
        ]

    def starts(self, job: str | None = None) -> list[Event]:
        return self.events("start", job)

    def wait_start(self, job: str, count: int = 1, timeout: float = 20.0) -> Event:
        """Wait for the `count`th run of a job; its start."""
        what = f"start {count} of {job}"
        wait_until(lambda: len(self.starts(job)) >= count, timeout, what)
        return self.starts(job)[count - 1]

    def wait_event(self, what: str, job: str | None = None, timeout: float = 20.0) -> Event:
        """Wait for an event of this kind; the first."""
        wait_until(lambda: self.events(what, job), timeout, f"event {what} of {job}")
        return self.events(what, job)[0]

    def wait_log(self, worker: BedWorker, words: str, timeout: float = 20.0) -> str:
        """Wait until a worker's log has these words; the line."""
        wait_until(lambda: words in worker.log, timeout, f"{words!r} in the log of {worker.name}")
        return next(line for line in worker.log.splitlines() if words in line)

    def records(self) -> dict[str, Record]:
        """Every job in Redis, by id."""
        return look(self.client, self.namespace)

    def roster(self) -> dict[str, dict[str, str]]:
        """Workers that are alive, as they describe themselves, by id."""
        client: Any = self.client
        found = {}
        for name in client.zrange(f"{self.namespace}:workers", 0, -1):
            fields = client.hgetall(f"{self.namespace}:worker:{name.decode()}")
            if fields:
                found[name.decode()] = {k.decode(): v.decode() for k, v in fields.items()}
        return found

    # Starting

    def new_app(self, **settings: object) -> TaskQ:
        """An app without tasks on the bed's server: a producer."""
        words = {name: value for name, value in self.settings.items() if value is not None}
        return TaskQ(
            **{**words, "redis_url": self.server.url, "namespace": self.namespace, **settings}
        )

    def environment(self, **settings: object) -> dict[str, str]:
        """The environment of a process of this bed; a setting that is None is at its default."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("TASK", "REDIS"))}
        words = {"redis_url": self.server.url, "namespace": self.namespace}
        words |= {n: str(v) for n, v in {**self.settings, **settings}.items() if v is not None}
        for name in [n for n, v in settings.items() if v is None]:
            words.pop(name, None)
        return {
            **kept,
            FOLDER: str(self.folder),
            "PYTHONPATH": str(ROOT),
            **{f"TASKQ_{name.upper()}": value for name, value in words.items()},
        }

    def start(
        self,
        command: Sequence[str],
        log: Path,
        *,
        environment: dict[str, str],
        cwd: Path = ROOT,
        netns: str | None = None,
        preexec: Callable[[], None] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process in a session of its own, which is ended with the bed."""
        words = [*(("ip", "netns", "exec", netns) if netns else ()), *command]
        with log.open("ab") as output:
            popen = subprocess.Popen(
                words,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=bound(preexec),
            )
        self._started.append(popen)
        return popen

    def worker(
        self,
        *words: str,
        name: str = "",
        app: str = APP,
        netns: str | None = None,
        url: str | None = None,
        env: dict[str, str] | None = None,
        cwd: Path = ROOT,
        preexec: Callable[[], None] | None = None,
        wait: bool = True,
        **settings: object,
    ) -> BedWorker:
        """Start `taskq worker` and wait until the roster shows it (with `processes`, all of them).

        `words` are added to its command line, `env` to its environment; `settings` win over the
        bed's.
        """
        name = name or f"w{len(self.workers) + 1}"
        log = self.folder / f"{name}.log"
        if url is not None:
            settings["redis_url"] = url
        popen = self.start(
            [sys.executable, "-m", "taskq", "worker", app, "--name", name, *words],
            log,
            environment={**self.environment(**settings), **(env or {})},
            cwd=cwd,
            netns=netns,
            preexec=preexec,
        )
        worker = BedWorker(popen, log, name)
        self.workers.append(worker)
        if wait:
            self.wait_up(worker, int(str(settings.get("processes") or 1)))
        return worker

    def wait_up(self, worker: BedWorker, count: int = 1, timeout: float = 30.0) -> None:
        """Wait until the roster shows `count` workers of this name."""

        def up() -> bool:
            if not worker.alive:
                raise AssertionError(f"worker {worker.name} ended early: {worker.log[-2000:]}")
            return sum(w.startswith(f"{worker.name}-") for w in self.roster()) >= count

        wait_until(up, timeout, f"{worker.name} on the roster")

    # Producing

    def new_call(self, task: str, *args: object) -> tuple[str, str, tuple[object, ...]]:
        """A new job's id, its mark, and its arguments with the mark in front."""
        mark = os.urandom(6).hex()
        return self._ids.new(), mark, (mark, *args)

    def produce(self, task: str, *args: object, count: int = 1, **options: Any) -> list[str]:
        """Enqueue `count` calls in this process, one after the other; their ids, whatever became
        of them: the ledger knows.
        """
        ids = []
        for _ in range(count):
            job, mark, words = self.new_call(task, *args)
            self.ledger.note("tried", job=job, mark=mark, task=task)
            try:
                self.app.named(task).options(id=job, **options).enqueue_sync(*words)
            except TaskqError as error:
                self.ledger.note(outcome_of(error), job=job, error=repr(error)[:300])
            else:
                self.ledger.note("returned", job=job)
            ids.append(job)
        return ids

    def one(self, task: str, *args: object, **options: Any) -> str:
        """Enqueue one job; its id."""
        return self.produce(task, *args, **options)[0]

    def producer(
        self,
        *,
        rate: float,
        seconds: float,
        mix: str = "quick",
        name: str = "",
        url: str | None = None,
        netns: str | None = None,
        **settings: object,
    ) -> subprocess.Popen[bytes]:
        """Start a producer process: `rate` jobs a second for `seconds`; `mix` as in produce.py."""
        name = name or f"p{len(self._started) + 1}"
        if url is not None:
            settings["redis_url"] = url
        return self.start(
            [sys.executable, "-m", "tests.chaos.produce", str(rate), str(seconds), mix],
            self.folder / f"{name}.log",
            environment=self.environment(**settings),
            netns=netns,
        )

    # Faults

    @contextlib.contextmanager
    def fault(self, kind: str, *pids: int) -> Iterator[None]:
        """Declare a fault for as long as the block lasts; without pids it hits everybody."""
        since = time.monotonic()
        try:
            yield
        finally:
            self.declare(kind, *pids, since=since, until=time.monotonic())

    def declare(
        self, kind: str, *pids: int, since: float | None = None, until: float | None = None
    ) -> None:
        """Declare a fault that held from `since` (now) to `until` (None: to the end)."""
        since = time.monotonic() if since is None else since
        self.ledger.note("fault", kind=kind, pids=list(pids), since=since, until=until)

    def _watch(self) -> None:
        """Note the deaths of workers, and of other processes that ran jobs."""
        offset, known, workers = 0, set[int](), 0
        while not self._closing.wait(WATCH):
            events, offset = self.ledger.since(offset)
            fresh, workers = self.workers[workers:], len(self.workers)
            known |= {worker.pid for worker in fresh}
            known |= {event["pid"] for event in events if event["what"] == "start"}
            for pid in [pid for pid in known if not runs(pid)]:
                known.discard(pid)
                self.ledger.note("died", pid=pid)

    # The end

    def settle(self, timeout: float = 30.0) -> None:
        """Wait until every job in Redis has ended."""

        def settled() -> bool:
            # Twice: a look is no one moment, and a job may move behind it.
            with contextlib.suppress(redis.RedisError):
                return all(unfinished(self.client, self.namespace) == 0 for _ in range(2))
            return False

        try:
            wait_until(settled, timeout, "all jobs ended")
        except AssertionError as error:
            left = {job: r.state for job, r in self.records().items() if r.homes not in ((),)}
            open_ = [f"{j} {s}" for j, s in left.items() if s not in ("completed", "dead")][:10]
            logs = "\n".join(f"-- {w.name}: {w.log[-1500:]}" for w in self.workers)
            raise AssertionError(f"{error}: {', '.join(open_)}\n{logs}") from None

    def judge(self) -> Verdict:
        """The checker's verdict, whatever it found."""
        last(2 * WATCH)  # a death just now is noted by then
        return judge(self.ledger.events(), self.records())

    def verdict(self, allow: Collection[str] = ()) -> Verdict:
        """The checker's verdict; AssertionError when it found what is not in `allow`."""
        verdict = self.judge()
        problems = verdict.violations(allow)
        if problems:
            raise AssertionError("\n".join([*problems, verdict.figures()]))
        return verdict

    def record(
        self,
        *,
        fault: str,
        injected: str,
        invariant: str,
        observed: str,
        recovery_s: float | None = None,
        duplicates: int | None = None,
        **figures: object,
    ) -> None:
        """Keep a row for docs/reliability.md, when a file for results was given."""
        row: dict[str, Any] = {
            "fault": fault,
            "injected": injected,
            "invariant": invariant,
            "observed": observed,
            "recovery_s": None if recovery_s is None else round(recovery_s, 2),
            "duplicates": duplicates,
            **figures,
        }
        if self._results_file is not None:
            results.write(self._results_file, self.test, row)

    def close(self) -> None:
        """End everything that was started."""
        self._closing.set()
        self._watcher.join(10)
        end_sessions(popen.pid for popen in self._started)
        for popen in self._started:
            popen.wait(20)
        self.clean_up.close()
        self.ledger.close()


def outcome_of(error: Exception) -> str:
    """The ledger's word for an enqueue that raised: only an unreachable server leaves it open."""
    return "unknown" if isinstance(error, StoreUnavailable) else "refused"
