"""The command line on a queue of several partitions: it is one queue, except where one asks."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from taskq import TaskQ
from taskq.handle import Job
from taskq.partition import partition_names
from tests.cli.conftest import Cli
from tests.helpers import wait_until
from tests.servers import Server

pytestmark = pytest.mark.keeps_keys("looks at jobs that wait")
MAIL = partition_names("mail", 4)
PARTED = """
from taskq import TaskQ
app = TaskQ()
app.queue("mail", partitions={count})

@app.task(queue="mail")
async def add(a: int, b: int = 2) -> int:
    return a + b
"""


@pytest.fixture
def sent(cli: Cli, valkey: Server, namespace: str) -> list[Job[object]]:
    """Forty ready jobs in four partitions, the later the better."""
    app = TaskQ(valkey.url, namespace=namespace)
    app.queue("mail", partitions=4)
    add = app.named("add")
    jobs = app.enqueue_many_sync(
        add.options(queue="mail", priority=n // 4, id=f"j{n}").s(n) for n in range(40)
    )
    app.close_sync()
    return jobs


def start(cli: Cli, count: int, *words: str, name: str = "parted") -> None:
    """A worker of an app that sees so many partitions."""
    (cli.folder / f"{name}.py").write_text(PARTED.format(count=count))
    had = len(cli.workers())
    cli.start("worker", f"{name}:app", *words)
    wait_until(lambda: len(cli.workers()) > had, what="a worker")


def test_lists_add_the_partitions_up_and_show_has_them_apart(
    cli: Cli, sent: list[Job[object]]
) -> None:
    (listed,) = cli.call("queue", "ls", "--json").json
    shown = cli.call("queue", "show", "mail", "--json").json
    one = cli.call("queue", "show", "mail~2", "--json").json
    (status,) = cli.call("status", "--json").json["queues"]

    assert (listed["queue"], listed["ready"], listed["partitions"]) == ("mail", 40, 4)
    assert listed.keys() == status.keys()
    assert status["ready"] == 40
    assert [part["queue"] for part in shown["parts"]] == MAIL
    assert sum(part["ready"] for part in shown["parts"]) == 40
    assert one["ready"] == shown["parts"][2]["ready"] == sum(job.queue == "mail~2" for job in sent)
    assert "mail (4 partitions)" in cli.call("status").out


def test_peek_merges_the_partitions_by_rank(cli: Cli, sent: list[Job[object]]) -> None:
    peeked = cli.call("queue", "peek", "mail", "-n", "40", "--json").json
    part = cli.call("queue", "peek", "mail~1", "--json").json

    ranks = [job["rank"] for job in peeked]
    assert ranks == sorted(ranks)
    assert {job["id"] for job in peeked[:4]} == {"j36", "j37", "j38", "j39"}
    assert {job["queue"] for job in part} == {"mail~1"}


def test_job_commands_find_the_partition(cli: Cli, sent: list[Job[object]]) -> None:
    for job in sent[:6]:
        assert cli.call("job", "show", job.id, "-q", "mail", "--json").json["queue"] == job.queue
    assert cli.call("job", "show", "nobody", "-q", "mail").code == 3
    ids = [job.id for job in sent[:6]]
    cancelled = cli.call("job", "cancel", *ids, "-q", "mail")
    assert cancelled.out.split() == ids
    listed = cli.call("job", "ls", "-q", "mail", "--state", "cancelled", "--json").json
    assert {job["id"] for job in listed} == set(ids)
    page = cli.call("job", "ls", "-q", "mail", "-s", "ready", "--start", "4", "-n", "2", "--json")
    assert all(job["priority"] == 8 for job in page.json)


def test_pause_resume_set_and_purge_reach_every_partition(
    cli: Cli, sent: list[Job[object]], valkey: Server, namespace: str
) -> None:
    def meta(name: str) -> dict[bytes, bytes]:
        with valkey.client() as client:
            found: dict[bytes, bytes] = client.hgetall(f"{namespace}:{{{name}}}:meta")
            return found

    assert cli.call("queue", "pause", "mail").code == 0
    assert all(b"paused" in meta(name) for name in MAIL)
    assert cli.call("queue", "show", "mail", "--json").json["paused"]
    assert cli.call("queue", "resume", "mail~3").code == 0
    assert "3 of 4 paused" in cli.call("queue", "ls").out
    assert "goes on" in cli.call("queue", "resume", "mail").err
    cli.call("queue", "set", "mail", "--max-jobs", "10")
    assert [meta(name) for name in MAIL] == 4 * [{b"max_jobs": b"3"}]
    assert cli.call("queue", "purge", "mail", "ready", "--yes").out.strip() == "40"
    assert cli.call("queue", "ls", "--json").json[0]["ready"] == 0


def test_one_worker_serves_all_partitions_and_is_shown_in_short(
    cli: Cli, sent: list[Job[object]]
) -> None:
    start(cli, 4, "-q", "mail")

    wait_until(lambda: cli.call("queue", "ls", "--json").json[0]["done"] == 40)
    assert cli.workers()[0]["queues"] == MAIL
    assert "mail (4 partitions)" in cli.call("workers").out
    assert cli.call("doctor", "-q", "mail").code == 0


def test_the_doctor_names_partitions_with_jobs_that_no_worker_serves(
    cli: Cli, sent: list[Job[object]]
) -> None:
    start(cli, 2, "-q", "mail", name="fewer")
    left = {name: sum(job.queue == name for job in sent) for name in MAIL}
    wait_until(
        lambda: cli.call("queue", "ls", "--json").json[0]["done"] == left["mail"] + left["mail~1"]
    )

    found = cli.call("doctor", "-q", "mail", "--json")

    apart = [c for c in found.json["checks"] if c["name"] == "partition" and c["level"] == "fail"]
    assert found.code == 1
    assert [check["text"] for check in apart] == [
        f"{name}: {left[name]} jobs are in a partition that no worker serves" for name in MAIL[2:]
    ]
    assert "taskq worker APP -q mail~2" in apart[0]["remedy"]
    assert "partition mail~3, which nobody serves" in cli.call("status").out

    start(cli, 2, "-q", "mail~2,mail~3", name="rest")
    wait_until(lambda: cli.call("queue", "ls", "--json").json[0]["done"] == 40)
    assert cli.call("doctor", "-q", "mail").code == 0


def test_the_doctor_tells_of_workers_that_see_other_numbers(cli: Cli) -> None:
    start(cli, 2, "-q", "mail", name="old")
    start(cli, 4, "-q", "mail", name="new")

    assert "workers see 2 or 4 partitions of mail" in cli.call("doctor").out


def test_the_doctor_mends_every_partition(
    cli: Cli, sent: list[Job[object]], valkey: Server, namespace: str
) -> None:
    with valkey.client() as client:
        for name in MAIL:
            client.zadd(f"{namespace}:{{{name}}}:ready", {"ghost": 1})

    found = cli.call("doctor", "-q", "mail", "--json").json["findings"]
    mended = cli.call("doctor", "-q", "mail", "--repair", "--yes", "--json").json["repaired"]

    assert [finding["queue"] for finding in found] == MAIL
    assert {mend["queue"] for mend in mended} == set(MAIL)


def test_a_queue_cannot_be_named_like_a_partition_when_jobs_are_sent(cli: Cli) -> None:
    assert cli.call("enqueue", "add", "1", "-q", "mail~1").code == 2
    assert cli.call("queue", "peek", "mail~0").code == 2
    assert cli.call("queue", "peek", "nobody").code == 3


def test_check_tells_how_many_partitions_an_app_wants(cli: Cli, folder: Path) -> None:
    (folder / "parted.py").write_text(PARTED.format(count=4))

    found = cli.run("check", "parted:app", "--json").json

    assert found["queues"] == [{"queue": "mail", "partitions": 4}]


def test_what_is_in_the_list_of_queues_but_no_name_is_left_out(
    cli: Cli, sent: list[Job[object]], valkey: Server, namespace: str
) -> None:
    with valkey.client() as client:
        assert isinstance(client, redis.Redis)
        client.sadd(f"{namespace}:queues", "mail~x", "mail~0")

    assert [queue["queue"] for queue in cli.call("queue", "ls", "--json").json] == ["mail"]
