"""The command line as people use it: in a process of its own, or here when it loads no app."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from click.testing import CliRunner

from taskq.cli.main import main
from tests.helpers import wait_until
from tests.servers import Server

ROOT = Path(__file__).resolve().parents[2]
SHOP = """
from pathlib import Path
from taskq import Context, TaskQ
from tests.helpers import wait_until

app = TaskQ()
number = 7

@app.task
async def add(a: int, b: int = 2) -> int:
    return a + b

@app.task
def work(name: str, seconds: float = 0.0) -> str:
    Path(f"began-{name}").touch()
    if seconds:
        wait_until(Path(f"go-{name}").exists, timeout=seconds)
    Path(f"ended-{name}").touch()
    return name

@app.task(retries=0)
async def boom(text: str) -> None:
    raise ValueError(text)

@app.task(queue="reports", priority=7, executor="process", timeout=60)
def crunch(ctx: Context, n: int) -> int:
    return n * n
"""


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line that says what went wrong; fails when there are more or none."""
        lines = [line for line in self.err.splitlines() if line.startswith("taskq: error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


class Cli:
    """`taskq` with this test's server, namespace and folder (which has shop.py)."""

    def __init__(self, folder: Path, url: str | None, namespace: str) -> None:
        self.folder = folder
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("TASK", "REDIS"))}
        self.env = {
            **kept,
            "TASKQ_NAMESPACE": namespace,
            "TASKQ_EMBEDDED_DIR": str(folder / "state"),
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
        }
        if url is not None:
            self.env["TASKQ_REDIS_URL"] = url
        self._started: list[subprocess.Popen[str]] = []

    def run(self, *words: str, stdin: str = "", **env: str) -> Ran:
        """Run it in a process of its own, to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "taskq", *words],
            cwd=self.folder,
            env={**self.env, **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def call(self, *words: str) -> Ran:
        """Run it in this process: quick, for commands that load no app."""
        result = CliRunner().invoke(main, list(words), env={**_without_ours(), **self.env})
        return Ran(result.exit_code, result.stdout, result.stderr)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start it; what still runs at the end of the test is killed. Its stderr goes to `log`."""
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "taskq", *words],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def workers(self) -> list[Any]:
        """The workers that are alive, as `taskq workers --json` tells."""
        found = self.call("workers", "--json")
        assert found.code == 0, found.err
        return [worker for worker in found.json if worker["alive"]]

    def worker(self, *words: str, count: int = 1) -> subprocess.Popen[str]:
        """A worker of shop.py, on the roster."""
        process = self.start("worker", "shop:app", *words)
        wait_until(
            lambda: len(self.workers()) >= count or process.poll() is not None, what="a worker"
        )
        assert process.poll() is None, self.log
        return process

    def enqueue(self, *words: str) -> str:
        """The id of a new job."""
        ran = self.call("enqueue", *words)
        assert ran.code == 0, ran.err
        return ran.out.strip()

    def state(self, job_id: str) -> str:
        """The state of a job."""
        return str(self.call("job", "show", job_id, "--json").json["state"])

    def exists(self, name: str) -> bool:
        return (self.folder / name).exists()

    def close(self) -> None:
        """End what was started, and the children it left: each start has a session of its own."""
        sessions = {process.pid for process in self._started}
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) in sessions:
                    os.kill(pid, signal.SIGKILL)
        for process in self._started:
            process.wait()


def _without_ours() -> dict[str, None]:
    return {name: None for name in os.environ if name.startswith(("TASK", "REDIS"))}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an app in it."""
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(folder: Path, valkey: Server, namespace: str) -> Iterator[Cli]:
    """`taskq` on the session's Valkey."""
    found = Cli(folder, valkey.url, namespace)
    yield found
    found.close()


@pytest.fixture
def lone(folder: Path, namespace: str) -> Iterator[Cli]:
    """`taskq` with no Redis configured."""
    found = Cli(folder, None, namespace)
    yield found
    found.run("embedded", "stop")
    found.close()
