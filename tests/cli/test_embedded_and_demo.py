"""With no Redis configured the embedded server is used, and said; the demo is passed on to."""

from __future__ import annotations

import pytest

import taskq.demo.run
from taskq.address import LOCAL_HOST, LOCAL_PORT, PROBE_SECONDS
from taskq.embedded.resp import is_redis
from tests.cli.conftest import Cli
from tests.helpers import wait_until

SAID = "no Redis configured: using the embedded server at unix://"


def explicit(lone: Cli) -> list[str]:
    """On a machine with a Redis on the usual port, ask for the embedded server by name."""
    local = is_redis((LOCAL_HOST, LOCAL_PORT), timeout=PROBE_SECONDS)
    return ["--redis-url", "embedded://"] if local else []


def test_embedded_is_started_when_needed_said_once_and_stopped(lone: Cli) -> None:
    words = explicit(lone)
    before = lone.run("embedded", "status", "--json")
    no_url = lone.run("embedded", "url")

    used = lone.run("status", "--json", *words)
    worker = lone.run("worker", "shop:app", "-p", "2", "--burst", *words)
    after = lone.run("embedded", "status", "--json")
    url = lone.run("embedded", "url")
    doctor = lone.run("doctor", "--json", *words)
    stopped = lone.run("embedded", "stop")
    again = lone.run("embedded", "stop")

    assert (before.code, before.json["running"]) == (3, False)
    assert (no_url.code, no_url.out) == (3, "")
    assert used.json["redis"]["source"] == "embedded"
    assert used.err.count(SAID) == (0 if words else 1)
    assert worker.code == 0
    assert worker.err.count(SAID) == (0 if words else 1)
    assert after.code == 0
    assert set(after.json) == {"running", "url", "pid", "version", "directory"}
    assert url.out.strip() == after.json["url"] == used.json["redis"]["url"]
    assert "embedded" in {check["name"] for check in doctor.json["checks"]}
    assert (stopped.code, again.code) == (0, 0)
    assert "has ended" in stopped.err
    assert "no embedded server runs" in again.err


def test_reloading_workers_say_once_that_the_embedded_server_is_used(lone: Cli) -> None:
    if explicit(lone):
        lone.env["TASKQ_REDIS_URL"] = "embedded://"
    process = lone.start("worker", "shop:app", "-p", "2", "--reload")
    wait_until(lambda: len(lone.workers()) == 2)

    process.terminate()

    assert process.wait(15) == 0
    assert lone.log.count(SAID) == (0 if "TASKQ_REDIS_URL" in lone.env else 1)


@pytest.mark.parametrize("code", [0, 1])
def test_demo_passes_its_options_on_and_its_code_back(
    lone: Cli, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    asked: list[dict[str, object]] = []

    def fake(**words: object) -> int:
        asked.append(words)
        return code

    monkeypatch.setattr(taskq.demo.run, "main", fake)

    ran = lone.call("demo", "--kill", "--limit", "7")

    assert ran.code == code
    assert asked == [{"kill": True, "limit": 7}]
