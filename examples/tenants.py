"""Many customers, one fleet: a limit for each, a rate for a partner's API, one report at a time.

taskq worker tenants:app
python tenants.py
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from taskq import Limit, TaskQ

app = TaskQ()


# No tenant runs more than two at a time, and all together call the partner 50 times a second.
@app.task(limits=[Limit("tenant:{tenant}", concurrency=2), Limit("partner-api", rate="50/s")])
async def sync_order(tenant: str, order: int) -> tuple[str, float, float]:
    began = time.time()
    await asyncio.sleep(0.1)
    return tenant, began, time.time()


# A report that is asked for again while it waits is the same report.
@app.task(key="report:{tenant}", unique="queued")
async def report(tenant: str) -> str:
    return f"report of {tenant}"


def most_at_a_time(runs: list[tuple[str, float, float]]) -> dict[str, int]:
    """The largest number of runs of each tenant that went on together."""
    most: Counter[str] = Counter()
    for tenant, began, _ in runs:
        together = sum(b <= began < end for name, b, end in runs if name == tenant)
        most[tenant] = max(most[tenant], together)
    return dict(most)


async def main() -> None:
    async with app:
        orders = [sync_order.s("acme", n) for n in range(20)]  # a flood of one tenant ...
        orders += [sync_order.s("globex", n) for n in range(3)]  # ... must not hold up another
        jobs = await app.enqueue_many(orders)
        runs = await app.results(jobs, timeout=30)
        for tenant, count in sorted(most_at_a_time(runs).items()):
            print(f"{tenant}: at most {count} at a time")

        await app.pause_task("report")
        first, again = await report.enqueue("acme"), await report.enqueue("acme")
        print("asked twice, one job:", again == first, again.duplicate)
        await app.resume_task("report")
        print(await again.result(timeout=10))


if __name__ == "__main__":
    asyncio.run(main())
