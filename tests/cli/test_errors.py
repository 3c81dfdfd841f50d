"""What goes wrong is one line on stderr and the right exit code; -v adds the traceback."""

from __future__ import annotations

import pytest

from taskq.cli import exits
from taskq.cli.session import Session
from taskq.errors import TaskqError
from tests.cli.conftest import Cli
from tests.servers import running_server, valkey_binary

pytestmark = pytest.mark.keeps_keys("leaves jobs as the command left them")


@pytest.mark.parametrize(
    "words",
    [
        ["worker", "shop:app", "-c", "0"],
        ["worker", "shop:app", "-c", "-1"],
        ["worker", "shop:app", "-c", "abc"],
        ["worker", "shop:app", "-c", "1000000"],
        ["worker", "shop:app", "-p", "0"],
        ["worker", "shop:app", "-q", "a", "-q", "a"],
        ["worker", "shop:app", "-q", "a,a"],
        ["worker", "shop:app", "-q", "a b"],
        ["worker", "shop:app", "-q", ""],
        ["worker", "shop:app", "--name", "../x"],
        ["worker", "shop:app", "--drain", "soon"],
        ["worker", "shop:app", "--drain", "inf"],
        ["queue", "show", "a:b"],
        ["queue", "show", "a}"],
        ["queue", "show", "*"],
        ["queue", "show", "x" * 65],
        ["queue", "show", "\N{GRINNING FACE}"],
        ["queue", "purge", "default", "running", "--yes"],
        ["job", "show", "../../etc/passwd"],
        ["status", "--namespace", "a b"],
        ["status", "--redis-url", "http://host"],
        ["status", "--redis-url", "redis://host:70000"],
        ["enqueue", "add", "[1,"],
        ["enqueue", "add", "[NaN]"],
        ["enqueue", "add", '{"a": 1, "a": 2}'],
        ["enqueue", "add", '"open'],
        ["enqueue", "add", "--kwargs", "[1]"],
        ["enqueue", "add", "--kwargs", "{"],
        ["enqueue", "add", "[" * 5000 + "]" * 5000],
        ["enqueue", "add", "18446744073709551616"],
        ["enqueue", "add", "--priority", "10"],
        ["enqueue", "add", "--priority", "1.5"],
        ["enqueue", "add", "--priority", "high"],
        ["enqueue", "add", "--delay", "-5"],
        ["enqueue", "add", "--delay", "5 minutes"],
        ["enqueue", "add", "--deadline", "0"],
        ["enqueue", "add", "--timeout", "5"],
        ["enqueue", "a b", "1"],
        ["nonsense"],
        ["status", "--nonsense"],
    ],
    ids=lambda words: " ".join(words)[:60],
)
def test_bad_words_are_wrong_usage_in_one_line(cli: Cli, words: list[str]) -> None:
    ran = cli.call(*words)

    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert ran.error
    assert cli.call("job", "ls").out == "no such jobs\n"


APPS = {
    "nomodule": ("there is no module 'nomodule'", ""),
    "shpo:app": ("there is no module 'shpo'; did you mean 'shop'?", ""),
    "shop:ap": ("has no 'ap'; did you mean 'app'?", ""),
    "shop:number": ("is an int, not a TaskQ app; did you mean shop:app?", ""),
    "shop:add": ("is an AsyncTask, not a TaskQ app; did you mean shop:app?", ""),
    "shop.py:app": ("is a path: give the module's name, as in shop:app", ""),
    "shop:": ("is no module:attr", ""),
    "1x:app": ("is no module:attr", ""),
    "broken:app": ("syntax error at ", "def (:\n"),
    "raising:app": ("RuntimeError: no luck (", "raise RuntimeError('no\\nluck')\n"),
    "needy:app": ("it needs 'not_installed_here'", "import not_installed_here\n"),
    "leaving:app": ("SystemExit: 3", "raise SystemExit(3)\n"),
    "empty": ("has no TaskQ app", "x = 1\n"),
    "several": (
        "say several:one or several:two",
        "from taskq import TaskQ\none, two = TaskQ(), TaskQ()\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("spec", APPS)
@pytest.mark.parametrize("command", ["check", "worker"])
def test_an_app_that_cannot_be_had_is_exit_2_with_its_cause(
    cli: Cli, command: str, spec: str
) -> None:
    words, source = APPS[spec]
    if source:
        (cli.folder / f"{spec.partition(':')[0]}.py").write_text(source)

    ran = cli.run(command, spec)

    assert ran.code == 2
    assert words.replace("\n", "\\n") in ran.error.replace("no\\nluck", "no luck")
    assert ran.err.count("\n") == 1


def test_verbose_shows_the_traceback_of_a_failing_import(cli: Cli) -> None:
    (cli.folder / "raising.py").write_text("raise RuntimeError('no luck')\n")

    ran = cli.run("check", "raising:app", "-v")

    assert ran.code == 2
    assert "Traceback" in ran.err
    assert 'raising.py", line 1' in ran.err


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("from taskq import TaskQ\napp = TaskQ('http://host')\n", 78),
        ("from taskq import TaskQ\napp = TaskQ(concurrency=0)\n@app.task\ndef f(): ...\n", 78),
        ("from taskq import TaskQ\napp = TaskQ()\n@app.task(priority=10)\ndef f(): ...\n", 2),
    ],
)
def test_an_error_of_taskq_while_importing_keeps_its_code(cli: Cli, source: str, code: int) -> None:
    (cli.folder / "wrong.py").write_text(source)

    ran = cli.run("check", "wrong:app")

    assert ran.code == code
    assert ran.error


