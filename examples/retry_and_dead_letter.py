"""A task that fails: retries, giving up, the dead letter, and bringing it back.

taskq worker retry_and_dead_letter:app
python retry_and_dead_letter.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from taskq import Context, Discard, Retry, TaskQ
from taskq.errors import JobFailed

app = TaskQ()

#: Stands for a bank that is down at first: it is open while this file exists.
BANK = Path(tempfile.gettempdir(), "taskq-example-bank-is-open")


@app.task(retries=2, backoff=0.2)
async def charge(ctx: Context, card: str, cents: int) -> str:
    if card == "stolen":
        raise Discard("the card is stolen")  # trying again cannot help
    if card == "slow" and ctx.attempt == 1:
        raise Retry(delay=0.5)  # not now; the task knows better when
    if card == "ours" and not BANK.exists():
        raise ConnectionError("the bank is closed")  # an error like any other: backoff, retry
    return f"{card} card: {cents / 100:.2f} at attempt {ctx.attempt}"


async def main() -> None:
    BANK.unlink(missing_ok=True)
    async with app:
        slow = await charge.enqueue("slow", 1250)
        print("asked for a retry:", await slow.result(timeout=10))

        for card in ("stolen", "ours"):
            job = await charge.enqueue(card, 1250)
            try:
                await job.result(timeout=10)
            except JobFailed as failure:
                info = await job.info()
                print(f"{info.state} after {info.attempt} attempts, {info.reason}: {failure.error}")

        BANK.touch()
        await job.retry()  # the dead letter goes back to work, with fresh attempts
        print("revived:", await job.result(timeout=10))
    BANK.unlink()


if __name__ == "__main__":
    asyncio.run(main())
