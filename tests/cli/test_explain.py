"""`taskq job explain`: the words for every reason a job may wait."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli
from tests.helpers import wait_until

pytestmark = pytest.mark.keeps_keys("explains jobs that wait")


def reasons(cli: Cli, job: str) -> str:
    ran = cli.call("job", "explain", job, "--json")
    assert ran.code == 0, ran.err
    assert set(ran.json) == {
        "id", "queue", "task", "state", "reason", "reasons", "remedies", "predicted_start_at",
        "explained",
    }  # fmt: skip
    return "\n".join(ran.json["reasons"])


def test_nobody_serves_the_queue_and_others_go_first(cli: Cli) -> None:
    cli.enqueue("add", "1")
    second = cli.enqueue("add", "2")

    said = reasons(cli, second)

    assert "no worker alive serves the queue" in said
    assert "1 job goes first; its rank: priority 5, due 2" in said


def test_a_paused_queue_is_the_reason(cli: Cli) -> None:
    job = cli.enqueue("add", "1")
    cli.call("queue", "pause", "default")

    assert "`taskq queue resume default`" in reasons(cli, job)


def test_a_scheduled_job_is_due_later(cli: Cli) -> None:
    job = cli.enqueue("add", "1", "--delay", "2h")

    assert "scheduled: due in 2 h" in reasons(cli, job) or "due in 1 h 59 min" in reasons(cli, job)


def test_a_process_job_without_process_slots_says_so(cli: Cli) -> None:
    job = cli.run("enqueue", "shop:crunch", "3").out.strip()

    assert "no worker alive has process slots" in reasons(cli, job)


def test_a_running_job_names_its_worker(cli: Cli) -> None:
    cli.worker("--name", "anna")
    job = cli.enqueue("work", "x", "30")
    wait_until(lambda: cli.exists("began-x"))

    said = reasons(cli, job)
    (cli.folder / "go-x").touch()

    assert "it is running on anna-" in said


def test_a_dead_job_tells_its_error_and_the_way_back(cli: Cli) -> None:
    job = cli.enqueue("boom", "paper jam")
    cli.run("worker", "shop:app", "--burst")

    said = reasons(cli, job)

    assert "ValueError: paper jam" in said
    assert f"taskq job retry {job}" in said