@pytest.mark.parametrize(
    "words", [["queue", "show", "nowhere"], ["queue", "peek", "nowhere"], ["job", "show", "no"]]
)
def test_what_is_not_there_is_exit_3(cli: Cli, words: list[str]) -> None:
    ran = cli.call(*words)

    assert ran.code == 3
    assert ran.error


@pytest.mark.parametrize(
    "words",
    [["status"], ["queue", "ls"], ["job", "ls"], ["workers"], ["enqueue", "add", "1"]],
    ids=lambda words: " ".join(words),
)
def test_a_redis_that_cannot_be_reached_is_exit_69(cli: Cli, words: list[str]) -> None:
    ran = cli.call(*words, "--redis-url", f"unix://{cli.folder}/none", "--connect-timeout", "0.2")

    assert ran.code == 69
    assert "is not reachable" in ran.error


def test_worker_and_doctor_say_69_too(cli: Cli) -> None:
    cli.env["TASKQ_REDIS_URL"] = f"unix://{cli.folder}/none"

    worker = cli.run("worker", "shop:app")
    doctor = cli.call("doctor", "--json")

    assert worker.code == 69
    assert worker.error
    assert doctor.code == 69
    assert doctor.json["checks"][0]["level"] == "fail"


def test_a_bad_setting_is_exit_78_and_names_its_place(cli: Cli) -> None:
    environment = cli.run("status", TASKQ_CONNECT_TIMEOUT="soon")
    (cli.folder / "taskq.toml").write_text("concurency = 5\n")
    file = cli.call("status")

    assert environment.code == 78
    assert "TASKQ_CONNECT_TIMEOUT" in environment.error
    assert file.code == 78
    assert "taskq.toml: unknown key 'concurency'" in file.error


def test_settings_that_do_not_fit_together_are_exit_78(cli: Cli) -> None:
    ran = cli.run("worker", "shop:app", "--heartbeat", "2s", "--heartbeat-ttl", "3s")

    assert ran.code == 78
    assert "heartbeat_ttl=3" in ran.error
    assert "heartbeat=2" in ran.error


def test_production_forbids_the_embedded_server(lone: Cli) -> None:
    ran = lone.run("status", TASKQ_ENV="production")

    assert ran.code in (0, 78)  # 0: this machine has a Redis on 127.0.0.1:6379
    if ran.code == 78:
        assert "TASKQ_ENV=production forbids it" in ran.error
    assert not lone.exists("state")


def test_a_password_never_shows(cli: Cli) -> None:
    for url in ("redis://user:s3cret@127.0.0.1:1/0", "redis://user:s3cret@host:70000"):
        ran = cli.call("status", "--redis-url", url)

        assert ran.code in (2, 69)
        assert "s3cret" not in ran.out + ran.err


def test_a_wrong_password_is_refused_with_4(cli: Cli) -> None:
    binary = valkey_binary()
    assert binary is not None
    with running_server("valkey", binary) as server:
        client = server.client()
        client.config_set("requirepass", "right")
        client.close()
        none = cli.call("status", "--redis-url", server.url)
        wrong = cli.call("status", "--redis-url", f"unix://:wrong@{server.path}")
        right = cli.call("status", "--redis-url", f"unix://:right@{server.path}")

    assert (none.code, wrong.code, right.code) == (4, 4, 0)
    assert "give the password in the URL" in none.error


def test_a_server_that_may_drop_jobs_is_refused_by_worker_and_doctor(cli: Cli) -> None:
    binary = valkey_binary()
    assert binary is not None
    policy = {"maxmemory-policy": "allkeys-lru"}
    with running_server("valkey", binary, **policy) as server:
        cli.env["TASKQ_REDIS_URL"] = server.url
        worker = cli.run("worker", "shop:app", "--burst")
        doctor = cli.call("doctor")

    assert worker.code == 78
    assert "noeviction" in worker.error
    assert doctor.code == 1
    assert "maxmemory-policy allkeys-lru may drop jobs" in doctor.out


def test_an_unexpected_error_is_exit_70_and_v_shows_where(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("a bug\r\nwith lines")

    monkeypatch.setattr(Session, "look", broken)

    plain = cli.call("status")
    verbose = cli.call("status", "-v")

    assert plain.code == 70
    assert plain.err.count("\n") == 1
    assert "unexpected RuntimeError: a bug\\r\\nwith lines" in plain.error
    assert verbose.code == 70
    assert "Traceback" in verbose.err


def test_every_error_class_has_a_documented_code() -> None:
    def leaves(kind: type[TaskqError]) -> list[type[TaskqError]]:
        return [kind, *(leaf for sub in kind.__subclasses__() for leaf in leaves(sub))]

    codes = {exits.code_of(kind("x")) for kind in leaves(TaskqError)}

    assert codes <= {1, 2, 3, 4, 5, 69, 70, 78}
