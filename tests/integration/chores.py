"""Tasks that the tests' worker processes and process slots run. The app is configured by
TASKQ_* variables.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading

from taskq import Context, Discard, Retry, TaskQ

app = TaskQ()


async def take(seconds: float) -> None:
    """Be busy for a while, as a coroutine."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()


def block(seconds: float) -> None:
    """Be busy for a while, on a thread or in a process."""
    threading.Event().wait(seconds)


def append(path: str, line: str) -> None:
    """Add one line to a file that several processes write, in one write."""
    with open(path, "ab", buffering=0) as file:
        file.write(line.encode() + b"\n")


@app.task
async def note(path: str, word: str, seconds: float = 0.0) -> str:
    append(path, f"start {word}")
    if seconds:
        await take(seconds)
    append(path, f"end {word}")
    return word


@app.task
def note_on_thread(path: str, word: str, seconds: float) -> str:
    append(path, f"start {word}")
    block(seconds)
    append(path, f"end {word}")
    return word


@app.task(executor="process")
def pid(ctx: Context, times: int) -> list[object]:
    return [os.getpid() * times, ctx.job_id, ctx.attempt, ctx.queue, ctx.worker_id, ctx.state]


@app.task(executor="process", retries=0)
def divide(a: int, b: int) -> float:
    return a / b


@app.task(executor="process", retries=1, backoff=0.05)
def again(ctx: Context) -> int:
    if ctx.attempt == 1:
        raise Retry(delay=0.05)
    return ctx.attempt


@app.task(executor="process", retries=5)
def give_up() -> None:
    raise Discard("no use")


@app.task(executor="process", retries=0)
def vanish() -> None:
    os._exit(3)


@app.task(executor="process", retries=0)
def hang(path: str, seconds: float = 60.0) -> int:
    append(path, str(os.getpid()))
    block(seconds)
    return os.getpid()


@app.task(executor="process", retries=0)
def leave() -> None:
    raise SystemExit(4)


@app.task(executor="process", retries=0)
def unsendable() -> object:
    return threading.Lock()


@app.task(retries=0)
async def sleep_on_the_loop(path: str, seconds: float) -> str:
    """What a coroutine must not do."""
    append(path, "blocks")
    block(seconds)
    return "slept"


@app.task(retries=0, timeout=0.5)
async def spin(path: str) -> None:
    append(path, "spins")
    while True:
        pass


@app.task(retries=0, timeout=0.5)
async def spin_whatever_happens(path: str) -> None:
    append(path, "spins")
    while True:
        with contextlib.suppress(BaseException):
            while True:
                pass


@app.task
async def crash(path: str) -> None:
    append(path, "crash")
    os._exit(7)
