"""Settings: where a value comes from, what is refused and where it says so, and the docs page."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskq.errors import ConfigError
from taskq.setting import SETTINGS
from taskq.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(environ: dict[str, str] | None = None, **arguments: object) -> Settings:
    return Settings.load(arguments, environ=environ or {})


def test_the_defaults_hold_and_fit_each_other() -> None:
    settings = load()

    for setting in SETTINGS:
        assert getattr(settings, setting.name) == setting.default
    assert (settings.concurrency, settings.processes, settings.max_jobs) == (100, 1, 1_000_000)
    assert (settings.heartbeat, settings.heartbeat_ttl, settings.grace) == (2.0, 6.0, 2.5)
    assert settings.queues == ("default",)
    assert settings.redis_url is None


def test_the_table_and_the_attributes_are_the_same_list() -> None:
    assert [field.name for field in dataclasses.fields(Settings)] == [s.name for s in SETTINGS]


def test_no_name_is_given_twice() -> None:
    variables = [name for s in SETTINGS for name in (s.variable, *s.aliases)]
    options = [name for s in SETTINGS for name in (s.short, s.option) if name]

    assert len(variables) == len(set(variables))
    assert len(options) == len(set(options))


def test_argument_beats_variable_beats_file_beats_default(empty_folder: Path) -> None:
    (empty_folder / "taskq.toml").write_text("concurrency = 3\nretries = 7\nprocesses = 2\n")
    environ = {"TASKQ_CONCURRENCY": "4", "TASKQ_RETRIES": "8"}

    settings = load(environ, concurrency=5, processes=None)

    assert settings.concurrency == 5
    assert settings.retries == 8
    assert settings.processes == 2
    assert settings.max_crashes == 3


@pytest.mark.parametrize(
    ("alias", "name", "text", "value"),
    [
        ("TASK_SCHEDULER_WORKERS", "processes", "4", 4),
        ("TASK_SCHEDULER_MAX_QUEUE", "max_jobs", "50", 50),
        ("TASK_SCHEDULER_MESSAGE_BROKER", "redis_url", "broker:6379", "broker:6379"),
        ("TASK_SCHEDULER_TLS_CERT", "tls_cert", "/c.pem", "/c.pem"),
        ("TASK_SCHEDULER_JWT_SECRET", "jwt_secret", "s3cret", "s3cret"),
        ("REDIS_URL", "redis_url", "redis://r", "redis://r"),
    ],
)
def test_older_variable_names_work_and_the_new_name_wins(
    alias: str, name: str, text: str, value: object
) -> None:
    own = f"TASKQ_{name.upper()}"

    assert getattr(load({alias: text}), name) == value
    assert getattr(load({alias: "9", own: text}), name) == value


def test_the_key_alias_works_beside_its_certificate() -> None:
    environ = {"TASK_SCHEDULER_TLS_CERT": "/c.pem", "TASK_SCHEDULER_TLS_KEY": "/k.pem"}

    assert load(environ).tls_key == "/k.pem"


def test_an_empty_variable_counts_as_unset() -> None:
    assert load({"TASKQ_REDIS_URL": "", "REDIS_URL": "redis://r"}).redis_url == "redis://r"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604800), ("250ms", 0.25), ("1.5", 1.5)],
)
def test_durations_are_read_with_and_without_a_unit(text: str, seconds: float) -> None:
    assert load({"TASKQ_TIMEOUT": text}).timeout == seconds
    assert load(timeout=text).timeout == seconds


def test_a_number_of_seconds_may_be_whole(empty_folder: Path) -> None:
    (empty_folder / "taskq.toml").write_text('timeout = 30\ndrain = "1m"\n')

    settings = load()

    assert (settings.timeout, settings.drain) == (30.0, 60.0)
    assert isinstance(settings.timeout, float)


def test_queues_are_a_list_or_names_between_commas(empty_folder: Path) -> None:
    assert load({"TASKQ_QUEUES": "mail, reports"}).queues == ("mail", "reports")
    assert load(queues=["mail"]).queues == ("mail",)
    (empty_folder / "taskq.toml").write_text('queues = ["a", "b"]\n')
    assert load().queues == ("a", "b")


WHOLE = "use a whole number from 1 to 10,000"
SPAN = "use a number from 0.001 to 31,536,000 seconds (or 30s, 5m, 2h, 7d, 250ms)"
NAME = "1 to 64 letters, digits, '_', '.' or '-'"


def test_labels_are_a_list_or_labels_between_commas(empty_folder: Path) -> None:
    (empty_folder / "taskq.toml").write_text('provides = ["gpu", "region=eu"]')

    assert load().provides == ("gpu", "region=eu")
    assert load({"TASKQ_PROVIDES": "region=eu, gpu"}).provides == ("gpu", "region=eu")
    assert load({"TASKQ_PROVIDES": ""}, provides="arm").provides == ("arm",)


def test_a_bad_label_is_refused_naming_the_place() -> None:
    with pytest.raises(ConfigError, match="TASKQ_PROVIDES: provides: 'a b' is no label"):
        load({"TASKQ_PROVIDES": "gpu,a b"})


BAD = [
    ("concurrency", "0", "'0'", WHOLE),
    ("concurrency", "10001", "'10001'", WHOLE),
    ("concurrency", "abc", "'abc'", WHOLE),
    ("concurrency", True, "True", WHOLE),
    ("concurrency", 1.5, "1.5", WHOLE),
    ("concurrency", float("inf"), "inf", WHOLE),
    ("processes", -1, "-1", "use a whole number from 1 to 256"),
    ("retries", 10**9, "1000000000", "use a whole number from 0 to 10,000"),
    ("timeout", 0, "0", SPAN),
    ("timeout", "-5", "'-5'", SPAN),
    ("timeout", "inf", "'inf'", SPAN),
    ("timeout", float("nan"), "nan", SPAN),
    ("timeout", "5 minutes", "'5 minutes'", SPAN),
    ("timeout", 10**400, "1000", SPAN),
    ("block", 60, "60", "use a number from 0.1 to 59 seconds"),
    ("namespace", "a b", "'a b'", NAME),
    ("namespace", "", "''", "use text that is not empty"),
    ("namespace", "a:b", "'a:b'", NAME),
    ("namespace", "x" * 65, "'xxx", NAME),
    ("namespace", "\N{WAVING HAND SIGN}", "", NAME),
    ("queues", "a,{b}", "'a,{b}'", NAME),
    ("queues", ["a", "../b"], "['a', '../b']", NAME),
    ("queues", [], "[]", "use names, a comma between"),
    ("env", "prod", "'prod'", "use one of development, production"),
    ("log_format", 3, "3", "use text"),
    ("tls_ca", "a\0b", "", "use text"),
]


@pytest.mark.parametrize(
    ("name", "value", "shown", "remedy"), BAD, ids=[f"{row[0]}={row[1]!r:.12}" for row in BAD]
)
def test_a_bad_argument_is_refused_with_its_value_and_the_remedy(
    name: str, value: object, shown: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.load({name: value}, environ={})

    assert str(caught.value).startswith(f"argument: {name}={shown}")
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_variable_names_the_one_that_was_set() -> None:
    with pytest.raises(ConfigError, match=r"^environment TASK_SCHEDULER_WORKERS: processes='0'"):
        load({"TASK_SCHEDULER_WORKERS": "0"})
    with pytest.raises(ConfigError, match=r"^environment TASKQ_NAMESPACE: namespace='a\*'"):
        load({"TASKQ_NAMESPACE": "a*"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("concurrency = 0", "taskq.toml: concurrency=0 is not right: use a whole number from 1"),
        ('concurrency = "x"', "taskq.toml: concurrency='x' is not right"),
        ("concurency = 5", "taskq.toml: unknown key 'concurency'"),
        ("[other]\nx = 1", "taskq.toml: unknown key 'other'"),
        ("[drain]\nx = 1", "taskq.toml: drain={'x': 1} is not right"),
        ("concurrency = ", "taskq.toml: is not valid TOML: "),
    ],
)
def test_a_bad_file_is_refused_naming_file_and_key(
    empty_folder: Path, text: str, words: str
) -> None:
    (empty_folder / "taskq.toml").write_text(text)

    with pytest.raises(ConfigError) as caught:
        load()

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text_is_refused(empty_folder: Path) -> None:
    (empty_folder / "taskq.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match=r"^taskq\.toml: is not valid TOML"):
        load()


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'namspace'"):
        load(namspace="x")


def test_pyproject_serves_when_there_is_no_taskq_toml(empty_folder: Path) -> None:
    (empty_folder / "pyproject.toml").write_text("[tool.taskq]\nconcurrency = 7\n")
    assert load().concurrency == 7

    (empty_folder / "taskq.toml").write_text("concurrency = 8\n")
    assert load().concurrency == 8


def test_a_pyproject_without_our_table_is_no_concern_of_ours(empty_folder: Path) -> None:
    (empty_folder / "pyproject.toml").write_text("this is = not toml\n")
    assert load() == Settings.load(environ={}, file=None)

    (empty_folder / "pyproject.toml").write_text('[project]\nname = "uses-taskq"\n')
    assert load().concurrency == 100


def test_the_variable_taskq_config_names_the_file(empty_folder: Path) -> None:
    elsewhere = empty_folder / "production.toml"
    elsewhere.write_text("concurrency = 9\n")
    (empty_folder / "taskq.toml").write_text("concurrency = 8\n")

    assert load({"TASKQ_CONFIG": str(elsewhere)}).concurrency == 9
    assert Settings.load(environ={}, file=elsewhere).concurrency == 9
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot be read: No such file"):
        load({"TASKQ_CONFIG": "missing.toml"})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heartbeat_ttl": 5.9}, "heartbeat_ttl=5.9 is less than 3 x heartbeat=2:"),
        ({"heartbeat": 2.1}, "heartbeat_ttl=6 is less than 3 x heartbeat=2.1:"),
        ({"grace": 2.0}, "grace=2 is not more than heartbeat=2:"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused_naming_both(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        Settings.load(changes, environ={})
    with pytest.raises(ConfigError, match=re.escape(words)):
        load().replace(**changes)


def test_replace_checks_and_reads_like_load_and_leaves_the_first_alone() -> None:
    first = load()

    second = first.replace(drain="1m", queues=["mail"])

    assert (second.drain, second.queues) == (60.0, ("mail",))
    assert first.drain == 25.0
    with pytest.raises(ConfigError, match=r"^argument: concurrency=0 is not right"):
        first.replace(concurrency=0)


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().concurrency = 5  # type: ignore[misc]


@pytest.mark.parametrize("url", ["redis://user:hunter2@h:6379/0", "user:hunter2@h", "hunter2"])
def test_printing_settings_shows_no_secret(url: str) -> None:
    settings = load(redis_url=url, jwt_secret="hunter2")

    assert "hunter2" not in repr(settings)
    assert "redis_url='***'" in repr(settings)
    assert "jwt_secret=None" in repr(load())


@pytest.mark.parametrize("name", ["redis_url", "jwt_secret"])
def test_a_refused_secret_is_not_shown(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.load({name: "redis://u:hunter2@h\0"}, environ={})

    assert "hunter2" not in str(caught.value)
    assert name in str(caught.value)


def test_importing_and_loading_without_a_file_reads_no_toml_and_no_network_library() -> None:
    program = (
        "import sys; from taskq.settings import Settings; Settings.load(environ={}); "
        "print([name for name in ('tomllib', 'difflib', 'asyncio', 'redis', 'msgpack', 'click') "
        "if name in sys.modules])"
    )
    parents = "import sys, types; package = types.ModuleType('taskq'); " + (
        f"package.__path__ = [{str(ROOT / 'taskq')!r}]; sys.modules['taskq'] = package; "
    )

    done = subprocess.run(
        [sys.executable, "-c", parents + program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_the_page_of_settings_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
