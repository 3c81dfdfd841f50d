"""`taskq cron ...`: schedules from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskq import TaskQ
from tests.cli.conftest import Cli
from tests.helpers import wait_until
from tests.servers import Server

pytestmark = pytest.mark.keeps_keys("leaves schedules and jobs as the commands left them")


def names(cli: Cli, *words: str) -> list[tuple[str, str]]:
    found = cli.call("cron", "ls", "--json", *words)
    assert found.code == 0, found.err
    return [(one["queue"], one["schedule"]) for one in found.json]


def add(cli: Cli, *words: str) -> None:
    ran = cli.call("cron", "add", *words)
    assert (ran.code, ran.out) == (0, ""), ran.err


def test_without_schedules_it_says_how_to_make_one(cli: Cli) -> None:
    assert cli.call("cron", "ls").out.startswith("no schedules: `@app.cron`")
    assert cli.call("cron", "ls", "--json").json == []


def test_a_schedule_that_was_added_is_listed(cli: Cli) -> None:
    ran = cli.call(
        "cron", "add", "nightly", "report", '"sales"', "5", "--kwargs", '{"deep": true}',
        "--cron", "0 2 * * mon-fri", "--tz", "Europe/Rome", "--overlap", "skip", "--missed", "all",
        "-q", "reports", "--priority", "8",
    )  # fmt: skip

    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("schedule nightly of queue reports: next 20")
    (one,) = cli.call("cron", "ls", "--json").json
    next_at = one.pop("next_at")
    assert next_at.endswith(":00:00.000+00:00")
    assert one == {
        "schedule": "nightly",
        "queue": "reports",
        "task": "report",
        "call": "report('sales', 5, deep=True)",
        "cron": "0 2 * * mon-fri",
        "tz": "Europe/Rome",
        "every_seconds": None,
        "missed": "all",
        "overlap": "skip",
        "declared": False,
        "paused": False,
        "paused_at": None,
        "problem": None,
    }
    table = cli.call("cron", "ls").out
    assert "NAME" in table.splitlines()[0]
    assert "0 2 * * mon-fri Europe/Rome" in table
    assert f"{next_at[:10]} {next_at[11:19]}Z" in table
    assert cli.call("queue", "ls", "--json").json[0]["queue"] == "reports"


def test_pausing_resuming_and_removing(cli: Cli) -> None:
    add(cli, "beat", "ping", "--every", "1h")

    paused = cli.call("cron", "pause", "beat")
    again = cli.call("cron", "pause", "beat")
    (shown,) = cli.call("cron", "ls", "--json").json
    table = cli.call("cron", "ls").out
    resumed = cli.call("cron", "resume", "beat")
    not_paused = cli.call("cron", "resume", "beat")

    assert "schedule beat of queue default is paused: `taskq cron resume beat`" in paused.err
    assert "was paused already" in again.err
    assert (shown["paused"], shown["next_at"], shown["every_seconds"]) == (True, None, 3600)
    assert "paused" in table
    assert "goes on" in resumed.err
    assert "was not paused" in not_paused.err
    assert {ran.code for ran in (paused, again, resumed, not_paused)} == {0}

    removed = cli.call("cron", "rm", "beat")

    assert (removed.code, removed.err) == (0, "schedule beat of queue default is gone\n")
    assert names(cli) == []


def test_triggering_prints_the_id_of_a_job(cli: Cli) -> None:
    add(cli, "sum", "add", "40", "--every", "1d")
    cli.call("cron", "pause", "sum")

    ran = cli.call("cron", "trigger", "sum")

    assert ran.code == 0
    assert ran.err == ""
    job = cli.call("job", "show", ran.out.strip(), "--json").json
    assert job["id"].startswith("sum-20")
    assert (job["task"], job["args"], job["state"]) == ("add", [40], "ready")


def test_a_worker_writes_what_the_code_says_and_runs_it(cli: Cli, folder: Path) -> None:
    with (folder / "shop.py").open("a") as file:
        file.write('\n@app.every(1, args=["by-clock"], name="clock")(work)\n'.replace("@", ""))
    cli.worker()

    wait_until(lambda: cli.exists("ended-by-clock"), timeout=20)
    (one,) = cli.call("cron", "ls", "--json").json
    removed = cli.call("cron", "rm", "clock")

    assert (one["schedule"], one["call"], one["declared"]) == ("clock", "work('by-clock')", True)
    assert "a worker of that app writes it anew" in removed.err


def test_the_task_itself_may_be_named_so_that_its_arguments_are_checked(cli: Cli) -> None:
    good = cli.run("cron", "add", "x", "shop:crunch", "4", "--every", "60")
    wrong = cli.run("cron", "add", "y", "shop:crunch", "4", "5", "--every", "60")

    assert good.code == 0, good.err
    assert names(cli) == [("reports", "x")]
    assert wrong.code == 2
    assert "too many positional arguments" in wrong.error


def test_a_name_that_several_queues_have_needs_the_queue(cli: Cli) -> None:
    for queue in ("a", "b"):
        add(cli, "beat", "ping", "--every", "1h", "-q", queue)

    unclear = cli.call("cron", "pause", "beat")
    clear = cli.call("cron", "pause", "beat", "-q", "b")

    assert unclear.code == 2
    assert "several queues have a schedule 'beat': say -q, one of a, b" in unclear.error
    assert clear.code == 0
    assert [one["paused"] for one in cli.call("cron", "ls", "--json").json] == [False, True]
    assert names(cli, "-q", "b") == [("b", "beat")]


@pytest.mark.parametrize("verb", ["rm", "pause", "resume", "trigger"])
def test_what_is_not_there_ends_with_3(cli: Cli, verb: str) -> None:
    somewhere = cli.call("cron", verb, "ghost")
    here = cli.call("cron", verb, "ghost", "-q", "mail")

    assert (somewhere.code, here.code) == (3, 3)
    assert "no schedule 'ghost' in any queue: `taskq cron ls` shows" in somewhere.error
    assert "no schedule 'ghost' in queue 'mail': `taskq cron ls` shows" in here.error


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("x", "t"), "give either --cron or --every"),
        (("x", "t", "--cron", "* * * * *", "--every", "5"), "give either --cron or --every"),
        (("x", "t", "--cron", "* * * *"), "4 fields"),
        (("x", "t", "--cron", "61 * * * *"), "bad minute"),
        (("x", "t", "--cron", "0 0 30 2 *"), "bad day-of-month"),
        (("x", "t", "--cron", "0 0 * * *", "--tz", "Mars/Base"), "no such time zone here"),
        (("x", "t", "--every", "0"), "whole seconds"),
        (("x", "t", "--every", "1500ms"), "whole seconds"),
        (("x", "t", "--every", "soon"), "is no time span"),
        (("x" * 41, "t", "--every", "5"), "40 are the most"),
        (("a b", "t", "--every", "5"), "is not a valid name"),
        (("x", "a b", "--every", "5"), "is not a valid name"),
        (("x", "t", "[1", "--every", "5"), "is not valid JSON"),
        (("x", "t", "--kwargs", "[]", "--every", "5"), "is not a JSON object"),
        (("x", "t", "--every", "5", "--missed", "never"), "'never' is not one of"),
        (("x", "t", "--every", "5", "--priority", "10"), "10 is not in the range"),
    ],
    ids=lambda one: one if isinstance(one, str) else None,
)
def test_bad_words_end_with_2_and_one_line(cli: Cli, words: tuple[str, ...], problem: str) -> None:
    ran = cli.call("cron", "add", *words)

    assert ran.code == 2
    assert problem in ran.error
    assert names(cli) == []


def test_a_schedule_that_cannot_be_read_is_shown_as_such(
    cli: Cli, valkey: Server, namespace: str
) -> None:
    add(cli, "fine", "ping", "--every", "1h")
    client = valkey.client()
    client.hset(f"{namespace}:{{default}}:schedules", "broken", "{oops\x1b[0m")
    client.close()

    ran = cli.call("cron", "ls")
    paused = cli.call("cron", "pause", "broken")
    removed = cli.call("cron", "rm", "broken")

    assert "cannot be read (JSONDecodeError" in ran.out
    assert "\x1b" not in ran.out
    assert paused.code == 4
    assert "cannot be read: remove it" in paused.error
    assert removed.code == 0
    assert names(cli) == [("default", "fine")]


def test_a_job_of_a_partitioned_queue_is_where_its_id_says(
    cli: Cli, valkey: Server, namespace: str
) -> None:
    client = valkey.client()
    client.sadd(f"{namespace}:queues", "mail", "mail~1", "mail~2", "mail~3")
    client.close()
    add(cli, "post", "ping", "--every", "1h", "-q", "mail")

    ids = [cli.call("cron", "trigger", "post").out.strip() for _ in range(5)]

    app = TaskQ(valkey.url, namespace=namespace)
    app.queue("mail", partitions=4)
    assert {app.job(one, queue="mail").queue for one in ids} == {"mail"}
