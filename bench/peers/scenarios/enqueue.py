"""How fast one producer process enqueues no-ops, each way that the system's client has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.bench import Sample
from bench.peers.stand import Stand
from bench.server import Readings

NAME = "enqueue"
NEEDS_WORKER = False

_SECONDS = 0.5
_BULK = 20_000
_BULK_S = 0.7
#: Case, way of the producer, which of the client's ways it takes.
_CASES = (
    ("one by one, async", "async", "async"),
    ("one by one, sync", "sync", "sync"),
    ("100 coroutines at a time", "gathered", "async"),
)


def run(stand: Stand) -> Iterable[Sample]:
    """Every way once, on an empty server without a worker."""
    stand.drop()
    stand.ask(do="ways")
    for case, way, needs in _CASES:
        if needs in stand.ways:
            before = stand.server.read()
            answer = stand.ask(do="enqueue", way=way, seconds=_SECONDS * stand.scale)
            yield from _samples(case, answer, stand.server.read().since(before))
    if "many" in stand.ways:
        stand.drop()
        stand.ask(do="ways")
        before = stand.server.read()
        answer = stand.fill("noop", _BULK, seconds=_BULK_S * stand.scale)
        used = stand.server.read().since(before)
        yield from _samples("bulk", answer, used)
    stand.drop()


def _samples(case: str, answer: dict[str, Any], used: Readings) -> Iterable[Sample]:
    count = answer["count"]
    yield Sample(case, "rate", count / answer["wall"], "jobs/s")
    yield Sample(case, "producer CPU", answer["cpu"] / count * 1e6, "µs/job")
    yield Sample(case, "server CPU", used.cpu / count * 1e6, "µs/job")
    yield Sample(case, "commands, inside scripts too", used.all_calls / count, "per job")
    yield Sample(case, "to the server", used.received / count, "bytes/job")
