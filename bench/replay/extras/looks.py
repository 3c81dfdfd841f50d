"""What a look costs the server while many jobs wait: `taskq job explain`, signals, and the figures
of a queue. The scripts' own time for a call.
"""

from __future__ import annotations

from bench import raw
from bench.replay.results import Results
from bench.server import Server
from taskq import commands
from taskq.keys import QueueKeys

NAME = "looks"
_HOUR_MS = 3_600_000


def take(results: Results, server: Server, *, quick: bool) -> None:
    """Looks at queues of two sizes, in turn, some rounds."""
    sizes, calls, rounds = ((1_000,), 20, 1) if quick else ((1_000, 100_000), 100, 5)
    keys = {size: QueueKeys(server.namespace, f"looks-{size}") for size in sizes}
    server.clear()
    wire = raw.Wire(server.url)
    try:
        wire.load("enqueue", "heartbeat", "explain", "signals", "stats")
        for size, own in keys.items():
            raw.run(wire, commands.heartbeat(own, "w", ttl_ms=_HOUR_MS))
            for start in range(0, size, 200):
                wire.send(raw.enqueue(own, raw.jobs(start, min(200, size - start))))
                wire.receive()
        for _ in range(rounds):
            for size, own in keys.items():
                middle = raw.jobs(size // 2, 1)[0].id
                for name, call in (
                    ("job explain", commands.explain(own, middle)),
                    ("queue signals", commands.signals(own)),
                    ("queue show", commands.stats(own)),
                ):
                    before = server.read()
                    for _ in range(calls):
                        raw.run(wire, call)
                    used = server.read().since(before).commands["evalsha"].usec
                    results.add(NAME, f"{size:,} waiting", name, "real", {"usec": used / calls})
    finally:
        wire.close()
