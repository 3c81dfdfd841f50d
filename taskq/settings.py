"""The settings in force: argument, environment, file, default, in that order.

`Settings.load` is the only door; nothing below reads the environment. The table: setting.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from taskq.errors import ConfigError
from taskq.setting import BY_NAME, SETTINGS, Setting
from taskq.setting_values import READERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings in force. Durations in seconds; docs/settings.md tells what each does."""

    redis_url: str | None = None
    namespace: str = "taskq"
    env: str = "development"
    embedded_dir: str | None = None
    redis_server: str | None = None
    queues: tuple[str, ...] = ("default",)
    concurrency: int = 100
    processes: int = 1
    process_slots: int = 0
    provides: tuple[str, ...] = ()
    load_aware: str = "on"
    timeout: float = 300.0
    retries: int = 3
    drain: float = 25.0
    heartbeat: float = 2.0
    heartbeat_ttl: float = 6.0
    grace: float = 2.5
    max_crashes: int = 3
    isolation: str = "stop"
    block_warn: float = 1.0
    recycle_jobs: int = 0
    recycle_rss: int = 0
    block: float = 10.0
    max_jobs: int = 1_000_000
    memory_watermark: int = 90
    max_payload: int = 1_048_576
    max_result: int = 1_048_576
    full_timeout: float = 30.0
    result_ttl: float = 600.0
    dead_ttl: float = 604_800.0
    done_max: int = 1_000_000
    dead_max: int = 100_000
    connect_timeout: float = 5.0
    socket_timeout: float = 5.0
    durability: str = "local"
    replicas: int = 1
    replica_timeout: float = 1.0
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    jwt_secret: str | None = None
    log_format: str = "auto"
    log_level: str = "info"

    def __post_init__(self) -> None:
        if self.heartbeat_ttl < 3 * self.heartbeat:
            raise ConfigError(
                f"heartbeat_ttl={self.heartbeat_ttl:g} is less than"
                f" 3 x heartbeat={self.heartbeat:g}: two lost beats must not make a suspect"
            )
        if self.grace <= self.heartbeat:
            raise ConfigError(
                f"grace={self.grace:g} is not more than heartbeat={self.heartbeat:g}:"
                " a suspect needs the time of one beat to come back"
            )

        if self.durability == "replicated" and self.replica_timeout > self.socket_timeout / 2:
            raise ConfigError(
                f"replica_timeout={self.replica_timeout:g} is more than half of"
                f" socket_timeout={self.socket_timeout:g}: a server that waits for its replicas"
                " would pass for one that does not answer"
            )

    def __repr__(self) -> str:
        shown = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and BY_NAME[field.name].kind == "secret":
                value = "***"
            shown.append(f"{field.name}={value!r}")
        return f"Settings({', '.join(shown)})"

    @classmethod
    def load(
        cls,
        arguments: Mapping[str, object] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        file: Path | None = None,
    ) -> Self:
        """Collect the settings; None in `arguments` counts as not given.

        `file`: a taskq.toml; None looks at TASKQ_CONFIG, then ./taskq.toml, then [tool.taskq] of
        ./pyproject.toml. Raises ConfigError naming the place, the value and the remedy.
        """
        environ = os.environ if environ is None else environ
        arguments = arguments or {}
        for name in arguments:
            _check_name(name)
        table, where = _read_file(file, environ)
        values: dict[str, Any] = {}
        for setting in SETTINGS:
            found = _find(setting, arguments, environ, table, where)
            if found is not None:
                value, place = found
                values[setting.name] = READERS[setting.kind](setting, value, place)
        return cls(**values)

    def replace(self, **changes: object) -> Self:
        """A copy with some settings changed, checked again."""
        checked: dict[str, Any] = {}
        for name, value in changes.items():
            _check_name(name)
            setting = BY_NAME[name]
            optional = value is None and setting.default is None
            checked[name] = None if optional else READERS[setting.kind](setting, value, "argument")
        return replace(self, **checked)


def _check_name(name: str) -> None:
    if name not in BY_NAME:
        raise ConfigError(f"unknown setting {name!r}: docs/settings.md lists them")


def _find(
    setting: Setting,
    arguments: Mapping[str, object],
    environ: Mapping[str, str],
    table: Mapping[str, object],
    where: str,
) -> tuple[object, str] | None:
    given = arguments.get(setting.name)
    if given is not None:
        return given, "argument"
    for variable in (setting.variable, *setting.aliases):
        if environ.get(variable):
            return environ[variable], f"environment {variable}"
    if setting.name in table:
        return table[setting.name], where
    return None


def _read_file(file: Path | None, environ: Mapping[str, str]) -> tuple[Mapping[str, object], str]:
    named = file or (Path(environ["TASKQ_CONFIG"]) if environ.get("TASKQ_CONFIG") else None)
    if named is None:
        own, project = Path("taskq.toml"), Path("pyproject.toml")
        if own.is_file():
            named = own
        elif project.is_file():
            return _section(project), "[tool.taskq] in pyproject.toml"
        else:
            return {}, ""
    if named.name == "pyproject.toml":
        return _section(named), f"[tool.taskq] in {named}"
    table = _parse(named)
    _check_keys(table, str(named))
    return table, str(named)


def _section(project: Path) -> Mapping[str, object]:
    # Another program's broken pyproject.toml is not ours to complain about unless it speaks of us.
    try:
        text = project.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{project}: cannot be read: {error.strerror}") from error
    if not re.search(r"tool\s*\.\s*taskq|^\s*taskq\s*=", text, re.MULTILINE):
        return {}
    tool = _parse(project).get("tool")
    table = tool.get("taskq", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError(f"{project}: tool.taskq must be a table")
    _check_keys(table, f"{project} [tool.taskq]")
    return dict(table)


def _parse(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from error


def _check_keys(table: Mapping[str, object], where: str) -> None:
    for name in table:
        if name not in BY_NAME:
            raise ConfigError(f"{where}: unknown key {name!r}; docs/settings.md lists the settings")
