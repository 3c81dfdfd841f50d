"""Commands that change something: enqueue, queue pause|resume|purge|set, job retry|cancel|rm."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli
from tests.helpers import wait_until

pytestmark = pytest.mark.keeps_keys("leaves jobs as the command left them")


def test_enqueue_prints_the_id_and_nothing_else(cli: Cli) -> None:
    ran = cli.call("enqueue", "add", "1", "2", "--queue", "mail", "--priority", "8")

    assert ran.code == 0
    assert ran.err == ""
    job = cli.call("job", "show", ran.out.strip(), "--json").json
    assert (job["queue"], job["task"], job["priority"], job["args"]) == ("mail", "add", 8, [1, 2])


def test_arguments_are_json_or_else_text(cli: Cli) -> None:
    words = ["1", "true", "null", '"2"', "[1, {}]", "cat.png", "NaN", "1.5", "--", "-3"]

    job = cli.enqueue("add", *words)

    args = cli.call("job", "show", job, "--json").json["args"]
    assert args == [1, True, None, "2", [1, {}], "cat.png", "NaN", 1.5, -3]


def test_enqueue_of_a_task_uses_its_queue_and_checks_its_signature(cli: Cli) -> None:
    good = cli.run("enqueue", "shop:crunch", "4")
    through_app = cli.run("enqueue", "shop:app.crunch", "4")
    wrong = cli.run("enqueue", "shop:crunch", "4", "5")

    jobs = cli.call("job", "ls", "--queue", "reports", "--json").json
    assert {job["id"] for job in jobs} == {good.out.strip(), through_app.out.strip()}
    assert {job["priority"] for job in jobs} == {7}
    assert wrong.code == 2
    assert "too many positional arguments" in wrong.error


def test_the_same_id_twice_is_one_job_and_another_call_is_refused(cli: Cli) -> None:
    first = cli.call("enqueue", "add", "1", "--id", "mine")
    again = cli.call("enqueue", "add", "1", "--id", "mine")
    other = cli.call("enqueue", "add", "2", "--id", "mine")

    assert (first.out, again.out) == ("mine\n", "mine\n")
    assert "was there already" in again.err
    assert other.code == 4
    assert "taken by a job with another task or arguments" in other.error


def test_wait_prints_the_result_as_json(cli: Cli) -> None:
    cli.worker()

    ran = cli.run("enqueue", "add", "40", "--wait", "--timeout", "10s")

    assert (ran.code, ran.out) == (0, "42\n")


def test_wait_ends_with_1_and_the_traceback_when_the_job_fails(cli: Cli) -> None:
    cli.worker()

    ran = cli.call("enqueue", "boom", "paper\x1b[0m jam", "--wait", "--timeout", "10s")

    assert (ran.code, ran.out) == (1, "")
    assert "taskq: error: job " in ran.err
    assert "ValueError: paper\\x1b[0m jam" in ran.err
    assert "\x1b" not in ran.err


def test_wait_ends_with_5_when_the_time_is_over_and_the_job_lives_on(cli: Cli) -> None:
    ran = cli.call("enqueue", "add", "1", "--id", "slow", "--wait", "--timeout", "50ms")

    assert ran.code == 5
    assert "has no result after 0.05 s; it lives on" in ran.error
    assert cli.state("slow") == "ready"


def test_a_paused_queue_gives_no_jobs_until_it_is_resumed(cli: Cli) -> None:
    cli.call("queue", "pause", "default")
    job = cli.enqueue("add", "1")
    cli.run("worker", "shop:app", "--burst")
    assert cli.state(job) == "ready"
    assert cli.call("queue", "show", "default", "--json").json["paused"] is True

    cli.call("queue", "resume", "default")
    cli.run("worker", "shop:app", "--burst")

    assert cli.state(job) == "completed"


def test_purge_without_yes_refuses_when_nobody_can_be_asked(cli: Cli) -> None:
    job = cli.enqueue("add", "1")

    ran = cli.call("queue", "purge", "default", "ready")

    assert ran.code == 4
    assert "1 ready jobs of queue default would be removed: say --yes" in ran.error
    assert cli.state(job) == "ready"


def test_purge_removes_every_job_of_a_state_class_or_not(cli: Cli) -> None:
    for number in range(3):
        cli.enqueue("add", str(number), "--delay", "1h")
    kept = cli.enqueue("add", "1")
    cli.run("enqueue", "shop:crunch", "1", "--queue", "default")

    scheduled = cli.call("queue", "purge", "default", "scheduled", "--yes")
    ready = cli.call("queue", "purge", "default", "ready", "--yes")

    assert (scheduled.code, scheduled.out) == (0, "3\n")
    assert (ready.code, ready.out) == (0, "2\n")
    assert cli.call("job", "show", kept).code == 3


def test_retry_brings_a_dead_job_back(cli: Cli) -> None:
    job = cli.enqueue("boom", "x")
    cli.run("worker", "shop:app", "--burst")

    ran = cli.call("job", "retry", job)

    assert (ran.code, ran.out) == (0, f"{job}\n")
    assert cli.state(job) == "ready"


def test_cancel_answers_differently_for_waiting_ended_unknown_and_running(cli: Cli) -> None:
    waiting = cli.enqueue("add", "1", "--queue", "nobody")
    cli.worker()
    running = cli.enqueue("work", "x", "30")
    wait_until(lambda: cli.exists("began-x"))

    first = cli.call("job", "cancel", waiting)
    again = cli.call("job", "cancel", waiting)
    done = cli.enqueue("add", "1")
    wait_until(lambda: cli.state(done) == "completed")
    late = cli.call("job", "cancel", done)
    unknown = cli.call("job", "cancel", "nosuchjob")
    asked = cli.call("job", "cancel", running)
    (cli.folder / "go-x").touch()

    assert (first.code, again.code, unknown.code, asked.code) == (0, 0, 3, 0)
    assert late.code == 4
    assert "is cancelled" in first.err
    assert "cannot be cancelled: it is completed" in late.error
    assert "no job 'nosuchjob' in any queue" in unknown.error
    assert "its worker was asked to stop it" in asked.err


def test_rm_takes_ended_jobs_only_and_goes_on_after_one_that_is_not(cli: Cli) -> None:
    waiting = cli.enqueue("add", "1", "--delay", "1h")
    ended = cli.enqueue("add", "1")
    cli.run("worker", "shop:app", "--burst")

    ran = cli.call("job", "rm", waiting, ended)

    assert (ran.code, ran.out) == (4, f"{ended}\n")
    assert f"job {waiting} cannot be removed: it is scheduled" in ran.error
    assert cli.call("job", "show", ended).code == 3


def test_set_without_anything_is_wrong_usage(cli: Cli) -> None:
    ran = cli.call("queue", "set", "default")

    assert ran.code == 2
    assert "nothing to set: give --policy, --horizon," in ran.error


def test_a_full_queue_refuses(cli: Cli) -> None:
    cli.call("queue", "set", "default", "--max-jobs", "1")
    cli.enqueue("add", "1")

    ran = cli.call("enqueue", "add", "2")

    assert ran.code == 4
    assert "queue 'default' is full" in ran.error
