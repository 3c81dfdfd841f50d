"""The check: do the figures that came through the queue equal those computed without it?

Pure, apart from the processes that `reference` computes in. It never looks at the queue.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

from taskq.demo.census import FileCensus, Totals, measure, merge, totals_of


async def reference(paths: Sequence[str], tick: Callable[[], None]) -> dict[str, FileCensus]:
    """Measure all `paths` here, on every core; `tick` is called after each."""
    loop = asyncio.get_running_loop()
    # Spawned, not forked: this process may have threads.
    pool = ProcessPoolExecutor(
        os.cpu_count(), mp_context=multiprocessing.get_context("spawn"), initializer=_spare_ctrl_c
    )
    try:
        measured: dict[str, FileCensus] = {}
        for done in asyncio.as_completed(
            [loop.run_in_executor(pool, measure, path) for path in paths]
        ):
            census = await done
            measured[census["path"]] = census
            tick()
        return measured
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _spare_ctrl_c() -> None:
    # The parent ends us; without this each of us would print a traceback first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def differences(
    expected: Mapping[str, FileCensus],
    queued: Mapping[str, FileCensus],
    total: Totals,
) -> list[str]:
    """What differs, one line each; empty if every figure agrees and no file is missing."""
    found = [f"{path}: lost, no result came" for path in expected.keys() - queued.keys()]
    found += [f"{path}: nobody asked for it" for path in queued.keys() - expected.keys()]
    for path in expected.keys() & queued.keys():
        found += _figures(path, expected[path], queued[path])
    found.sort()
    return found + _figures("total", merge(map(totals_of, expected.values())), total)


def _figures(what: str, wanted: Mapping[str, object], got: Mapping[str, object]) -> list[str]:
    return [
        f"{what}: {name} is {_short(got.get(name))} through the queue, {_short(wanted.get(name))} "
        f"without it"
        for name in sorted(wanted.keys() | got.keys())
        if wanted.get(name) != got.get(name)
    ]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
