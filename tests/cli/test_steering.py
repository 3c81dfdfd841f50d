"""`taskq limit`, `taskq task`, `taskq queue pause --task`, `taskq queue set`: who runs next, by
hand.
"""

from __future__ import annotations

import time

import pytest

from taskq.keys import QueueKeys
from tests.cli.conftest import Cli
from tests.helpers import wait_until
from tests.servers import Server

pytestmark = pytest.mark.keeps_keys("leaves jobs as the command left them")


def test_limits_are_set_listed_and_removed(cli: Cli) -> None:
    cli.enqueue("add", "1", "--queue", "mail")
    good = cli.call("limit", "set", "mail", "smtp", "--concurrency", "3", "--rate", "100/s")
    cli.call("limit", "set", "mail", "tenant:{tenant}", "--concurrency", "2")
    cli.call("limit", "set", "mail", "slow", "--rate", "5/min", "--burst", "2", "--on", "task.add")

    assert (good.code, good.out) == (0, "")
    assert "limit smtp of queue mail is set" in good.err
    listed = {one["name"]: one for one in cli.call("limit", "ls", "--json").json}
    assert listed["smtp"] == {
        "queue": "mail",
        "name": "smtp",
        "concurrency": 3,
        "rate": "100/s",
        "burst": 10,
        "on": "queue",
        "by_hand": True,
        "held": 0,
        "parked": 0,
        "next_start_seconds": 0.0,
        "instances": [],
    }
    assert (listed["tenant:{tenant}"]["on"], listed["slow"]["on"]) == ("job", "task.add")
    shown = cli.call("limit", "ls", "-q", "mail").out
    assert "0/3" in shown
    assert "5/min, 2 at once" in shown
    assert "hand" in shown

    gone = cli.call("limit", "rm", "mail", "smtp")
    again = cli.call("limit", "rm", "mail", "smtp")
    assert (gone.code, again.code) == (0, 3)
    assert "queue mail has no limit 'smtp'" in again.error
    assert len(cli.call("limit", "ls", "-q", "mail", "--json").json) == 2


def test_setting_a_limit_again_keeps_what_it_is_for(cli: Cli) -> None:
    cli.call("limit", "set", "mail", "a", "--concurrency", "3", "--on", "task.add")
    cli.call("limit", "set", "mail", "a", "--concurrency", "5")

    (found,) = cli.call("limit", "ls", "--json").json
    assert (found["concurrency"], found["on"]) == (5, "task.add")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["a"], "give concurrency= or rate="),
        (["a b", "--concurrency", "1"], "limit 'a b'"),
        (["a", "--rate", "fast"], "rate='fast'"),
        (["a", "--burst", "3", "--concurrency", "1"], "burst= belongs to rate="),
        (["a", "--concurrency", "1", "--on", "everything"], "on='everything'"),
        (["pause:task.x", "--concurrency", "1"], "taskq's own"),
        (["a", "--concurrency", "0"], "--concurrency"),
    ],
)
def test_a_bad_limit_is_refused_with_code_2(cli: Cli, words: list[str], problem: str) -> None:
    ran = cli.call("limit", "set", "mail", *words)

    assert ran.code == 2
    assert problem in ran.error
    assert cli.call("limit", "ls", "--json").json == []


def test_without_limits_the_list_says_so(cli: Cli) -> None:
    assert cli.call("limit", "ls").out == "no limits\n"


def test_a_limit_shows_who_holds_it_and_how_many_wait(cli: Cli) -> None:
    cli.worker()
    cli.call("limit", "set", "default", "one", "--concurrency", "1", "--on", "task.work")
    cli.enqueue("work", "a", "30")
    wait_until(lambda: cli.exists("began-a"))
    cli.enqueue("work", "b")
    cli.enqueue("work", "c")

    def listed() -> tuple[int, int]:
        (found,) = cli.call("limit", "ls", "--json").json
        return found["held"], found["parked"]

    wait_until(lambda: listed() == (1, 2))
    assert "1/1" in cli.call("limit", "ls").out
    cli.call("limit", "rm", "default", "one")
    wait_until(lambda: cli.exists("ended-b") and cli.exists("ended-c"))
    (cli.folder / "go-a").touch()
    wait_until(lambda: cli.exists("ended-a"))


def test_a_task_and_a_group_are_paused_and_resumed(cli: Cli) -> None:
    cli.worker()
    paused = cli.call("queue", "pause", "default", "--task", "work")
    cli.call("queue", "pause", "default", "--group", "acme")
    work, grouped = cli.enqueue("work", "a"), cli.enqueue("add", "1", "--group", "acme")
    free = cli.run("enqueue", "add", "1", "--wait", "--timeout", "10s")

    assert "task work of queue default is paused" in paused.err
    assert "`taskq queue resume default --task work` ends it" in paused.err
    assert free.out == "3\n"
    wait_until(lambda: {cli.state(work), cli.state(grouped)} == {"blocked"})
    resumed = cli.call("queue", "resume", "default", "--task", "work")
    wait_until(lambda: cli.state(work) == "completed")
    again = cli.call("queue", "resume", "default", "--task", "work")
    cli.call("queue", "resume", "default", "--group", "acme")
    wait_until(lambda: cli.state(grouped) == "completed")

    assert "goes on" in resumed.err
    assert "was not paused" in again.err


