"""Commands that look: what they print, and the JSON they promise."""

from __future__ import annotations

import re

import pytest

from tests.cli.conftest import Cli
from tests.helpers import wait_until

pytestmark = pytest.mark.keeps_keys("looks at jobs that wait")

QUEUE = {
    "queue", "ready", "blocked", "scheduled", "retry", "running", "dead", "done", "paused",
    "paused_at", "next_job", "next_job_waits_seconds", "next_due_seconds", "workers",
    "partitions",
}  # fmt: skip
DETAILS = QUEUE | {
    "policy",
    "horizon_seconds",
    "max_jobs",
    "classes",
    "holders",
    "counters",
    "slots",
    "limits",
    "parked",
    "paused_parts",
    "struck",
    "next_ticks",
    "tasks",
    "parts",
}
WORKER = {
    "worker", "host", "pid", "queues", "tasks", "provides", "running", "concurrency", "slots",
    "taken", "process_slots", "done",
    "failed", "cpu", "rss", "loop_lag_seconds", "beat_age_seconds", "started_at", "python", "alive",
    "health",
}  # fmt: skip
JOB = {
    "id", "queue", "task", "state", "priority", "attempt", "crashes", "deadline_at", "enqueued_at",
    "started_at", "ended_at", "worker", "reason", "error", "progress", "note", "cancel_requested",
    "class", "group", "blocked_by",
}  # fmt: skip
SHOWN = JOB | {
    "args", "kwargs", "payload_bytes", "payload_problem", "result", "traceback", "token", "headers",
}  # fmt: skip


def test_status_tells_of_an_empty_namespace(cli: Cli) -> None:
    ran = cli.call("status")

    assert ran.code == 0
    assert "no queues yet" in ran.out
    assert "0 workers alive" in ran.out


def test_status_as_json_has_the_promised_fields(cli: Cli) -> None:
    cli.enqueue("add", "1", "--queue", "mail")
    cli.enqueue("add", "2", "--queue", "mail", "--delay", "1h")

    shape = cli.call("status", "--json").json

    assert set(shape) == {"redis", "queues", "workers", "held_back", "unserved"}
    assert set(shape["redis"]) == {"url", "source"}
    assert shape["redis"]["source"] == "configured"
    (queue,) = shape["queues"]
    assert set(queue) == QUEUE
    assert (queue["queue"], queue["ready"], queue["scheduled"]) == ("mail", 1, 1)
    assert 3590 < queue["next_due_seconds"] <= 3600
    (problem,) = shape["unserved"]
    assert set(problem) == {"queue", "class", "jobs", "missing", "advice"}
    assert problem["jobs"] == 1
    assert "taskq worker APP -q mail" in problem["advice"]


def test_status_says_which_jobs_nobody_alive_can_run(cli: Cli) -> None:
    cli.worker("-q", "default", "-q", "reports")

    job = cli.enqueue("os.system", "id")

    def problem() -> str | None:
        said = cli.call("status").out
        return said if "os.system" in said else None

    said = wait_until(problem) or ""

    assert "no worker alive knows task 'os.system'" in said
    assert cli.state(job) == "ready"
    unserved = cli.call("status", "--json").json["unserved"]
    assert [found["class"] for found in unserved] == ["task.os.system"]


def test_queue_ls_and_show_agree_and_show_has_more(cli: Cli) -> None:
    cli.enqueue("add", "1")
    cli.call("queue", "set", "default", "--policy", "aging", "--horizon", "5m", "--max-jobs", "9")

    (listed,) = cli.call("queue", "ls", "--json").json
    shown = cli.call("queue", "show", "default", "--json").json
    text = cli.call("queue", "show", "default").out

    assert set(listed) == QUEUE
    assert set(shown) == DETAILS
    assert (shown["policy"], shown["horizon_seconds"], shown["max_jobs"]) == ("aging", 300.0, 9)
    assert "policy   aging, horizon 5 min" in text


def test_peek_gives_the_next_jobs_in_rank_order_with_words(cli: Cli) -> None:
    low = cli.enqueue("add", "1", "--priority", "2")
    urgent = cli.enqueue("add", "1", "--priority", "9")
    dated = cli.enqueue("add", "1", "--priority", "2", "--deadline", "5s")

    peeked = cli.call("queue", "peek", "default", "-n", "3", "--json").json
    text = cli.call("queue", "peek", "default").out

    assert [job["id"] for job in peeked] == [urgent, dated, low]
    assert [job["place"] for job in peeked] == [1, 2, 3]
    assert set(peeked[0]) == JOB | {"place", "rank", "rank_words"}
    assert peeked[0]["rank_words"].startswith("priority 9, due 2")
    assert text.splitlines()[1].split()[:3] == ["1", urgent, "add"]


def test_job_ls_filters_by_state_and_queue_and_pages(cli: Cli) -> None:
    ids = [cli.enqueue("add", str(n), "--queue", "mail") for n in range(3)]
    later = cli.enqueue("add", "9", "--delay", "1h")

    everything = cli.call("job", "ls", "--json").json
    ready = cli.call("job", "ls", "--state", "ready", "--json").json
    second = cli.call("job", "ls", "-s", "ready", "-n", "1", "--start", "1", "--json").json
    mail = cli.call("job", "ls", "--queue", "mail", "--json").json

    assert [job["id"] for job in everything] == [*ids, later]
    assert set(everything[0]) == JOB | {"due_at"}
    assert everything[-1]["due_at"] is not None
    assert [job["id"] for job in ready] == ids
    assert [job["id"] for job in second] == [ids[1]]
    assert [job["id"] for job in mail] == ids


