"""What is measured, in which version, and how each is set. Nothing else knows a peer by name.

Each was set to what its documentation advises for many short jobs, then drained with other numbers
of slots; what was best is here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: The same client libraries for all that use them, as far as each peer's own bounds allow.
_REDIS_PY = ("redis==8.1.0", "hiredis==3.5.0")
_HIREDIS = ("hiredis==3.5.0",)
_UVLOOP = ("uvloop==0.23.0",)


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A row: how to install it, start its worker, and see from outside that all is done."""

    name: str
    """The module in `apps`, and the name shown."""
    packages: tuple[str, ...]
    """What pip is asked for; the first is the peer itself."""
    worker: tuple[str, ...] = ()
    """Words after `python`: {slots}, {index} and {url} are filled in. Empty: it has no worker."""
    slots: dict[str, int] = field(default_factory=dict)
    """Jobs at a time by kind of job; '' is all other kinds."""
    left: Callable[[Any], int] = lambda _: 0
    """Jobs not yet ended, waiting or running, by the server's keys; given a redis-py client."""
    lacks: dict[str, str] = field(default_factory=dict)
    """Kinds of job it cannot run -> why; they are left out."""
    results: str = "kept"
    """`kept` by default; `asked`: only a worker that is told to keeps them."""
    concurrency: str = ""
    prefetch: str = ""
    keeps: str = ""
    notes: str = ""

    def slots_for(self, kind: str) -> int:
        """Jobs at a time for this kind."""
        return self.slots.get(kind, self.slots.get("", 100))


def _sum(*commands: tuple[str, ...]) -> Callable[[Any], int]:
    """The sum of what these commands answer."""
    return lambda client: sum(int(client.execute_command(*words)) for words in commands)


def _left_in_taskq(client: Any) -> int:
    sent, ended = client.hmget("bench:{default}:stats", "enqueued", "completed")
    return int(sent or 0) - int(ended or 0)


def _left_in_stream(stream: str, group: str) -> Callable[[Any], int]:
    """What a consumer group has not read, and what it has not acknowledged."""

    def left(client: Any) -> int:
        if not client.exists(stream):
            return 0
        for found in client.xinfo_groups(stream):
            if found["name"] == group.encode():
                return int(found["pending"]) + int(found["lag"] or 0)
        return int(client.xlen(stream))

    return left


TASKQ = "taskq"
FLOOR = "floor"