def test_a_pause_is_of_a_task_or_of_a_group(cli: Cli) -> None:
    both = cli.call("queue", "pause", "mail", "--task", "a", "--group", "b")
    bad = cli.call("queue", "pause", "mail", "--group", "{a}")

    assert (both.code, bad.code) == (2, 2)
    assert "--task or --group, not both" in both.error
    assert "is a template" in bad.error


def test_a_struck_task_is_refused_and_stopped(cli: Cli) -> None:
    cli.worker()
    runs = cli.enqueue("work", "a", "30")
    wait_until(lambda: cli.exists("began-a"))

    ran = cli.call("task", "strike", "work", "--stop")
    refused = cli.call("enqueue", "work", "b")

    assert ran.code == 0
    assert "task work is struck in all queues" in ran.err
    assert "1 running jobs were asked to stop" in ran.err
    assert refused.code == 4
    assert "taskq task unstrike work" in refused.error
    assert cli.call("job", "show", runs, "--json").json["cancel_requested"]
    (cli.folder / "go-a").touch()
    wait_until(lambda: cli.exists("ended-a"))
    assert cli.run("enqueue", "add", "1", "--wait", "--timeout", "10s").out == "3\n"

    back = cli.call("task", "unstrike", "work")
    again = cli.call("task", "unstrike", "work")
    assert "may run again" in back.err
    assert "was not struck" in again.err
    assert cli.call("enqueue", "work", "c").code == 0
    wait_until(lambda: cli.exists("ended-c"))


def test_queue_set_takes_all_that_a_queue_can_be_told(cli: Cli) -> None:
    ran = cli.call(
        *("queue", "set", "mail", "--policy", "fair", "--weight", "gold=5", "--weight", "a=b=0.5"),
        *("--on-full", "wait", "--patience", "9m,8m,7m,6m,5m,4m,3m,2m,1m,1s"),
    )
    taken_back = cli.call("queue", "set", "mail", "--weight", "gold=", "--on-full", "reject")

    assert "queue mail: 5 of 5 settings changed" in ran.err
    assert "queue mail: 2 of 2 settings changed" in taken_back.err
    assert cli.call("queue", "show", "mail", "--json").json["policy"] == "fair"


@pytest.mark.parametrize(
    "words",
    [
        ["--weight", "gold"],
        ["--weight", "gold=much"],
        ["--weight", "gold=0"],
        ["--weight", "=1"],
        ["--patience", "1s,2s"],
        ["--patience", "soon"],
        ["--on-full", "block"],
        [],
    ],
    ids=" ".join,
)
def test_what_a_queue_cannot_be_told_is_refused_with_code_2(cli: Cli, words: list[str]) -> None:
    ran = cli.call("queue", "set", "mail", *words)

    assert ran.code == 2
    assert ran.error


def test_enqueue_can_be_unique_and_admitted(cli: Cli) -> None:
    first = cli.call("enqueue", "add", "1", "--unique", "queued", "--key", "k")
    again = cli.call("enqueue", "add", "2", "--unique", "queued", "--key", "k")
    newer = cli.call(
        "enqueue", "add", "3", "--unique", "queued", "--key", "k", "--on-duplicate", "replace"
    )
    told = cli.call("enqueue", "add", "4", "--admit", "reject", "--deadline", "1h")
    bad = cli.call("enqueue", "add", "5", "--key", "k")

    assert again.out == first.out != newer.out
    assert "was there already" in again.err
    assert "should start in about" in told.err
    assert bad.code == 2
    assert cli.state(first.out.strip()) == "cancelled"


def test_a_queue_is_drained_and_opened(cli: Cli) -> None:
    cli.enqueue("work", "a")

    early = cli.call("queue", "drain", "default", "--timeout", "0")
    refused = cli.call("enqueue", "work", "b")
    shown = cli.call("status")

    assert early.code == 5
    assert "1 jobs of queue default still run or wait" in early.error
    assert refused.code == 4
    assert "`taskq queue open default` opens it again" in refused.error
    assert "closed   to new jobs" in shown.out
    cli.worker()
    done = cli.call("queue", "drain", "default", "--timeout", "30")
    assert (done.code, "queue default is empty" in done.err) == (0, True)
    assert cli.call("queue", "open", "default").code == 0
    assert cli.enqueue("work", "b")


def test_a_deadline_that_cannot_be_met_ends_with_4(
    cli: Cli, valkey: Server, namespace: str
) -> None:
    keys = QueueKeys(namespace, "default")
    client = valkey.client()
    client.hset(keys.averages, "*", 60_000)
    client.hset(keys.meta, mapping={"slots": 1, "reaped_ms": round(time.time() * 1000)})
    client.close()
    cli.enqueue("add", "1", "--priority", "9")
    late = ("enqueue", "add", "2", "--deadline", "5s", "--admit")

    refused, warned = cli.call(*late, "reject"), cli.call(*late, "warn")

    assert (refused.code, refused.out) == (4, "")
    assert "after its deadline: it was not enqueued" in refused.error
    assert warned.code == 0
    assert "should start in about 6" in warned.err or "should start in about 1 min" in warned.err
