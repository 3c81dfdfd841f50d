"""Unique keys: a key of the producer's choosing belongs to one live job at a time.

The lock is that job's id, and is believed only while the job is there and the mode says so.
"""

from __future__ import annotations

from tests.model.world import World, when

WAITING = ("scheduled", "ready", "blocked", "retry")


class Keys:
    """The keys that the jobs of one enqueue want."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.mine: dict[str, tuple[str, int | None]] = {}
        """Key to the job of this call that has it now, and for how long (ms)."""
        self.replaced: list[str] = []
        self.replacing: dict[str, str] = {}
        self.extended: list[tuple[str, int | None, str, str]] = []

    def claim(self, key: str, job_id: str, mode: str, on_duplicate: str, at: str) -> str:
        """The id of the job that keeps the key; '' when `job_id` has it from now on.

        `queued`: a job that waits keeps it; `running`: one that runs, too; ms: for so long,
        whatever becomes of the job.
        """
        if key in self.mine:
            return self.mine[key][0]
        span = int(mode) if mode.isdecimal() else None
        owner = self.world.locks.get(key, "")
        state = self.world.jobs.get(owner, {}).get("state", "")
        if owner == job_id:
            state = ""
        if state in WAITING and on_duplicate == "replace":
            self.replaced.append(owner)
            self.replacing[job_id] = owner
        elif (
            state in WAITING
            or (mode, state) == ("running", "running")
            or (span and owner != job_id and f"unique:{key}" in self.world.expiry)
        ):
            if on_duplicate == "extend":
                self.extended.append((key, span, owner, at if state == "scheduled" else ""))
            return owner
        self.mine[key] = (job_id, span)
        return ""

    def forget(self, job_id: str) -> None:
        """The job is not created after all."""
        self.mine = {key: mine for key, mine in self.mine.items() if mine[0] != job_id}
        if job_id in self.replacing:
            self.replaced.remove(self.replacing.pop(job_id))

    def keep(self) -> None:
        """Write the locks."""
        world = self.world
        for key, (job_id, span) in self.mine.items():
            world.locks[key] = job_id
            world.expiry.pop(f"unique:{key}", None)
            if span is not None:
                world.expiry[f"unique:{key}"] = world.now + span
        for key, span, owner, at in self.extended:
            if span is not None and key in world.locks:
                world.expiry[f"unique:{key}"] = world.now + span
            later, due = when(at, world.now), world.index("scheduled")
            if later is not None and owner in due:
                due[owner] = max(due[owner], later)
