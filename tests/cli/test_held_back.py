"""What limits and people hold back, as `queue peek`, `job ls`, `queue show` and `status` tell."""

from __future__ import annotations

import pytest

from taskq import Limit, TaskQ
from tests.cli.conftest import Cli

pytestmark = pytest.mark.keeps_keys("looks at jobs that wait")


@pytest.fixture
def operator(cli: Cli) -> TaskQ:
    return TaskQ(cli.env["TASKQ_REDIS_URL"], namespace=cli.env["TASKQ_NAMESPACE"])


def test_jobs_that_a_limit_blocks_are_shown_with_it(cli: Cli, operator: TaskQ) -> None:
    operator.set_limit_sync(Limit("vendor", rate="1/h"))
    operator.pause_task_sync("boom")
    operator.close_sync()
    paused = cli.enqueue("boom", "no")
    ids = [cli.enqueue("add", str(n)) for n in range(3)]
    cli.run("worker", "shop:app", "--burst")

    peeked = cli.call("queue", "peek", "default", "--json").json
    text = cli.call("queue", "peek", "default").out
    listed = cli.call("job", "ls", "--state", "blocked", "--json").json
    (queue,) = cli.call("queue", "ls", "--json").json
    shown = cli.call("queue", "show", "default", "--json").json
    status = cli.call("status").out
    (held,) = cli.call("status", "--json").json["held_back"]

    assert [job["id"] for job in peeked] == [paused, *ids[1:]]
    assert {(job["state"], job["place"]) for job in peeked} == {("blocked", None)}
    assert [job["blocked_by"] for job in peeked] == ["pause:task.boom", "vendor", "vendor"]
    assert "no job of queue default is ready" in text
    assert "3 wait for a limit" in text
    assert [job["id"] for job in listed] == [paused, *ids[1:]]
    assert queue["blocked"] == 3
    assert shown["parked"] == {"pause:task.boom": 1, "vendor": 2}
    assert shown["paused_parts"] == [{"kind": "task", "name": "boom"}]
    assert set(shown["limits"]) == {"pause:task.boom", "vendor"}
    assert "paused   task boom of queue default" in status
    assert "limit    vendor: blocks 2 jobs of queue default" in status
    assert set(held) == {"queue", "limits", "parked", "paused_parts", "struck", "next_ticks"}


def test_a_struck_task_is_shown(cli: Cli, operator: TaskQ) -> None:
    cli.enqueue("add", "1")
    operator.strike_sync("add")
    operator.close_sync()

    assert "struck   task add" in cli.call("status").out
    assert cli.call("queue", "show", "default", "--json").json["struck"] == ["add"]


def test_peek_says_the_rank_in_words_of_the_policy(cli: Cli) -> None:
    cli.call("queue", "set", "default", "--policy", "fair")
    cli.enqueue("add", "1")

    (job,) = cli.call("queue", "peek", "default", "--json").json

    assert job["rank_words"].startswith("priority 5, turn ")
