"""All scripts in random order on a real server, compared with a plain-Python model after every
call.

TASKQ_MODEL=long runs for minutes and draws anew each time; the run in the suite is the same for the
same code (`derandomize`), so a commit is judged by what it changes and not by luck. No example
database: a failure is reproduced by the printed steps (or, in the long run, by the printed blob),
not by a file of this machine. TASKQ_MODEL_LUA=folder runs the scripts of another folder, to see
that a broken one is noticed; the steps are then printed as they were drawn. A failure takes
minutes to become short.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.faults import FaultMachine

LONG = os.environ.get("TASKQ_MODEL") == "long"
LUA = os.environ.get("TASKQ_MODEL_LUA")


def machine_settings() -> settings:
    quick = settings(
        max_examples=400,
        stateful_step_count=50,
        deadline=None,
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        derandomize=not LONG,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,) if LUA else (Phase.generate, Phase.shrink),
    )
    if not LONG:
        return quick
    return settings(quick, max_examples=2_500, stateful_step_count=80)


#: What the run must have met at least once, or it has tested less than it says.
MET = """
ack job|ack STALE|ack ALREADY|ack GONE|ack PAUSED|ack LAPSED
cancel True|cancel False|cancel JobNotFound|cancel LeaseLost|cancel WrongState
claim job|claim PAUSED|claim LAPSED
audit|repair|enqueue new|enqueue DUP|enqueue CONFLICT|enqueue FULL
fail RETRY|fail DEAD|fail CANCELLED|fail STALE|fail ALREADY|fail GONE
forget GONE|heartbeat lapsed|heartbeat asked|heartbeat silent|held
pause|resume|configure|stats|retire
progress OK|progress STALE|progress GONE|promote job|purge job|watch
bury READY|bury DEAD|bury CANCELLED|reap READY|reap DEAD
release READY|release CANCELLED|release STALE|release GONE
revive READY|revive NOT_FOUND
limit|schedule|enqueue KEPT|enqueue START|enqueue LATE|enqueue STRUCK
blocked|parked|holding|rate|unique|turned|shares|averages|schedules|configure StoreUnavailable
"""


@pytest.mark.timeout(3600 if LONG else 900)
def test_every_script_does_to_a_real_queue_what_the_model_says(model_server: str) -> None:
    class Machine(FaultMachine):
        socket = model_server
        folder = Path(LUA) if LUA else None
        seen: ClassVar[Counter[str]] = Counter()

    run_state_machine_as_test(Machine, settings=machine_settings())

    print(f"{Machine.seen['calls']} calls compared: {dict(sorted(Machine.seen.items()))}")
    met = MET.strip().replace("\n", "|").split("|")
    assert not [word for word in met if not Machine.seen[word]]
