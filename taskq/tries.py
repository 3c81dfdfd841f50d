"""How long a store waits between two tries of a call. Both stores use it."""

from __future__ import annotations

import random


def pause_before(attempt: int) -> float:
    """Seconds to wait after the try number `attempt` (from 1) failed; jittered."""
    return random.uniform(0, min(2.0, 0.05 * 4**attempt))
