"""The embedded server as processes see it: start, share, survive, stop; its folder. Real
servers.
"""

from __future__ import annotations

import json
import os
import signal
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
from taskq.embedded import ensure, status, stop
from taskq.embedded.resp import ask, is_redis
from taskq.errors import ConfigError, StoreUnavailable
from tests.integration.embedded_tools import (
    kill,
    read_line,
    send_line,
    servers_in,
    set_and_get,
    start_program,
)


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