def test_job_ls_lists_every_way_to_end_apart(cli: Cli) -> None:
    done = cli.enqueue("add", "1")
    dead = cli.enqueue("boom", "no")
    cancelled = cli.enqueue("add", "2", "--delay", "1h")
    cli.call("job", "cancel", cancelled)
    cli.run("worker", "shop:app", "--burst")

    def listed(state: str) -> list[str]:
        return [job["id"] for job in cli.call("job", "ls", "--state", state, "--json").json]

    assert listed("completed") == [done]
    assert listed("dead") == [dead]
    assert listed("cancelled") == [cancelled]
    assert listed("expired") == []
    assert set(listed("done")) == {done, cancelled}


def test_job_show_decodes_arguments_and_result(cli: Cli) -> None:
    job = cli.enqueue("add", "1", "--kwargs", '{"b": 41}', "--id", "known")
    cli.run("worker", "shop:app", "--burst")

    shape = cli.call("job", "show", job, "--json").json
    text = cli.call("job", "show", job).out

    assert set(shape) == SHOWN
    assert (shape["id"], shape["state"]) == ("known", "completed")
    assert (shape["args"], shape["kwargs"], shape["result"]) == ([1], {"b": 41}, 42)
    assert "arguments      1, b=41" in text
    assert "result         42" in text


def test_terminal_escapes_in_job_data_never_reach_the_terminal(cli: Cli) -> None:
    nasty = "a\x1b[31mred\x1b]0;title\x07\r\nb\u202ec\x9b"
    job = cli.enqueue("boom", nasty)
    cli.run("worker", "shop:app", "--burst")

    shown = cli.call("job", "show", job)
    listed = cli.call("job", "ls", "--state", "dead")
    explained = cli.call("job", "explain", job)

    for ran in (shown, listed, explained):
        assert ran.code == 0
        for character in "\x1b\x07\r\x9b\u202e":
            assert character not in ran.out
        assert "red" in ran.out
    assert len(listed.out.splitlines()) == 2


def test_a_worker_is_listed_with_its_load_and_health(cli: Cli) -> None:
    cli.worker(
        "-q", "default", "-q", "reports", "-c", "5", "--name", "anna", "--process-slots", "1"
    )

    (worker,) = cli.call("workers", "--json").json
    text = cli.call("workers").out

    assert set(worker) == WORKER
    assert worker["worker"].startswith("anna-")
    assert worker["queues"] == ["default", "reports"]
    assert worker["tasks"] == ["add", "boom", "crunch", "work"]
    assert (worker["concurrency"], worker["process_slots"]) == (5, 1)
    assert worker["alive"]
    assert re.fullmatch(r"ok|busy 0\.\d", worker["health"])  # as the machine is
    assert "0/5" in text


def test_two_workers_of_one_name_have_two_ids(cli: Cli) -> None:
    cli.worker("--name", "anna")
    cli.worker("--name", "anna", count=2)

    ids = {worker["worker"] for worker in cli.workers()}

    assert len(ids) == 2
    assert all(name.startswith("anna-") for name in ids)


def test_check_lists_tasks_with_their_signatures(cli: Cli) -> None:
    ran = cli.run("check", "shop:app")
    shape = cli.run("check", "shop", "--json").json

    assert ran.code == 0
    assert "add(a: int, b: int = 2) -> int" in ran.out
    assert set(shape) == {"app", "tasks", "queues"}
    tasks = {task["name"]: task for task in shape["tasks"]}
    assert set(tasks["crunch"]) == {
        "name", "executor", "queue", "signature", "function", "defaults",
    }  # fmt: skip
    assert tasks["crunch"]["signature"] == "(n: int) -> int"
    assert (tasks["crunch"]["executor"], tasks["crunch"]["queue"]) == ("process", "reports")
    assert tasks["crunch"]["defaults"] == {"priority": 7, "timeout": 60.0}


def test_doctor_is_content_with_a_good_server(cli: Cli) -> None:
    cli.enqueue("add", "1")
    cli.worker()

    shape = cli.call("doctor", "--json")

    assert shape.code == 0, shape.out
    assert set(shape.json) == {"ok", "checks", "findings", "repaired"}
    assert all(set(c) == {"name", "level", "text", "remedy"} for c in shape.json["checks"])
    names = {check["name"] for check in shape.json["checks"]}
    assert {"reach", "latency", "version", "eviction", "persistence", "memory", "clock"} <= names
    assert {"scripts", "workers", "queue", "audit"} <= names
    assert (shape.json["findings"], shape.json["repaired"]) == ([], [])


def test_doctor_fails_when_jobs_wait_for_nobody(cli: Cli) -> None:
    cli.enqueue("add", "1", "--queue", "forgotten")

    ran = cli.call("doctor")

    assert ran.code == 1
    (line,) = [line for line in ran.out.splitlines() if line.startswith("fail")]
    assert "taskq worker APP -q forgotten" in line


def test_data_goes_to_stdout_without_colour_when_it_is_no_terminal(cli: Cli) -> None:
    cli.enqueue("boom", "no")
    cli.run("worker", "shop:app", "--burst")

    ran = cli.run("status", NO_COLOR="1")

    assert ran.code == 0
    assert "\x1b" not in ran.out + ran.err
    assert ran.err == ""
