"""The bound of start-time fair queueing: of two groups that both have jobs waiting,
neither gets more than one job of each ahead of what its weight is worth, in any span.

Run times are known and true here; tests/model/rules_order.py has what is settled when they are not.
"""

from __future__ import annotations

from typing import NamedTuple

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskq import commands
from taskq.address import Address
from taskq.commands import Ack, NewJob
from taskq.keys import QueueKeys
from taskq.scripts import ScriptSet
from taskq.store_sync import SyncStore
from tests.model.snapshot import CLOCK, CLOCK_LUA
from tests.model.world import START_US

HOUR_MS = 3_600_000


class Group(NamedTuple):
    weight: float
    run_ms: int
    jobs: int
    comes_after: int
    """So many runs of others."""


groups = st.builds(
    Group,
    weight=st.sampled_from([1, 1, 2, 4, 0.5]),
    run_ms=st.sampled_from([100, 100, 30, 700]),
    jobs=st.integers(3, 25),
    comes_after=st.sampled_from([0, 0, 5, 15]),
)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(found=st.lists(groups, min_size=2, max_size=4), at_once=st.sampled_from([1, 1, 3]))
def test_no_group_is_ahead_of_another_by_more_than_a_job_of_each(
    model_server: str, found: list[Group], at_once: int
) -> None:
    served, joined, emptied = work_off(model_server, found, at_once)
    assert len(served) == sum(group.jobs for group in found), "all had their turn"
    for one, a in enumerate(found):
        for two, b in enumerate(found[:one]):
            first, last = max(joined[one], joined[two]), min(emptied[one], emptied[two])
            ahead, least, most = 0.0, 0.0, 0.0
            for who in served[first:last]:
                ahead += a.run_ms / a.weight if who == one else 0
                ahead -= b.run_ms / b.weight if who == two else 0
                least, most = min(least, ahead), max(most, ahead)
            # Claimed together, the last of a batch are those of the virtual time of its first.
            bound = at_once * (a.run_ms / a.weight + b.run_ms / b.weight)
            assert most - least <= bound + 1e-6, f"{a} and {b}: {most - least} of {bound}"


def work_off(
    socket: str, found: list[Group], at_once: int
) -> tuple[list[int], dict[int, int], dict[int, int]]:
    """One worker; the groups in the order in which they were served, and after how many runs each
    had its first job waiting, and its last one taken.
    """
    client = redis.Redis(unix_socket_path=socket, protocol=2)
    client.flushall()
    client.set(CLOCK, START_US)
    keys = QueueKeys("taskq", "q")
    scripts = ScriptSet(replace={"now_us": CLOCK_LUA})
    store = SyncStore(Address(path=socket), scripts=scripts, client=client)
    weights = {f"weight:g{number}": str(group.weight) for number, group in enumerate(found)}
    store.run(commands.configure(keys, {"policy": "fair", **weights}))
    client.hset(keys.averages, mapping={f"t{n}": group.run_ms for n, group in enumerate(found)})
    client.hset(keys.meta, "unit_ms", 100)
    store.run(commands.heartbeat(keys, "w", ttl_ms=HOUR_MS))
    served: list[int] = []
    joined: dict[int, int] = {}
    emptied: dict[int, int] = {}
    waiting = dict.fromkeys(range(len(found)), 0)
    while True:
        for number, group in enumerate(found):
            others = len(served) >= group.comes_after or not any(waiting.values())
            if number not in joined and others:
                joined[number], waiting[number] = len(served), group.jobs
                jobs = [
                    NewJob(f"{number}-{i}", f"t{number}", b"", extras=("group", f"g{number}"))
                    for i in range(group.jobs)
                ]
                store.run(commands.enqueue(keys, jobs, max_jobs=1000, all_or_none=True))
        claims = store.run(
            commands.claim(keys, "w", keep_ms=HOUR_MS, limit=at_once, slots={"": at_once})
        )
        if not claims.jobs:
            break
        for job in claims.jobs:
            number = int(job.id.partition("-")[0])
            served.append(number)
            waiting[number] -= 1
            if not waiting[number]:
                emptied[number] = len(served)
        for job in claims.jobs:
            # One after another, so that each takes just as long as it is known to.
            number = int(job.id.partition("-")[0])
            client.hset(keys.job(job.id), "started_ms", str(int(clock(client)) // 1000))
            client.incrby(CLOCK, found[number].run_ms * 1000)
            ack = Ack(job.id, job.token, b"", HOUR_MS)
            store.run(
                commands.ack(
                    keys, "w", [ack], keep_ms=HOUR_MS, done_max=1000, limit=0, slots={"": 0}
                )
            )
        client.incr(CLOCK)
    store.close()
    return served, joined, emptied


def clock(client: redis.Redis) -> bytes:
    found = client.get(CLOCK)
    assert isinstance(found, bytes)
    return found
