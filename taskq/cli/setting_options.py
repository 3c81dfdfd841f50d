"""Command-line options made from the settings table: what is given wins over environment and
file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from taskq.cli.kinds import Labels, Name, RedisUrl, Span
from taskq.cli.session import Session
from taskq.setting import BY_NAME, Setting

F = TypeVar("F", bound=Callable[..., Any])

#: Settings every command takes; those after the first four are listed by `taskq --help` only.
COMMON = (
    "redis_url",
    "namespace",
    "log_format",
    "log_level",
    "env",
    "embedded_dir",
    "redis_server",
    "connect_timeout",
    "socket_timeout",
    "tls_ca",
    "tls_cert",
    "tls_key",
)
SHOWN = COMMON[:4]
#: Settings `taskq worker` takes beside its queues.
WORKER = (
    "concurrency",
    "processes",
    "process_slots",
    "provides",
    "load_aware",
    "timeout",
    "retries",
    "drain",
    "block",
    "heartbeat",
    "heartbeat_ttl",
    "grace",
    "max_crashes",
    "isolation",
    "block_warn",
    "recycle_jobs",
    "recycle_rss",
    "memory_watermark",
    "max_result",
    "result_ttl",
    "dead_ttl",
    "done_max",
    "dead_max",
)
#: Settings `taskq enqueue` takes.
ENQUEUE = ("max_jobs", "full_timeout", "max_payload", "durability", "replicas", "replica_timeout")


class SettingOption(click.Option):
    """An option that sets a setting; `section` is where help lists it."""

    section = "Settings"


def _kind(setting: Setting) -> click.ParamType[Any]:
    if setting.name == "redis_url":
        return RedisUrl()
    if setting.kind == "count":
        return click.IntRange(int(setting.least), int(setting.most))
    if setting.kind == "seconds":
        return Span(setting.least, setting.most)
    if setting.kind == "choice":
        return click.Choice(setting.choices)
    if setting.kind == "labels":
        return Labels(setting.name)
    if setting.name == "namespace":
        return Name("namespace")
    return click.STRING


def _default(setting: Setting) -> str:
    if setting.default in (None, ()):
        return ""
    if setting.kind == "seconds":
        return f"  [default: {setting.default:g} s]"
    return f"  [default: {setting.default}]"


def _remember(ctx: click.Context, param: click.Parameter, value: object) -> None:
    if param.multiple:  # each may be several, a comma between
        value = ",".join(value) if value else None  # type: ignore[arg-type]
    if value is not None and param.name is not None:
        session = ctx.find_root().ensure_object(Session)
        session.given[param.name] = value


def setting_option(setting: Setting, *, hidden: bool = False) -> Callable[[F], F]:
    """The option of one setting, as a decorator; its value goes to the session."""
    names = [setting.option, *([setting.short] if setting.short else [])]
    text = setting.doc.replace("`", "")
    return click.option(
        *names,
        setting.name,
        cls=SettingOption,
        type=_kind(setting),
        metavar={"path": "PATH", "count": "N", "text": "NAME", "labels": "LABEL"}.get(setting.kind),
        help=text + _default(setting),
        expose_value=False,
        callback=_remember,
        multiple=setting.kind == "labels",
        hidden=hidden,
    )


def _more_words(ctx: click.Context, param: click.Parameter, value: int) -> None:
    ctx.find_root().ensure_object(Session).verbose += value


def setting_options(
    names: Iterable[str], *, shown: Iterable[str] | None = None
) -> Callable[[F], F]:
    """The options of several settings; all but `shown` are accepted without being listed."""
    listed = list(names)
    visible = set(listed if shown is None else shown)

    def decorate(fn: F) -> F:
        for name in reversed(listed):
            fn = setting_option(BY_NAME[name], hidden=name not in visible)(fn)
        return fn

    return decorate


def common_options(*, all_shown: bool = False) -> Callable[[F], F]:
    """What every command takes: where Redis is, how logs look, -v."""

    def decorate(fn: F) -> F:
        fn = click.option(
            "-v",
            "--verbose",
            count=True,
            cls=SettingOption,
            expose_value=False,
            callback=_more_words,
            help="Show debug logs, and tracebacks of errors.",
        )(fn)
        return setting_options(COMMON, shown=COMMON if all_shown else SHOWN)(fn)

    return decorate
