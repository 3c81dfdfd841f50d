"""Code in README and docs runs as it stands there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.conftest import Shell, WorkerOf
from tests.docs.pages import PAGES, ROOT, Block, blocks
from tests.docs.world import World

ALL = list(blocks(*PAGES))
MARKED = [block for block in ALL if block.mark == "run"]


@pytest.mark.parametrize("block", MARKED, ids=lambda block: block.name)
async def test_snippets_run_and_answer(
    block: Block, world: World, shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "snippet.py").write_text(block.code)
    script = "python snippet.py" if block.language == "python" else block.code

    ran = shell(script, id=world.job_id, worker=world.worker_id)

    assert ran.returncode == 0, ran.stderr
    assert not re.search("^(ERR|WRONGTYPE)", ran.stdout, re.M)
    assert ran.stdout.strip(), "it says nothing"


def test_marks_are_those_that_tests_know() -> None:
    unknown = [
        block.name
        for block in ALL
        if block.mark
        and not re.fullmatch(r"run|not run: .+|run: as hello.py, beside a worker", block.mark)
    ]

    assert not unknown
    assert len(MARKED) >= 6


def test_the_example_of_the_readme_says_what_the_readme_says(
    worker_of: WorkerOf, shell: Shell, tmp_path: Path
) -> None:
    readme = list(blocks(ROOT / "README.md"))
    (example,) = (block for block in readme if block.mark.startswith("run: as hello.py"))
    (session,) = (block for block in readme if block.language == "console")
    commands = re.findall(r"^\$ (.+)$", session.code, re.M)
    expected = "".join(re.findall(r"^(?!\$ ).*\n", session.code, re.M))
    (tmp_path / "hello.py").write_text(example.code)
    assert commands == ["taskq worker hello:app &", "python hello.py"]
    assert len([line for line in example.code.splitlines() if line.strip()]) <= 10

    with worker_of("hello:app") as log:
        ran = shell(commands[1])

    assert (ran.stdout, ran.returncode) == (expected, 0), ran.stderr + log.read_text()


EXAMPLES = {
    "sync_producer": "",
    "retry_and_dead_letter": "",
    "tenants": "acme: at most 2 at a time\nglobex: at most 2 at a time\n"
    "asked twice, one job: True True\nreport of acme\n",
    "by_the_clock": "",
    "by_capability": "",
    "fenced_store": "booked: 42\nrefused: a late writer\nin the ledger: 42\n",
}


WORKER_OPTIONS = {"by_capability": ("--provides", "gpu")}


@pytest.mark.parametrize(("name", "output"), EXAMPLES.items())
def test_an_example_runs_beside_a_worker(
    name: str, output: str, worker_of: WorkerOf, shell: Shell, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "examples" / f"{name}.py", tmp_path)

    with worker_of(f"{name}:app", *WORKER_OPTIONS.get(name, ())) as log:
        ran = shell(f"python {name}.py")

    assert ran.returncode == 0, ran.stderr + log.read_text()
    assert ran.stdout
    assert not output or ran.stdout == output
