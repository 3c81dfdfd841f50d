"""`taskq worker` as a process: it drains, hurries, ends, and looks after its children."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from taskq.errors import ConfigError
from taskq.worker import reload, supervisor
from tests.cli.conftest import Cli
from tests.helpers import wait_until

pytestmark = pytest.mark.keeps_keys("workers are killed with jobs in hand")


def gone(pids: list[int]) -> bool:
    """Have these processes ended?"""
    return not any(
        psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        for pid in pids
    )


def pids(cli: Cli) -> set[int]:
    return {worker["pid"] for worker in cli.workers()}


def started(cli: Cli, name: str, seconds: float = 30) -> str:
    """A job that runs until `go-<name>` is there."""
    job = cli.enqueue("work", name, str(seconds))
    wait_until(lambda: cli.exists(f"began-{name}"))
    return job


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_exit_code_is_0(cli: Cli, number: signal.Signals) -> None:
    process = cli.worker()
    job = started(cli, "x")
    waiting = cli.enqueue("work", "y", "0")
    wait_until(lambda: cli.state(waiting) == "completed")

    process.send_signal(number)
    wait_until(lambda: "draining: 1 jobs run" in cli.log)
    late = cli.enqueue("work", "z", "0")
    (cli.folder / "go-x").touch()

    assert process.wait(10) == 0
    assert cli.state(job) == "completed"
    assert cli.state(late) == "ready"
    assert cli.call("workers", "--json").json == []


def test_a_second_signal_stops_at_once_and_gives_the_job_back(cli: Cli) -> None:
    process = cli.worker()
    job = started(cli, "x", seconds=60)

    process.terminate()
    wait_until(lambda: "draining" in cli.log)
    began = time.monotonic()
    process.terminate()

    assert process.wait(15) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 10
    shown = cli.call("job", "show", job, "--json").json
    assert (shown["state"], shown["attempt"], shown["crashes"]) == ("ready", 0, 0)


def test_a_stuck_thread_does_not_keep_the_process_alive(cli: Cli) -> None:
    process = cli.worker("--timeout", "300ms", "--retries", "0")
    job = started(cli, "x", seconds=60)
    wait_until(lambda: cli.state(job) == "dead")

    began = time.monotonic()
    process.terminate()

    assert process.wait(15) == 0
    assert time.monotonic() - began < 10


def test_burst_ends_when_nothing_is_ready_any_more(cli: Cli) -> None:
    jobs = [cli.enqueue("add", str(number)) for number in range(5)]
    later = cli.enqueue("add", "1", "--delay", "1h")

    ran = cli.run("worker", "shop:app", "--burst")

    assert (ran.code, ran.out) == (0, "")
    assert {cli.state(job) for job in jobs} == {"completed"}
    assert cli.state(later) == "scheduled"


def test_burst_runs_process_tasks_too(cli: Cli) -> None:
    job = cli.run("enqueue", "shop:crunch", "7").out.strip()

    ran = cli.run("worker", "shop:app", "-q", "reports", "--burst", "--process-slots", "1")

    assert ran.code == 0
    assert cli.call("job", "show", job, "--json").json["result"] == 49


def test_burst_with_two_processes_ends_with_0(cli: Cli) -> None:
    jobs = [cli.enqueue("add", str(number)) for number in range(5)]

    ran = cli.run("worker", "shop:app", "-p", "2", "--burst")

    assert ran.code == 0, ran.err
    assert {cli.state(job) for job in jobs} == {"completed"}
    assert "again in" not in ran.err


def test_a_killed_child_is_started_again_and_a_signal_drains_all(cli: Cli) -> None:
    process = cli.worker("-p", "2", count=2)
    first = pids(cli)

    psutil.Process(min(first)).send_signal(signal.SIGKILL)
    wait_until(lambda: len(pids(cli) - {min(first)}) == 2, timeout=15)
    second = pids(cli) - {min(first)}
    process.terminate()

    assert process.wait(15) == 0
    assert "killed by SIGKILL; again in" in cli.log
    assert gone(list(first | second))


def test_children_drain_and_end_when_their_parent_is_killed(cli: Cli) -> None:
    process = cli.worker("-p", "2", count=2)
    children = list(pids(cli))
    job = started(cli, "x")

    process.kill()
    process.wait()
    wait_until(lambda: "draining: 1 jobs run" in cli.log)
    (cli.folder / "go-x").touch()
    wait_until(lambda: gone(children))

    assert cli.state(job) == "completed"
    assert "the supervisor is gone: draining" in cli.log


def test_one_ctrl_c_in_a_terminal_drains_though_the_whole_group_hears_it(cli: Cli) -> None:
    process = cli.worker("-p", "2", "-c", "1", count=2)
    jobs = [started(cli, name) for name in ("x", "y")]

    os.killpg(process.pid, signal.SIGINT)
    wait_until(lambda: cli.log.count("draining: 1 jobs run") == 2)
    for name in ("x", "y"):
        (cli.folder / f"go-{name}").touch()

    assert process.wait(15) == 0
    assert [cli.state(job) for job in jobs] == ["completed", "completed"]
    assert "giving back" not in cli.log


def test_ctrl_c_twice_stops_all_children_at_once(cli: Cli) -> None:
    process = cli.worker("-p", "2", "-c", "1", count=2)
    children = list(pids(cli))
    jobs = [started(cli, name, seconds=60) for name in ("x", "y")]

    process.send_signal(signal.SIGINT)
    wait_until(lambda: cli.log.count("draining: 1 jobs run") == 2)
    process.send_signal(signal.SIGINT)

    assert process.wait(15) == 1
    assert gone(children)
    for job in jobs:
        shown = cli.call("job", "show", job, "--json").json
        assert (shown["state"], shown["attempt"], shown["crashes"]) == ("ready", 0, 0)


def test_an_app_that_cannot_start_is_not_tried_again(cli: Cli) -> None:
    ran = cli.run("worker", "shop:ap", "-p", "2")

    assert ran.code == 2
    assert ran.err.count("\n") == 1


def test_children_get_a_password_through_the_environment_only(cli: Cli) -> None:
    url = cli.env.pop("TASKQ_REDIS_URL")
    process = cli.start("worker", "shop:app", "-p", "2", "--redis-url", url, "-c", "3")
    cli.env["TASKQ_REDIS_URL"] = url
    wait_until(lambda: len(cli.workers()) == 2)

    children = psutil.Process(process.pid).children()

    assert len(children) == 2
    assert all(url not in child.cmdline() for child in children)
    assert {worker["concurrency"] for worker in cli.workers()} == {3}


def test_the_app_may_say_how_many_processes(cli: Cli) -> None:
    source = (cli.folder / "shop.py").read_text().replace("TaskQ()", "TaskQ(processes=2)")
    (cli.folder / "shop.py").write_text(source)

    process = cli.worker(count=2)

    assert len(psutil.Process(process.pid).children()) == 2


def test_a_changed_file_restarts_the_worker_and_a_broken_one_waits_for_the_next(cli: Cli) -> None:
    process = cli.worker("--reload")
    (first,) = pids(cli)
    shop = cli.folder / "shop.py"
    source = shop.read_text()

    shop.write_text("def (:\n")
    wait_until(lambda: "waiting for a change" in cli.log, timeout=20)
    shop.write_text(source + "\n@app.task\ndef fresh() -> None: ...\n")
    wait_until(lambda: pids(cli) - {first}, timeout=20)

    (worker,) = [worker for worker in cli.workers() if worker["pid"] != first]
    assert "fresh" in worker["tasks"]
    process.terminate()
    assert process.wait(15) == 0


def test_reload_without_watchfiles_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "can_reload", lambda: False)

    with pytest.raises(ConfigError, match=r"taskq-redis\[reload\]"):
        reload.check_reload()


def test_json_logs_are_one_object_a_line(cli: Cli) -> None:
    cli.enqueue("boom", "a\r\nb")

    ran = cli.run("worker", "shop:app", "--burst", "--log-format", "json", "--loop", "asyncio")

    entries: list[dict[str, Any]] = [json.loads(line) for line in ran.err.splitlines()]
    assert all({"time", "level", "logger", "event", "message", "pid"} <= set(e) for e in entries)
    (failure,) = [entry for entry in entries if entry["level"] == "error"]
    assert failure["event"] == "job"
    assert "ValueError: a\r\nb" in failure["message"]


def test_plain_logs_escape_what_a_task_says(cli: Cli) -> None:
    cli.enqueue("boom", "a\r\nb\x1b[0m")

    ran = cli.run("worker", "shop:app", "--burst")

    (line,) = [line for line in ran.err.split("\n") if " error " in line]
    assert "ValueError: a\\r\\nb\\x1b[0m" in line


def test_pauses_before_restarts_grow_are_jittered_and_stay_below_30_s() -> None:
    longest = [supervisor.pause_before(n, lambda: 1.0) for n in range(1, 40)]
    shortest = [supervisor.pause_before(n, lambda: 0.0) for n in range(1, 40)]

    assert longest[0] <= 0.5
    assert longest == sorted(longest)
    assert longest[-1] == 30.0
    assert shortest == [pause / 2 for pause in longest]


def test_the_mark_of_a_child_is_taken_out_of_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(supervisor.MARK, '{"pipe": 5}')

    first, second = supervisor.child_mark(), supervisor.child_mark()

    assert (first, second) == ({"pipe": 5}, None)


def test_dev_says_where_everything_is_and_serves_all_queues(cli: Cli, folder: Path) -> None:
    process = cli.start("dev", "shop:app")
    wait_until(lambda: cli.workers())

    (worker,) = cli.workers()

    assert worker["queues"] == ["default", "reports"]
    assert "taskq dev: shop:app" in cli.log
    assert "taskq enqueue shop:TASK" in cli.log
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0


def test_a_killed_childs_jobs_come_back_at_once_because_its_death_was_seen(cli: Cli) -> None:
    """With these intervals the reaper alone would need a minute."""
    slow = ("--heartbeat", "5", "--heartbeat-ttl", "30s", "--grace", "30s")
    process = cli.worker("-p", "2", *slow, count=2)
    job = started(cli, "y")
    held = cli.call("job", "show", job, "--json").json["worker"]
    (pid,) = [pid for pid in pids(cli) if f"-{pid}-" in held]

    psutil.Process(pid).send_signal(signal.SIGKILL)
    wait_until(lambda: cli.call("job", "show", job, "--json").json["crashes"] == 1, timeout=15)
    (cli.folder / "go-y").touch()
    wait_until(lambda: cli.state(job) == "completed", timeout=15)
    process.terminate()

    assert process.wait(15) == 0


def test_a_worker_makes_room_for_a_new_one_after_so_many_jobs(cli: Cli) -> None:
    process = cli.worker("--recycle-jobs", "3", count=1)
    first = pids(cli)

    jobs = [cli.enqueue("add", str(number)) for number in range(3)]
    wait_until(lambda: pids(cli) - first, timeout=20)

    assert {cli.state(job) for job in jobs} == {"completed"}
    assert "makes room for a new one: it has run 3 jobs" in cli.log
    assert "again in" not in cli.log
    process.terminate()
    assert process.wait(15) == 0, cli.log


def test_a_worker_that_holds_too_much_memory_makes_room(cli: Cli) -> None:
    process = cli.worker("--recycle-rss", "1", count=0)
    wait_until(lambda: cli.log.count("makes room for a new one: it holds") >= 2, timeout=20)

    process.terminate()
    assert process.wait(15) == 0


def test_children_that_are_asked_to_stop_while_they_start_have_ended_well(cli: Cli) -> None:
    """They cannot listen yet, and have nothing to give back."""
    process = cli.start("worker", "shop:app", "-p", "2", "-v")
    wait_until(lambda: cli.log.count("is pid") == 2)

    process.terminate()
    assert process.wait(15) == 0, cli.log
