"""Tasks that misbehave to order. Each writes its life to the ledger and returns `MARK TOKEN`.

`mark` is made by the producer and comes back in the ledger: a run whose mark nobody sent is not
taskq's to run. Settings come from the environment, as for any worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from taskq import Context, Discard, Retry, TaskQ
from taskq.errors import LeaseLost
from tests.chaos.ledger import FOLDER, Ledger, mine
from tests.chaos.sink import FencedSink

app = TaskQ()

#: Seconds between two signs of life of a run.
TICK = 0.05


class Life:
    """One run in the ledger."""

    def __init__(self, ctx: Context, mark: str) -> None:
        self.ledger: Ledger = mine()
        self.ctx = ctx
        self.mark = mark
        self.told = False
        self.over = False
        self.run = {"job": ctx.job_id, "token": ctx.token, "pid": os.getpid()}
        self.ledger.note(
            "start",
            **self.run,
            worker=ctx.worker_id,
            attempt=ctx.attempt,
            mark=mark,
            thread=threading.current_thread() is not threading.main_thread(),
        )

    def tick(self) -> None:
        self.ledger.note("tick", **self.run)

    def tell(self, why: str) -> None:
        if not self.told:
            self.told = True
            self.ledger.note("told", **self.run, why=why)

    def end(self, how: str) -> str:
        self.over = True
        self.ledger.note("end", **self.run, how=how)
        return f"{self.mark} {self.ctx.token}"

    def first(self) -> bool:
        """Is this the job's first run? To be asked once a run."""
        try:
            Path(os.environ[FOLDER], f"ran-{self.ctx.job_id}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def steps(self, seconds: float, again: float | None) -> int:
        """How many ticks to wait: for `seconds`, or in runs after the first for `again`."""
        return round((seconds if again is None or self.first() else again) / TICK)

    def look(self) -> bool:
        """For code without an event loop: is it told to stop? Notes it."""
        if self.ctx.lease_lost:
            self.tell("lease_lost")
        elif self.ctx.cancelled:
            self.tell("cancelled")
        return self.told


@contextlib.contextmanager
def living(ctx: Context, mark: str) -> Iterator[Life]:
    """Note the start of a run, and an end other than by `Life.end`."""
    life = Life(ctx, mark)
    try:
        yield life
    except asyncio.CancelledError:
        life.look()
        life.tell("cancelled")
        life.end("stopped")
        raise
    except BaseException:
        if not life.over:
            life.end("failed")
        raise


async def _live(life: Life, seconds: float) -> None:
    """In steps, not until a time: while the process stands still nothing is done."""
    for _ in range(round(seconds / TICK)):
        await asyncio.sleep(TICK)
        life.tick()


@app.task
async def quick(ctx: Context, mark: str) -> str:
    """Ends at once."""
    with living(ctx, mark) as life:
        return life.end("done")


@app.task
async def sleeper(ctx: Context, mark: str, seconds: float, again: float | None = None) -> str:
    """Waits as a good coroutine does; `again` s in runs after the first."""
    with living(ctx, mark) as life:
        for _ in range(life.steps(seconds, again)):
            await asyncio.sleep(TICK)
            life.tick()
        return life.end("done")


@app.task(executor="thread")
def thread_sleeper(ctx: Context, mark: str, seconds: float, again: float | None = None) -> str:
    """Waits on a thread and looks at its context, as threads should."""
    with living(ctx, mark) as life:
        for _ in range(life.steps(seconds, again)):
            time.sleep(TICK)
            life.tick()
            if life.look():
                life.end("stopped")
                raise LeaseLost("told to stop", job_id=ctx.job_id)
        return life.end("done")


@app.task(executor="process")
def process_sleeper(ctx: Context, mark: str, seconds: float, again: float | None = None) -> str:
    """Waits in a process of its own."""
    with living(ctx, mark) as life:
        for _ in range(life.steps(seconds, again)):
            time.sleep(TICK)
            life.tick()
        return life.end("done")


@app.task
async def cruncher(ctx: Context, mark: str, rounds: int) -> str:
    """Uses the processor, a little at a time."""
    with living(ctx, mark) as life:
        digest = b""
        for _ in range(rounds):
            digest = hashlib.sha256(digest * 100).digest()
            await asyncio.sleep(0)
        return life.end("done")


@app.task
async def blocker(ctx: Context, mark: str, seconds: float) -> str:
    """Blocks the event loop, in one long call that lets other threads run."""
    with living(ctx, mark) as life:
        time.sleep(seconds)
        return life.end("done")


@app.task
async def gil_holder(ctx: Context, mark: str, seconds: int) -> str:
    """Blocks every thread of its process, in its first run: a C function that keeps the
    interpreter's lock.
    """
    with living(ctx, mark) as life:
        left: int = seconds if life.first() else 0
        while left:  # a signal may wake it
            left = ctypes.PyDLL(None).sleep(left)
        return life.end("done")


@app.task
async def endless(ctx: Context, mark: str) -> str:
    """A loop in Python that never ends and never waits."""
    with living(ctx, mark) as life:
        last = time.monotonic()
        while True:
            if time.monotonic() - last > TICK:
                last = time.monotonic()
                life.tick()


@app.task
async def swallower(ctx: Context, mark: str, seconds: float) -> str:
    """Goes on when it is cancelled."""
    with living(ctx, mark) as life:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                await asyncio.sleep(TICK)
            except asyncio.CancelledError:
                life.look()
                life.tell("cancelled")
        return life.end("done")


@app.task
async def exits(ctx: Context, mark: str, code: int = 1, after: float = 0.0) -> None:
    """Ends its process without a word."""
    life = Life(ctx, mark)
    await asyncio.sleep(after)
    life.end("exits")
    os._exit(code)


@app.task(executor="process")
def process_exits(ctx: Context, mark: str, code: int = 1) -> None:
    """As `exits`, in a process of its own."""
    Life(ctx, mark).end("exits")
    os._exit(code)


@app.task
async def segfault(ctx: Context, mark: str) -> None:
    """Reads where nothing is."""
    Life(ctx, mark).end("exits")
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    ctypes.string_at(0)


@app.task
async def hog(ctx: Context, mark: str, mebibytes: int, hold: float = 0.0) -> str:
    """Takes memory, all of it touched, and keeps it while it waits."""
    with living(ctx, mark) as life:
        taken = []
        for _ in range(mebibytes):
            taken.append(bytearray(b"x" * (1 << 20)))
        await asyncio.sleep(hold)
        return life.end("done")


_leaked: list[bytearray] = []


@app.task
async def leaker(ctx: Context, mark: str, mebibytes: int) -> str:
    """Takes memory and never gives it back."""
    with living(ctx, mark) as life:
        _leaked.append(bytearray(b"x" * (mebibytes << 20)))
        return life.end("done")


@app.task(retries=10, backoff=0.05)
async def fails(ctx: Context, mark: str, times: int) -> str:
    """Fails `times` times, then succeeds."""
    with living(ctx, mark) as life:
        if ctx.attempt <= times:
            raise RuntimeError(f"failure {ctx.attempt} of {times}")
        return life.end("done")


@app.task
async def raises(ctx: Context, mark: str, kind: str) -> None:
    """Raises what no task should."""
    kinds = {
        "SystemExit": SystemExit(3),
        "KeyboardInterrupt": KeyboardInterrupt(),
        "GeneratorExit": GeneratorExit(),
        "CancelledError": asyncio.CancelledError(),
        "StopIteration": StopIteration(),
        "MemoryError": MemoryError(),
        "RecursionError": RecursionError(),
        "Retry": Retry(delay=0.05),
        "Discard": Discard("asked to"),
    }
    with living(ctx, mark):
        raise kinds[kind]


@app.task
async def self_canceller(ctx: Context, mark: str) -> str:
    """Cancels the asyncio task it runs in."""
    with living(ctx, mark) as life:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(30)
        return life.end("done")


_orphans: set[asyncio.Task[None]] = set()


@app.task
async def orphan_maker(ctx: Context, mark: str, count: int) -> str:
    """Leaves coroutines behind, some of which fail."""
    with living(ctx, mark) as life:

        async def orphan(number: int) -> None:
            await asyncio.sleep(0.05)
            if number % 2:
                raise RuntimeError("an orphan failed")

        for number in range(count):
            orphaned = asyncio.create_task(orphan(number))
            _orphans.add(orphaned)
            orphaned.add_done_callback(_orphans.discard)
        return life.end("done")


@app.task
async def loop_closer(ctx: Context, mark: str, what: str) -> str:
    """Lays hands on the event loop: `close` or `stop`."""
    with living(ctx, mark) as life:
        loop = asyncio.get_running_loop()
        if what == "close":
            loop.close()
        else:
            loop.stop()
        await asyncio.sleep(0.05)
        return life.end("done")


@app.task
async def writer(ctx: Context, mark: str, seconds: float) -> str:
    """Works, then writes to a fenced store with its token."""
    with living(ctx, mark) as life:
        await _live(life, seconds)
        FencedSink(os.environ[FOLDER], life.ledger).write(ctx.job_id, ctx.token, mark)
        return life.end("done")


@app.task(executor="thread")
def stubborn_writer(ctx: Context, mark: str, seconds: float) -> str:
    """As `writer`, on a thread that does not look at its context: only the fence can stop it."""
    with living(ctx, mark) as life:
        time.sleep(seconds)
        FencedSink(os.environ[FOLDER], life.ledger).write(ctx.job_id, ctx.token, mark)
        return life.end("done")


@app.task
async def bragger(ctx: Context, mark: str, size: int) -> str:
    """Returns more than it may."""
    with living(ctx, mark) as life:
        return life.end("failed") + "x" * size


@app.task
async def storm(ctx: Context, mark: str) -> str:
    """Fails in its first run, with the default backoff."""
    with living(ctx, mark) as life:
        if ctx.attempt == 1:
            raise RuntimeError("everybody fails at once")
        return life.end("done")


@app.task
async def weigh(ctx: Context, mark: str, ballast: str) -> str:
    """Has a big payload, and ends at once."""
    with living(ctx, mark) as life:
        return life.end("done")
