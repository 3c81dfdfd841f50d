"""The command line about labels and costs: `--provides`, `--requires`, and who is missing."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli
from tests.helpers import wait_until

pytestmark = pytest.mark.keeps_keys("jobs wait for labels that nobody provides")


def test_status_and_explain_name_the_label_that_nobody_provides(cli: Cli) -> None:
    cli.worker("--provides", "gpu", "--provides", "zone=a,arm")
    job = cli.enqueue("add", "1", "--requires", "gpu", "--requires", "region=eu")

    (found,) = cli.call("status", "--json").json["unserved"]
    said = cli.call("job", "explain", job).out

    assert (found["class"], found["jobs"]) == ("gpu+region=eu", 1)
    assert found["missing"] == ["region=eu"]
    words = "region=eu: no live worker provides it: run `taskq worker APP -q default --provides"
    assert found["advice"] == f"{words} gpu,region=eu`"
    assert words in " ".join(cli.call("status").out.split())
    assert words in " ".join(said.split())


def test_labels_that_nobody_provides_together_are_named(cli: Cli) -> None:
    cli.worker("--provides", "gpu")
    cli.worker("--provides", "region=eu", count=2)
    cli.enqueue("add", "1", "--requires", "gpu,region=eu")

    (found,) = cli.call("status", "--json").json["unserved"]

    assert found["missing"] == []
    assert "no live worker has gpu and region=eu together" in found["advice"]


def test_a_job_that_waits_for_a_label_runs_once_a_worker_provides_it(cli: Cli) -> None:
    job = cli.enqueue("add", "1", "--requires", "gpu", "--cost", "3")
    assert cli.state(job) == "ready"

    cli.worker("--provides", "gpu", "-p", "2", count=2)

    wait_until(lambda: cli.state(job) == "completed")
    assert cli.call("status", "--json").json["unserved"] == []


def test_the_roster_shows_what_a_worker_provides(cli: Cli) -> None:
    cli.worker("--provides", "gpu,region=eu")

    (worker,) = cli.workers()
    text = cli.call("workers").out

    assert worker["provides"] == ["gpu", "region=eu"]
    assert (worker["slots"], worker["taken"]) == (100, 0)
    assert "gpu region=eu" in text


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("worker", "shop:app", "--provides", "a b"), "'a b' is no label"),
        (("worker", "shop:app", "--provides", "gpu,process"), "'process' is no label"),
        (("enqueue", "add", "1", "--requires", ""), "'' is no label"),
        (("enqueue", "add", "1", "--cost", "0"), "0 is not in the range"),
    ],
    ids=lambda words: words[-1] if isinstance(words, tuple) else "",
)
def test_a_bad_label_or_cost_is_a_usage_error(cli: Cli, words: tuple[str, ...], part: str) -> None:
    ran = cli.run(*words)

    assert ran.code == 2
    assert part in ran.err
