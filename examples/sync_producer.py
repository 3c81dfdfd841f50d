"""A plain script, no `async` anywhere: enqueue, look, wait for the result.

taskq worker sync_producer:app
python sync_producer.py
"""

from __future__ import annotations

from math import isqrt

from taskq import TaskQ
from taskq.errors import InvalidArguments

app = TaskQ()


@app.task(executor="process", timeout=30)
def primes_below(limit: int) -> int:
    """How many primes there are below `limit`: pure CPU, so it runs in a process of its own."""
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\0\0"[: len(sieve)]
    for number in range(2, isqrt(limit) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(sieve[number * number :: number]))
    return sum(sieve)


def main() -> None:
    job = primes_below.enqueue_sync(1_000_000)
    print("enqueued", job.id, "- it is", job.info_sync().state)
    print("primes below a million:", job.result_sync(timeout=30))

    calls = [primes_below.s(10**power) for power in range(1, 7)]
    for power, one in enumerate(app.enqueue_many_sync(calls), start=1):
        print(f"primes below 10^{power}:", one.result_sync(timeout=30))

    try:
        primes_below.enqueue_sync("many", "more")  # type: ignore[call-arg, arg-type]
    except InvalidArguments as error:
        print("refused before anything was sent:", error)


if __name__ == "__main__":
    main()
