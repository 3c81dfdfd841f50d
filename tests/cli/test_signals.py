"""`taskq queue signals`, and what a look says of measured tasks."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli

pytestmark = pytest.mark.keeps_keys("looks at jobs that wait")

SIGNALS = {
    "queue", "ready", "due", "blocked", "running", "workers", "slots", "utilisation",
    "oldest_age_seconds", "work_seconds", "time_to_drain_seconds", "least_slack_seconds", "late",
    "workers_needed", "paused", "exact",
}  # fmt: skip


def test_signals_for_programs_and_for_people(cli: Cli) -> None:
    for _ in range(3):
        cli.enqueue("add", "1", "--deadline", "1h")
    cli.call("queue", "pause", "default")

    shape = cli.call("queue", "signals", "default", "--json").json
    text = cli.call("queue", "signals", "default").out

    assert set(shape) == SIGNALS
    assert (shape["ready"], shape["workers"], shape["workers_needed"]) == (3, 0, 1)
    assert 3500 < shape["least_slack_seconds"] <= 3600
    assert (shape["time_to_drain_seconds"], shape["paused"], shape["exact"]) == (None, True, True)
    assert "waiting  3 ready, 0 due, 0 blocked by limits" in text
    assert "1 needed so that no deadline is missed" in text
    assert "taskq queue resume default" in text


def test_slots_of_a_worker_to_come_can_be_said(cli: Cli) -> None:
    for _ in range(30):
        cli.enqueue("add", "1", "--deadline", "1s", "--queue", "mail", "--priority", "5")
    words = ("queue", "signals", "mail", "--json", "--slots-per-worker", "1")
    few = cli.call(*words).json

    assert few["workers_needed"] >= 1
    assert cli.call("queue", "signals", "mail", "--slots-per-worker", "0").code == 2
    assert cli.call("queue", "signals", "nowhere").code == 3


def test_show_says_how_long_tasks_take_and_how_they_stand_to_deadlines(cli: Cli) -> None:
    cli.enqueue("add", "1", "--deadline", "1h")
    cli.run("worker", "shop:app", "--burst")

    shape = cli.call("queue", "show", "default", "--json").json
    text = cli.call("queue", "show", "default").out

    tasks = {one["task"]: one for one in shape["tasks"]}
    assert set(tasks) == {"*", "add"}
    assert tasks["add"]["average_seconds"] >= 0
    slack = tasks["add"]["slack"]
    assert (slack["started"], slack["late"], slack["expired"]) == (1, 0, 0)
    assert 3500 < slack["mean_seconds"] <= 3600
    assert "task     add: runs take " in text
    assert "left at start" in text
    assert "task     all tasks: runs take " in text
