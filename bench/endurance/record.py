"""What a long run has found, and its JSON form."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One look: memory in bytes, CPU in percent of a core and the rest since the look before."""

    at: float
    """Seconds since the producer began."""
    done: int
    waiting: int
    """Enqueued and not completed, those that run included."""
    keys: int
    worker_rss: int
    producer_rss: int
    server_used: int
    """Without the buffers of connections, which come and go."""
    server_rss: int
    worker_cpu: float
    producer_cpu: float
    server_cpu: float
    p50: float
    p99: float
    longest: float
    """Enqueue call to first line of the task, ms."""


@dataclass(slots=True, kw_only=True)
class Record:
    """A long run. `wanted` is the rate asked for, jobs/s, `rate` what was sent."""

    machine: dict[str, str]
    wanted: float
    probed: float
    """What the machine sustained just before, jobs/s; 0: the rate was given."""
    seconds: float
    every: float
    keep: float
    rate: float = 0.0
    sent: int = 0
    failed: int = 0
    """Enqueue calls that raised; `trouble` is what the first of them said."""
    trouble: str = ""
    enqueued: int = 0
    completed: int = 0
    started: int = 0
    """As the queue counts, and as the tasks themselves do, in the end."""
    moments: list[Moment] = field(default_factory=list)
    when: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d"))

    def dump(self) -> str:
        """JSON; one line for each look."""
        found = asdict(self)
        moments = found.pop("moments")
        looks = ",\n  ".join(json.dumps(_short(moment)) for moment in moments)
        lines = [f'"{name}": {json.dumps(value)}' for name, value in _short(found).items()]
        lines.append(f'"moments": [\n  {looks}\n ]')
        return "{\n " + ",\n ".join(lines) + "\n}\n"


def load(path: Path) -> Record:
    """Read what `dump` wrote."""
    found = json.loads(path.read_text())
    found["moments"] = [Moment(**moment) for moment in found["moments"]]
    return Record(**{one.name: found[one.name] for one in fields(Record)})


def _short(found: dict[str, object]) -> dict[str, object]:
    return {n: round(v, 3) if isinstance(v, float) else v for n, v in found.items()}
