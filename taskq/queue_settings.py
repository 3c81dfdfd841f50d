"""How one queue orders and bounds its jobs: checked values, and their form in the queue's meta
hash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from taskq.errors import InvalidOption
from taskq.keys import check_name
from taskq.limit import Limit, check_limits
from taskq.options import seconds, whole
from taskq.partition import MOST
from taskq.template import check_template, fields_of

POLICIES = ("strict", "aging", "fair")
#: What an enqueue does that finds the queue full.
ON_FULL = ("reject", "wait", "drop_oldest")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """Settings that were given; None leaves what the queue has."""

    name: str
    policy: str | None = None
    horizon: float | None = None
    patience: tuple[float, ...] | None = None
    max_jobs: int | None = None
    on_full: str | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
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
        on_full: str | None = None,
        weights: Mapping[str, float] | None = None,
        limits: Sequence[Limit] = (),
        partitions: int = 1,
    ) -> QueueSettings:
        """Build from what a user gave; InvalidOption or InvalidName otherwise."""
        for word, value, choices in (
            ("policy", policy, POLICIES),
            ("on_full", on_full, ON_FULL),
        ):
            if value is not None and value not in choices:
                raise InvalidOption(f"{word}={value!r}: use one of {', '.join(choices)}")
        waits = None
        if patience is not None:
            if len(patience) != 10:
                raise InvalidOption(
                    f"patience: ten waits are needed, for priority 0 to 9, not {len(patience)}"
                )
            waits = tuple(seconds("patience", wait) for wait in patience)
        checked_limits = check_limits(limits)
        if whole("partitions", partitions, 1, MOST) > 1:
            _refuse_with_partitions(name, policy, bool(weights), bool(checked_limits))
        return cls(
            name=check_name(name, "queue"),
            policy=policy,
            horizon=None if horizon is None else seconds("horizon", horizon),
            patience=waits,
            max_jobs=None if max_jobs is None else whole("max_jobs", max_jobs, 1, 10**9),
            on_full=on_full,
            weights={} if weights is None else check_weights(weights),
            limits=checked_limits,
            partitions=partitions,
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
        if self.on_full is not None:
            fields["on_full"] = "" if self.on_full == "reject" else self.on_full
        for group, weight in self.weights.items():
            fields[f"weight:{group}"] = f"{weight:g}"
        return fields


def check_weights(weights: object) -> dict[str, float]:
    """Weights of groups; InvalidOption for what is none."""
    if not isinstance(weights, Mapping):
        raise InvalidOption(f"weights={ascii(weights)[:60]}: use a mapping of group to weight")
    for group, weight in weights.items():
        if fields_of(check_template(group, "group")):
            raise InvalidOption(f"weights: {group!r} is a template: weights belong to groups")
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not math.isfinite(weight) or not 0.001 <= weight <= 1_000_000:
            raise InvalidOption(
                f"weights: {group}={ascii(weight)[:60]}: use a number from 0.001 to 1,000,000"
            )
    return dict(weights)


def _refuse_with_partitions(name: str, policy: str | None, weights: bool, limits: bool) -> None:
    """Each partition lives alone, so that it can be on another node: no script sees two of them."""
    what = "limits=" if limits else "weights=" if weights else "policy='fair'"
    if limits or weights or policy == "fair":
        raise InvalidOption(
            f"queue {name!r}: {what} needs partitions=1: what counts over the whole queue must be"
            " in one place"
        )


def share_of(max_jobs: int, partitions: int) -> int:
    """The bound of one partition; rounded up, so that all together hold at least `max_jobs`."""
    return -(-max_jobs // partitions)
