"""`taskq doctor` on damaged queues: it names what is wrong, mends it when asked, and says so."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest
import redis

from taskq.cli.findings import KINDS
from taskq.keys import QueueKeys
from taskq.scripts import ScriptSet
from tests.cli.conftest import Cli
from tests.docs.pages import DOCS, code_words, rows
from tests.servers import Server

pytestmark = pytest.mark.keeps_keys("quarantine, and jobs that nobody runs")


@pytest.fixture
def raw(valkey: Server) -> redis.Redis:
    return valkey.client()


@pytest.fixture
def keys(namespace: str) -> QueueKeys:
    return QueueKeys(namespace, "default")


def damage(cli: Cli, raw: redis.Redis, keys: QueueKeys) -> str:
    """A job in no index, two ghosts, an odd id, and a key of another type; the job's id."""
    job_id = cli.enqueue("add", "1")
    raw.zrem(keys.ready, job_id)
    raw.zadd(keys.ready, {"ghost1": 1, "ghost2": 2, b"\xff\x1b": 3})
    raw.set(keys.retry, "oops")
    return job_id


def audit_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.split()[1:2] == ["audit"]]


def test_it_names_each_kind_of_damage_and_the_remedy(
    cli: Cli, raw: redis.Redis, keys: QueueKeys
) -> None:
    job_id = damage(cli, raw, keys)

    ran = cli.call("doctor")

    assert ran.code == 1
    lines = audit_lines(ran.out)
    assert [line.split()[0] for line in lines] == ["fail"] * 4
    assert all("`taskq doctor --repair -q default`" in line for line in lines)
    assert any(f"(homeless); job {job_id} (ready)" in line for line in lines)
    assert any("2 times: an index lists an id that has no record (ghost)" in line for line in lines)
    assert any("\\xff\\x1b in ready" in line for line in lines)
    assert any("(wrong-type); key retry (string)" in line for line in lines)
    assert "\x1b" not in ran.out
    assert raw.get(keys.retry) == b"oops"


def test_json_lists_every_finding(cli: Cli, raw: redis.Redis, keys: QueueKeys) -> None:
    job_id = damage(cli, raw, keys)

    ran = cli.call("doctor", "--json")

    assert ran.code == 1
    assert ran.json["ok"] is False
    found = {(f["code"], f["where"], f["name"], f["detail"]) for f in ran.json["findings"]}
    assert found == {
        ("homeless", "job", job_id, "ready"),
        ("ghost", "ready", "ghost1", "1"),
        ("ghost", "ready", "ghost2", "2"),
        ("bad-name", "ready", "\\xff\x1b", "3"),
        ("wrong-type", "zset", "retry", "string"),
    }
    assert {f["queue"] for f in ran.json["findings"]} == {"default"}


def test_repair_asks_and_without_a_terminal_wants_yes(
    cli: Cli, raw: redis.Redis, keys: QueueKeys
) -> None:
    damage(cli, raw, keys)

    ran = cli.call("doctor", "--repair")

    assert ran.code == 4
    assert ran.error == "taskq: error: 5 findings in default would be mended: say --yes"
    assert raw.get(keys.retry) == b"oops"


def test_repair_mends_says_what_it_did_and_finds_nothing_the_second_time(
    cli: Cli, raw: redis.Redis, keys: QueueKeys
) -> None:
    job_id = damage(cli, raw, keys)

    first = cli.call("doctor", "--repair", "--yes")
    second = cli.call("doctor", "--repair", "--yes", "--json")

    assert first.code == 0, first.out
    mended = [line for line in first.out.splitlines() if line.startswith("mended")]
    assert f"mended  queue default: job {job_id}: homeless: put into ready" in mended
    assert "mended  queue default: ghost1 in ready: ghost: removed" in mended
    assert "mended  queue default: \\xff\\x1b in ready: bad-name: removed" in mended
    assert "mended  queue default: key retry: wrong-type: moved to quarantine" in mended
    assert len(mended) == 5
    (line,) = audit_lines(first.out)
    assert line.startswith("ok")
    assert "1 keys are in quarantine" in line
    assert second.code == 0
    assert (second.json["findings"], second.json["repaired"]) == ([], [])
    assert cli.run("worker", "shop:app", "--burst").code == 0
    assert cli.state(job_id) == "completed"


def test_repair_as_json(cli: Cli, raw: redis.Redis, keys: QueueKeys) -> None:
    job_id = damage(cli, raw, keys)

    ran = cli.call("doctor", "--repair", "--yes", "--json")

    assert ran.code == 0
    assert ran.json["findings"] == []
    assert len(ran.json["repaired"]) == 5
    assert {
        "queue": "default",
        "code": "homeless",
        "where": "job",
        "name": job_id,
        "done": "placed ready",
    } in ran.json["repaired"]


