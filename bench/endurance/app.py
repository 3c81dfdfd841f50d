"""The task of the long run. The environment says where Redis is and how long results are kept."""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.endurance.delays import Delays
from taskq import TaskQ

app = TaskQ(
    os.environ["BENCH_URL"],
    namespace=os.environ["BENCH_NAMESPACE"],
    result_ttl=float(os.environ["BENCH_KEEP"]),
)

_delays = Delays(Path(os.environ["BENCH_DELAYS"]))


@app.task
async def timed(called_ns: int) -> None:
    """Count how long ago the enqueue call began."""
    _delays.note(time.monotonic_ns() - called_ns)
