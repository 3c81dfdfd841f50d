"""One file a scenario: `NAME`, `ONCE` and `run(bench)`, which yields samples of one round."""

from __future__ import annotations

from bench.bench import Scenario
from bench.scenarios import drain, enqueue, idle, latency, profile, request, waiting

#: In the order in which they run and are printed.
ALL: tuple[Scenario, ...] = (drain, enqueue, latency, idle, request, waiting, profile)