def test_only_the_queue_asked_for_is_mended(
    cli: Cli, raw: redis.Redis, keys: QueueKeys, namespace: str
) -> None:
    damage(cli, raw, keys)
    other = QueueKeys(namespace, "other")
    cli.enqueue("add", "1", "--queue", "other")
    raw.zadd(other.ready, {"ghost": 1})

    ran = cli.call("doctor", "-q", "other", "--repair", "--yes")

    assert ran.code == 0, ran.out
    assert raw.zscore(other.ready, "ghost") is None
    assert raw.get(keys.retry) == b"oops"
    assert cli.call("doctor", "-q", "other").out.count(" default") == 0


def test_a_queue_whose_keys_are_all_of_another_type_is_named_and_mended(
    cli: Cli, raw: redis.Redis, keys: QueueKeys
) -> None:
    cli.enqueue("add", "1")
    for name in (keys.ready, keys.done, keys.meta, keys.stats, keys.holders, keys.wake):
        raw.delete(name)
        raw.set(name, "oops")

    ran = cli.call("doctor")
    mended = cli.call("doctor", "--repair", "--yes")

    assert ran.code == 1
    assert any(line.split()[1] == "queue" for line in ran.out.splitlines() if line[:4] == "fail")
    assert "Traceback" not in ran.out + ran.err
    assert mended.code == 0, mended.out
    assert mended.out.count("wrong-type: moved to quarantine") == 6


def test_values_no_script_wrote_do_not_stop_the_doctor_or_status(
    cli: Cli, raw: redis.Redis, keys: QueueKeys, namespace: str
) -> None:
    cli.enqueue("add", "1")
    raw.sadd(f"{namespace}:queues", "no name", b"\xff")
    raw.hset(keys.stats, mapping={"dead": "many", "failed": "9" * 5000})
    raw.hset(keys.meta, mapping={"paused": "nan", "horizon_ms": "inf", "max_jobs": "1e999"})
    raw.zadd(f"{namespace}:workers", {b"\xff": 1, "w": 2})
    raw.hset(f"{namespace}:worker:w", mapping={"pid": "x", "started_ms": "9" * 30, "rss": "nan"})

    for words in (("status",), ("status", "--json"), ("queue", "show", "default"), ("workers",)):
        ran = cli.call(*words)
        assert ran.code == 0, ran.err
    doctor = cli.call("doctor", "--json")
    assert {f["name"] for f in doctor.json["findings"]} == {"paused", "horizon_ms", "max_jobs"}


def test_the_table_of_findings_in_the_docs_says_what_the_program_says() -> None:
    table = {
        code_words(row["finding"])[0]: (row["what is wrong"], row["what repair does"])
        for row in rows(DOCS / "operations.md", "finding")
    }

    assert table == {code: (kind.wrong, kind.mend) for code, kind in KINDS.items()}


def test_every_finding_of_the_scripts_has_words() -> None:
    source = ScriptSet().get("audit").source

    assert set(re.findall(r"\{ '([a-z]+-?[a-z]*)',", source)) - {"priority"} == set(KINDS)


def test_a_user_who_may_not_write_is_warned_and_cannot_act(
    cli: Cli, raw: redis.Redis, keys: QueueKeys, namespace: str, valkey: Server
) -> None:
    job_id = damage(cli, raw, keys)
    rules = ("reset", "on", ">pw", "~*", "&*", "+@all", "-zadd")
    raw.execute_command("ACL", "SETUSER", namespace, *rules)
    url = f"unix://{namespace}:pw@{valkey.path}"
    try:
        ran = cli.call("doctor", "--redis-url", url)
        assert ran.code == 1
        (line,) = [line for line in ran.out.splitlines() if line.split()[1:2] == ["rights"]]
        assert line.startswith("warn")
        assert "may not run ZADD" in line

        for words in (
            ("doctor", "--repair", "--yes"),
            ("job", "cancel", job_id),
            ("job", "retry", job_id),
            ("worker", "shop:app"),
        ):
            before = raw.keys(f"{namespace}:*")
            refused = cli.run(*words, "--redis-url", url)
            assert refused.code == 4, (words, refused.err)
            assert "may not run ZADD" in refused.err + refused.out
            assert sorted(raw.keys(f"{namespace}:*")) == sorted(before)
    finally:
        raw.execute_command("ACL", "DELUSER", namespace)


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 4), (b"y\n", 0)])
def test_on_a_terminal_repair_shows_what_it_would_mend_and_asks(
    cli: Cli, raw: redis.Redis, keys: QueueKeys, answer: bytes, code: int
) -> None:
    job_id = damage(cli, raw, keys)
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        ran = subprocess.run(
            [sys.executable, "-m", "taskq", "doctor", "--repair"],
            cwd=cli.folder,
            env=cli.env,
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)

    assert ran.returncode == code
    assert f"queue default: job {job_id}: homeless (ready)" in ran.stderr
    assert "Mend 5 findings in default?" in ran.stderr
    assert (raw.get(keys.retry) is None) == (code == 0)
