"""Why a limit holds a job back: who holds it, until when, how many wait before. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from taskq.commands import LimitSeen, Seen
from taskq.spoken import clock, jobs, span
from taskq.views import Reason, moment


class LimitReasons:
    """The limits one job is under. `blocker`: the one it is parked on."""

    def __init__(self, seen: Seen, blocker: LimitSeen | None, queue: str) -> None:
        self._queue = queue
        self._seen = seen
        self._blocker = blocker

    def reasons(self) -> Iterator[Reason]:
        """The limit that blocks it; or those that would, when its turn comes."""
        blocker = self._blocker
        for one in [blocker] if blocker else self._seen.limits:
            if one.name.startswith("pause:"):
                continue
            words = dict(word.partition("=")[::2] for word in one.definition.split())
            if one.name.startswith("key:"):
                words["concurrency"] = "1"
            most = int(words["concurrency"]) if words.get("concurrency", "").isdecimal() else None
            full = most is not None and one.holding >= most
            until = self._rate_until(one, words)
            if most is not None and full:
                yield self._full(one, most)
            elif until is not None:
                yield self._too_fast(one, until)
            elif blocker:
                yield Reason(
                    code="limit_free",
                    sentence=f"limit {one.instance} has room again; a worker will look at it",
                    details=self._about(one),
                )

    def _rate_until(self, one: LimitSeen, words: dict[str, str]) -> float | None:
        """When the rate lets the next one start, Unix ms; None when it does now."""
        if not words.get("every_us", "").isdecimal() or not one.rate_us:
            return None
        burst = int(words["burst_us"]) if words.get("burst_us", "").isdecimal() else 0
        ms = (one.rate_us - burst) / 1000
        return ms if ms > self._seen.now_ms else None

    def _about(self, one: LimitSeen) -> dict[str, object]:
        blocks = self._blocker is one
        return {
            "limit": one.name,
            "instance": one.instance,
            "definition": one.definition,
            "blocks": blocks,
            "holding": one.holding,
            "holders": [
                {"id": job, "worker": worker or None, "task": task or None}
                for job, worker, task in one.holders
            ],
            "parked": one.parked,
            "parked_before": int(self._seen.facts.get("before", 0)) if blocks else None,
        }

    def _waits(self, one: LimitSeen) -> str:
        if self._blocker is not one:
            return "when its turn comes it will wait for"
        before = int(self._seen.facts.get("before", 0))
        return f"it waits, {f'behind {jobs(before)}' if before else 'as the first'}, for"

    def _full(self, one: LimitSeen, most: int) -> Reason:
        who = ", ".join(job + (f" on {worker}" if worker else "") for job, worker, _ in one.holders)
        more = one.holding - len(one.holders)
        who += f" and {more} more" if more > 0 and who else ""
        if one.name.startswith("key:"):
            return Reason(
                code="key_running",
                sentence=f"{self._waits(one)} the job that runs under the same key"
                + (f": {who}" if who else ""),
                details=self._about(one),
                remedies=tuple(f"`taskq job cancel {job}` stops it" for job, *_ in one.holders),
            )
        return Reason(
            code="limit_concurrency",
            sentence=f"{self._waits(one)} limit {one.instance}: {one.holding} of {most} run"
            + (f" ({who})" if who else ""),
            details={**self._about(one), "concurrency": most},
            remedies=(
                "the end of one of them",
                f"`taskq limit set {self._queue} {shlex.quote(one.name)} --concurrency {most + 1}`",
            ),
        )

    def _too_fast(self, one: LimitSeen, until: float) -> Reason:
        left = (until - self._seen.now_ms) / 1000
        return Reason(
            code="limit_rate",
            sentence=f"{self._waits(one)} the rate of limit {one.instance}: the next may start in"
            f" {span(left)} ({clock(moment(until))})",
            details={**self._about(one), "until_ms": round(until)},
            remedies=(
                "time",
                f"`taskq limit set {self._queue} {shlex.quote(one.name)} --rate ...`",
            ),
        )