SYSTEMS: dict[str, System] = {
    row.name: row
    for row in (
        System(
            name=TASKQ,
            packages=(),  # the checkout itself; see environments
            worker=("-m", "taskq", "worker", "bench.peers.apps.taskq:app", "-c", "{slots}"),
            left=_left_in_taskq,
            concurrency="100 (its default)",
            prefetch="none: it claims as many jobs as it has slots",
            keeps="10 minutes, with the job's state (its default)",
            notes="uvloop, as its extra `fast` installs it",
        ),
        System(
            name="ardiq",
            packages=("ardiq==1.2.0",),
            worker=("-m", "ardiq", "run", "bench.peers.apps.ardiq:app", "-q"),
            left=_left_in_stream("ardiq:default:queues:default", "workers"),
            concurrency="100",
            prefetch="200 (its default: twice the concurrency)",
            keeps="its default",
            notes="a Rust core does all I/O; its client has no blocking calls",
        ),
        System(
            name="mayu",
            packages=("mayu==0.2.5",),
            worker=(
                *("-m", "mayu", "worker", "bench.peers.apps.mayu:app", "--processes", "1"),
                *("--mode", "thread", "--threads", "{slots}", "--log-level", "WARNING"),
            ),
            slots={"": 50, "plain": 8, "burn": 8},
            left=_left_in_stream("mayu:{default}:stream", "mayu"),
            results="asked",
            concurrency="50 threads, which lets 100 coroutines run; 8 for plain functions",
            prefetch="2 a thread (its default)",
            keeps="nothing (its default)",
            notes="a Rust core; made for Python without a GIL, which is not what is run here;"
            " its client only blocks",
        ),
        System(
            name="huey",
            packages=("huey==3.5.4", *_REDIS_PY),
            worker=(
                *("-m", "huey.bin.huey_consumer", "bench.peers.apps.huey.app"),
                *("-k", "thread", "-w", "{slots}", "-q", "-n"),
            ),
            slots={"": 8, "nap": 100},
            left=_sum(("llen", "huey.redis.bench")),
            concurrency="8 threads; 100 for the sleeping jobs",
            prefetch="none; a job is taken off the list before it runs, and lost with its worker",
            keeps="what is not None (its default), so nothing of a no-op",
            notes="no coroutines: plain functions are measured in their place; its client only"
            " blocks",
        ),
        System(
            name="dramatiq",
            packages=("dramatiq[redis]==2.2.1", *_REDIS_PY),
            worker=(
                *("-m", "dramatiq", "bench.peers.apps.dramatiq", "-p", "1", "-t", "{slots}"),
                "--skip-logging",
            ),
            slots={"": 8, "nap": 100},
            left=_sum(("hlen", "dramatiq:default.msgs")),
            results="asked",
            concurrency="8 threads (its default); 100 for the sleeping jobs",
            prefetch="2 a thread (its default)",
            keeps="nothing (its default)",
            notes="one worker is two processes, the second a supervisor; a coroutine runs on a"
            " loop beside the threads and holds one of them; its client only blocks",
        ),
        System(
            name="taskiq",
            packages=("taskiq-redis==1.2.4", "taskiq==0.13.0", *_REDIS_PY, *_UVLOOP),
            worker=(
                *("-m", "taskiq", "worker", "bench.peers.apps.taskiq:broker", "--workers", "1"),
                *("--max-async-tasks", "{slots}", "--max-prefetch", "{slots}"),
                "--no-configure-logging",
            ),
            left=_left_in_stream("taskiq", "taskiq"),
            results="asked",
            concurrency="100 (its default)",
            prefetch="100 (its default is none)",
            keeps="nothing (its default: no result backend)",
            notes="RedisStreamBroker, the one that acknowledges; one worker is two processes,"
            " the second a supervisor; no bulk call",
        ),
        System(
            name="arq",
            packages=("arq==0.28.0", *_HIREDIS, *_UVLOOP),
            worker=("-m", "arq", "bench.peers.apps.arq.WorkerSettings"),
            left=_sum(("zcard", "arq:queue")),
            lacks={"plain": "runs coroutines only"},
            concurrency="100",
            prefetch="500 ids a look (its default: 5 a slot)",
            keeps="an hour (its default)",
            notes="polls: set to every 10 ms, its default of 500 ms bounds both rate and latency;"
            " uvloop; no bulk call",
        ),
        System(
            name="saq",
            # typing-extensions: imported, but not among what the package says it needs.
            packages=("saq[redis]==0.26.4", "typing-extensions==4.16.0", *_HIREDIS, *_UVLOOP),
            worker=("-m", "saq", "bench.peers.apps.saq.settings"),
            left=_sum(("llen", "saq:bench:queued"), ("llen", "saq:bench:active")),
            slots={"": 10, "nap": 100},
            concurrency="10 (its default); 100 for the sleeping jobs",
            prefetch="none",
            keeps="10 minutes (its default)",
            notes="uvloop; no bulk call",
        ),
        System(
            name="streaq",
            packages=("streaq==7.2.0", *_UVLOOP),
            worker=("-m", "streaq", "run", "bench.peers.apps.streaq:worker"),
            left=_left_in_stream("streaq:bench:queues:normal", "workers"),
            concurrency="100",
            prefetch="100 more (its default: as many as run)",
            keeps="5 minutes (its default)",
            notes="uvloop; coredis, not redis-py; pickle, its default",
        ),
        System(
            name="docket",
            packages=("pydocket==0.27.0", *_REDIS_PY, *_UVLOOP),
            worker=(
                *(
                    "-m",
                    "docket",
                    "worker",
                    "--docket",
                    "bench",
                    "--url",
                    "{url}?max_connections=1000",
                ),
                *("--tasks", "bench.peers.kit:COROUTINES", "--concurrency", "{slots}"),
                *("--logging-level", "WARNING", "--name", "worker-{index}"),
            ),
            left=_left_in_stream("bench:stream", "docket-workers"),
            lacks={"plain": "runs coroutines only"},
            concurrency="100",
            prefetch="up to 1,000 messages a read (its default)",
            keeps="15 minutes (its default)",
            notes="redis-py",
        ),
        System(
            name="celery",
            packages=("celery[redis]==5.7.0", *_REDIS_PY),
            worker=(
                *("-m", "celery", "-A", "bench.peers.apps.celery", "worker", "-P", "threads"),
                *("-c", "{slots}", "-n", "worker-{index}@bench", "-l", "WARNING"),
                *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            ),
            slots={"": 4, "nap": 100},
            left=_sum(("llen", "celery"), ("hlen", "unacked")),
            results="asked",
            concurrency="4 threads; 100 for the sleeping jobs",
            prefetch="128 in all (its guide: 64 to 128 for short tasks)",
            keeps="nothing (its default: no result backend)",
            notes="acknowledges before it runs a job (its default); no coroutines: plain functions"
            " in their place; its client only blocks; gossip, mingle and heartbeat off",
        ),
        System(
            name="rq",
            packages=("rq==2.12.0", *_REDIS_PY),
            worker=(
                *("-m", "rq.cli", "worker", "-u", "{url}", "-q", "-n", "worker-{index}"),
                *("-w", "rq.worker.SimpleWorker", "bench"),
            ),
            slots={"": 1},
            left=_sum(("llen", "rq:queue:bench"), ("zcard", "rq:wip:bench")),
            lacks={"nap": "one job at a time a worker"},
            concurrency="1, all it has",
            prefetch="none",
            keeps="500 s (its default)",
            notes="SimpleWorker: its default forks for every job, which is slower; its client only"
            " blocks",
        ),
        System(
            name=FLOOR,
            packages=_REDIS_PY,
            notes="redis-py sets one key: no queue, and so what no enqueue call can beat by much",
        ),
    )
}

PEERS = tuple(name for name in SYSTEMS if name not in (TASKQ, FLOOR))
