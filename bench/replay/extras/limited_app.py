"""Tasks with limits that never block; `python -m` of it fills the queue."""

from __future__ import annotations

from typing import Any

from bench.replay.systems.common import order
from taskq import Limit, TaskQ

_wanted: dict[str, Any] = order()
LIMITS = [Limit(f"limit-{number}", concurrency=10_000) for number in range(10)]

app = TaskQ(_wanted["url"], namespace=_wanted["namespace"], max_jobs=3_000_000)


@app.task
async def noop() -> None:
    """Nothing."""


if _wanted["variant"] == 1:

    @app.task(limits=LIMITS)
    async def limited() -> None:
        """Never called: its limits are declared, and that is all."""


def _call(number: int) -> Any:
    if _wanted["variant"] == 2:
        return noop.options(limits=[LIMITS[number % 10]]).s()
    if _wanted["variant"] == 3:
        return noop.options(limits=LIMITS).s()
    return noop.s()


if __name__ == "__main__":
    app.enqueue_many_sync([_call(number) for number in range(_wanted["jobs"])])
    app.close_sync()
