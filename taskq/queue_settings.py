"""How one queue orders and bounds its jobs: checked values, and their form in the queue's meta
hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taskq.errors import InvalidOption
from taskq.keys import check_name
from taskq.options import seconds, whole
from taskq.partition import MOST

POLICIES = ("strict", "aging")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """Settings that were given; None leaves what the queue has."""

    name: str
    policy: str | None = None
    horizon: float | None = None
    patience: tuple[float, ...] | None = None
    max_jobs: int | None = None
    partitions: int = 1

    @classmethod
    def checked(
        cls,
        name: str,
        *,
        policy: str | None = None,
        horizon: float | None = None,
        patience: Sequence[float] | None = None,
        max_jobs: int | None = None,
        partitions: int = 1,
    ) -> QueueSettings:
        """Build from what a user gave; InvalidOption or InvalidName otherwise."""
        if policy is not None and policy not in POLICIES:
            raise InvalidOption(f"policy={policy!r}: use one of {', '.join(POLICIES)}")
        waits = None
        if patience is not None:
            if len(patience) != 10:
                raise InvalidOption(
                    f"patience: ten waits are needed, for priority 0 to 9, not {len(patience)}"
                )
            waits = tuple(seconds("patience", wait) for wait in patience)
        return cls(
            name=check_name(name, "queue"),
            policy=policy,
            horizon=None if horizon is None else seconds("horizon", horizon),
            patience=waits,
            max_jobs=None if max_jobs is None else whole("max_jobs", max_jobs, 1, 10**9),
            partitions=whole("partitions", partitions, 1, MOST),
        )

    def meta(self) -> dict[str, str]:
        """Field names and values for the configure script, for each partition; 'strict' is the
        default and stored as ''.
        """
        fields: dict[str, str] = {}
        if self.policy is not None:
            fields["policy"] = "" if self.policy == "strict" else self.policy
        if self.horizon is not None:
            fields["horizon_ms"] = str(round(self.horizon * 1000))
        if self.patience is not None:
            fields["patience_ms"] = " ".join(str(round(wait * 1000)) for wait in self.patience)
        if self.max_jobs is not None:
            fields["max_jobs"] = str(share_of(self.max_jobs, self.partitions))
        return fields


def share_of(max_jobs: int, partitions: int) -> int:
    """The bound of one partition; rounded up, so that all together hold at least `max_jobs`."""
    return -(-max_jobs // partitions)
