"""What became of one job in one replay; the same for simulated and real ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Record:
    """One job's life, in seconds of the trace since the first arrival.

    `decided`: when it was chosen to run next, if that is known apart from its start. `rank`: its
    place in the order that the system itself promises; equal ones go by `enqueued`, then number.
    """

    number: int
    enqueued: float
    rank: float
    started: float | None = None
    ended: float | None = None
    """None when it never ran to its end: it expired, or was cut off at its deadline."""
    decided: float | None = None
    stopped: float | None = None
    """When it left a slot without an end."""
    predicted: float | None = None
    """Start that was predicted when it was enqueued."""

    @property
    def wait(self) -> float | None:
        return None if self.started is None else self.started - self.enqueued

    @property
    def left(self) -> float | None:
        """When it gave its slot back."""
        return self.ended if self.ended is not None else self.stopped
