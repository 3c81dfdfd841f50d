"""Which random fault comes when: a pure function of the seed, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import NamedTuple

#: Workers whose faults are drawn.
SEATS = 4


class Step(NamedTuple):
    """A fault that begins `at` s into the run and lasts `lasts` s; `seat` -1 is the server."""

    at: float
    kind: str
    seat: int
    lasts: float

    def __str__(self) -> str:
        where = "server" if self.seat < 0 else f"worker {self.seat + 1}"
        lasts = f" for {self.lasts:.1f} s" if self.lasts else ""
        return f"{self.at:6.1f} s  {where:8}  {self.kind}{lasts}"


class Kind(NamedTuple):
    """A kind of fault: how often it is drawn, and how long it lasts."""

    name: str
    weight: int
    least: float = 0.0
    most: float = 0.0
    needs: str = ""


#: Longer and shorter than a heartbeat's life (2 s) and the grace time after it (1 s).
WORKER_FAULTS = (
    Kind("kill", 5),
    Kind("kill a child", 2),
    Kind("freeze", 4, 0.2, 5.0),
    Kind("replace", 4),
    Kind("replace at once", 2),
    Kind("poison", 1),
    Kind("cut off", 5, 0.3, 6.0, "network"),
    Kind("lose replies", 3, 0.3, 5.0, "network"),
    Kind("lose requests", 3, 0.3, 5.0, "network"),
    Kind("slow link", 2, 1.0, 4.0, "network"),
)
SERVER_FAULTS = (
    Kind("freeze", 4, 0.2, 5.0),
    Kind("kill and restart", 3, 0.2, 4.0),
    Kind("restart", 1, 0.2, 1.0),
    Kind("pause clients", 3, 0.3, 4.0),
    Kind("pause writes", 2, 0.3, 4.0),
    Kind("hang up on all", 4),
    Kind("forget scripts", 3),
    Kind("out of memory", 3, 0.5, 3.0),
    Kind("rewrite AOF", 1),
)


def schedule(seed: int, seconds: float, able: Collection[str]) -> list[Step]:
    """The faults of one run in order of time. Faults of workers and of the server may meet."""
    draw = random.Random(seed)
    steps = []
    for kinds, seats, pause in ((WORKER_FAULTS, SEATS, 1.5), (SERVER_FAULTS, 0, 4.0)):
        possible = [kind for kind in kinds if kind.needs in ("", *able)]
        weights = [kind.weight for kind in possible]
        at = 3.0
        # The last faults must be over, and recovered from, while jobs still come.
        while at < seconds - 8:
            kind = draw.choices(possible, weights)[0]
            lasts = round(draw.uniform(kind.least, kind.most), 1)
            seat = draw.randrange(seats) if seats else -1
            steps.append(Step(round(at, 1), kind.name, seat, lasts))
            at += lasts + draw.uniform(0.2, 2 * pause)
    return sorted(steps)
