"""An exception for a coroutine that blocks its thread, and what becomes of one that is late."""

from __future__ import annotations

import asyncio
import threading
from types import CodeType
from typing import Any, cast

import pytest

from taskq.cli.run_worker import go_on_with
from taskq.worker import interrupt as module
from taskq.worker.interrupt import Interrupted, blocking_run, interrupt
from taskq.worker.run import Run


def a_run() -> Run:
    return cast(Run, Run.__new__(Run))


class Blocked:
    """A thread that spins in `drive`, as a coroutine that blocks the loop does."""

    def __init__(self, run: Run) -> None:
        self.caught: BaseException | None = None
        self.over = threading.Event()
        self.inside = threading.Event()
        self.thread = threading.Thread(target=self.drive, args=(run,))
        self.thread.start()
        self.inside.wait(5)

    def drive(self, run: Run) -> None:
        try:
            self.inside.set()
            self.spin()
        except BaseException as error:
            self.caught = error

    def spin(self) -> None:
        """A frame of its own, as a task's code is: Python 3.13 lets such an exception escape from a
        `try` around the loop it hits.
        """
        while not self.over.is_set():
            pass

    @property
    def code(self) -> CodeType:
        return Blocked.drive.__code__

    @property
    def ident(self) -> int:
        assert self.thread.ident is not None
        return self.thread.ident


def test_the_run_a_thread_is_in_is_found_and_interrupted() -> None:
    run = a_run()
    blocked = Blocked(run)

    assert blocking_run(blocked.ident, blocked.code)[0] is run
    assert interrupt(blocked.ident, blocked.code, run)

    blocked.thread.join(5)
    assert isinstance(blocked.caught, Interrupted)


def test_another_run_is_left_alone() -> None:
    blocked = Blocked(a_run())

    assert not interrupt(blocked.ident, blocked.code, a_run())

    blocked.over.set()
    blocked.thread.join(5)
    assert blocked.caught is None


def test_an_exception_the_run_was_too_fast_for_is_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second look finds the run gone."""
    run = a_run()
    looks = [(run, None), (None, None)]
    left: list[Any] = []
    monkeypatch.setattr(module, "blocking_run", lambda *_: looks.pop(0))
    monkeypatch.setattr(module, "_leave", lambda thread, error: left.append(error))

    assert interrupt(1, Blocked.drive.__code__, run)
    assert left == [Interrupted, None]


def test_a_loop_that_is_hit_itself_goes_on() -> None:
    loop = asyncio.new_event_loop()
    steps: list[str] = []

    async def main() -> None:
        steps.append("began")
        running = asyncio.get_running_loop()
        running.call_later(0.01, steps.append, "later")
        end = running.create_future()
        running.call_later(0.05, end.set_result, None)
        await end
        steps.append("ended")

    hit = iter([True])
    run_once = loop._run_once  # type: ignore[attr-defined]

    def faulty() -> None:
        run_once()
        if "later" in steps and next(hit, False):
            raise Interrupted

    loop._run_once = faulty  # type: ignore[attr-defined]
    try:
        go_on_with(loop, main())
    finally:
        loop.close()
    assert steps == ["began", "later", "ended"]


def test_an_interruption_of_the_main_task_itself_is_no_secret() -> None:
    loop = asyncio.new_event_loop()

    async def main() -> None:
        raise Interrupted

    try:
        with pytest.raises(Interrupted):
            go_on_with(loop, main())
    finally:
        loop.close()
