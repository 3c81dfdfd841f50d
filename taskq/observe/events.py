"""Names of the events that logs carry in their `event` field: one search finds all of a kind.

A record gets its event from `extra={"event": ...}`, else from the logger that wrote it.
"""

from __future__ import annotations

#: The event of a record that brings none, by logger: what is going on in that part.
BY_LOGGER = {
    "taskq.worker": "worker",
    "taskq.pump": "claim",
    "taskq.job": "job",
    "taskq.heart": "heartbeat",
    "taskq.supervisor": "supervisor",
    "taskq.reload": "reload",
}
#: Fields a record may bring with `extra=`, and that every format shows.
FIELDS = ("job", "task", "queue", "worker", "attempt", "seconds")


def event_of(logger: str, given: object) -> str:
    """The event of a record."""
    if isinstance(given, str) and given:
        return given
    return BY_LOGGER.get(logger, "log")
