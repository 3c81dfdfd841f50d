"""Stopping a coroutine at any moment of its life."""

from __future__ import annotations

import asyncio

from taskq.worker.stopper import _cancel


async def test_a_coroutine_that_is_cancelled_before_it_began_sees_that_it_was() -> None:
    seen: list[str] = []

    async def run() -> None:
        seen.append("began")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    before = asyncio.get_running_loop().create_task(run())
    _cancel(before)
    await asyncio.wait([before], timeout=5)
    assert seen == ["began", "cancelled"]
    assert before.cancelled()


async def test_one_that_runs_is_cancelled_at_once_and_one_that_ended_stays_as_it_is() -> None:
    async def run() -> str:
        await asyncio.sleep(0)
        return "done"

    ended = asyncio.get_running_loop().create_task(run())
    assert await ended == "done"
    _cancel(ended)
    assert ended.result() == "done"

    running = asyncio.get_running_loop().create_task(asyncio.Event().wait())
    await asyncio.sleep(0)
    _cancel(running)
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()
