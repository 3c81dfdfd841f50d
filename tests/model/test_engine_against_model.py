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
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import QueueMachine

LONG = os.environ.get("TASKQ_MODEL") == "long"
LUA = os.environ.get("TASKQ_MODEL_LUA")


def _settings() -> settings:
    quick = settings(
        max_examples=600,
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


@pytest.mark.timeout(3600 if LONG else 900)
def test_every_script_does_to_a_real_queue_what_the_model_says(model_server: str) -> None:
    class Machine(QueueMachine):
        socket = model_server

    Machine.folder = Path(LUA) if LUA else None
    Machine.steps = 0

    run_state_machine_as_test(Machine, settings=_settings())

    assert Machine.steps > 0
    print(f"{Machine.steps} calls compared")
