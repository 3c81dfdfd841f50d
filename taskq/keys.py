"""Every Redis key and channel taskq uses. The only home of key strings; docs/keyspace.md describes
them.

All keys of a queue share the hash tag {queue}, so they live on one Cluster node; a partition of a
queue (partition.py) has keys of its own. Prefixes end in a colon.
"""

from __future__ import annotations

import re

from taskq.errors import InvalidName

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
#: A capability class: parts and a plus between, see classes.py.
_CLASS = re.compile(r"[A-Za-z0-9_.+=-]{1,200}", re.ASCII)
#: A queue, or a partition of one: `mail`, `mail~3`.
_PLACE = re.compile(r"[A-Za-z0-9_.-]{1,64}(~[1-9]\d?)?", re.ASCII)

#: The Redis type of every key of a queue, by its name without the prefix. One that ends in a colon
#: is a family: a name follows.
TYPES = {
    "job:": "hash",
    "ready": "zset",
    "ready:": "zset",
    "turned": "zset",
    "turned:": "zset",
    "classes": "set",
    "scheduled": "zset",
    "retry": "zset",
    "blocked": "zset",
    "running:": "zset",
    "dead": "zset",
    "done": "zset",
    "alive:": "string",
    "holders": "set",
    "suspects": "hash",
    "vitals": "hash",
    "averages": "hash",
    "slacks": "hash",
    "cancels:": "set",
    "wake": "list",
    "wake:": "list",
    "limits": "hash",
    "holding:": "set",
    "rate:": "string",
    "parked:": "zset",
    "timers": "zset",
    "unique:": "string",
    "shares": "zset",
    "weights": "hash",
    "schedules": "hash",
    "meta": "hash",
    "stats": "hash",
    "stats:": "hash",
    "quarantine": "hash",
}
JOB = b"job:"
HELD = b"holding:"
READY_OF_CLASS = "ready:"
WAKE_OF_CLASS = "wake:"
#: Whatever was set aside; any type.
QUARANTINED = b"quarantine:"
_MINUTE = re.compile(rb"stats:\d{1,12}")


def check_name(name: object, what: str) -> str:
    """Return `name` if it may be part of a key; raise InvalidName with the rule otherwise."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        shown = repr(name) if len(repr(name)) <= 80 else repr(name)[:77] + "..."
        raise InvalidName(
            f"{what} {shown} is not a valid name: use 1 to 64 letters, digits, '_', '.' or '-'"
        )
    return name


def check_place(name: object) -> str:
    """Return `name` if it is the name of a queue or of a partition; InvalidName otherwise."""
    return str(name) if is_place(name) else check_name(name, "queue")


def is_place(name: object) -> bool:
    """May `name` be the name of a queue or of a partition?"""
    return isinstance(name, str) and _PLACE.fullmatch(name) is not None


def check_class(name: object) -> str:
    """Return `name` if it may be a capability class in a key; raise InvalidName otherwise."""
    if not is_class(name):
        shown = repr(name) if len(repr(name)) <= 80 else repr(name)[:77] + "..."
        raise InvalidName(
            f"class {shown} is not a valid name: use 1 to 200 letters, digits, or any of '_.+=-'"
        )
    return str(name)


def is_class(name: object) -> bool:
    """May `name` be a capability class in a key?"""
    return isinstance(name, str) and _CLASS.fullmatch(name) is not None


def absent_beside(key: str) -> str:
    """A key in the slot of a queue's `key` that never exists; see ScriptSet."""
    return key[: key.index("}") + 2] + "absent"


def is_name(name: str) -> bool:
    """May `name` be part of a key?"""
    return _NAME.fullmatch(name) is not None


class QueueKeys:
    """The keys of one queue, built once."""

    __slots__ = (
        "alive_prefix",
        "averages",
        "cancels_prefix",
        "classes",
        "dead",
        "done",
        "done_channel_prefix",
        "holders",
        "job_prefix",
        "limits",
        "meta",
        "namespace",
        "prefix",
        "quarantine",
        "queue",
        "ready",
        "retry",
        "running_prefix",
        "scheduled",
        "schedules",
        "slacks",
        "stats",
        "suspects",
        "timers",
        "vitals",
        "wake",
    )

    def __init__(self, namespace: str, queue: str) -> None:
        self.namespace = check_name(namespace, "namespace")
        self.queue = check_place(queue)
        self.prefix = prefix = f"{namespace}:{{{queue}}}:"
        self.job_prefix = prefix + "job:"
        self.ready = prefix + "ready"
        self.scheduled = prefix + "scheduled"
        self.retry = prefix + "retry"
        self.dead = prefix + "dead"
        self.done = prefix + "done"
        self.classes = prefix + "classes"
        self.holders = prefix + "holders"
        self.suspects = prefix + "suspects"
        self.vitals = prefix + "vitals"
        self.averages = prefix + "averages"
        self.slacks = prefix + "slacks"
        self.wake = prefix + "wake"
        self.limits = prefix + "limits"
        self.meta = prefix + "meta"
        self.stats = prefix + "stats"
        self.quarantine = prefix + "quarantine"
        self.schedules = prefix + "schedules"
        self.timers = prefix + "timers"
        self.running_prefix = prefix + "running:"
        self.alive_prefix = prefix + "alive:"
        self.cancels_prefix = prefix + "cancels:"
        self.done_channel_prefix = prefix + "ended:"

    def job(self, job_id: str) -> str:
        return self.job_prefix + job_id

    def ready_of(self, job_class: str) -> str:
        """The ready set of a capability class; '' is the common one."""
        return f"{self.ready}:{job_class}" if job_class else self.ready

    def wake_of(self, job_class: str) -> str:
        """The wake list of a capability class; '' is the common one."""
        return f"{self.wake}:{job_class}" if job_class else self.wake

    def running(self, worker: str) -> str:
        return self.running_prefix + worker

    def alive(self, worker: str) -> str:
        return self.alive_prefix + worker

    def cancels(self, worker: str) -> str:
        return self.cancels_prefix + worker

    def holding(self, limit: str) -> str:
        """Ids of the running jobs that hold a limit."""
        return f"{self.prefix}holding:{limit}"

    def parked(self, limit: str) -> str:
        """Ids of the jobs that wait for a limit."""
        return f"{self.prefix}parked:{limit}"

    def rate(self, limit: str) -> str:
        """When the rate of a limit is used up until, us."""
        return f"{self.prefix}rate:{limit}"

    def minute(self, minute: int) -> str:
        """Counters of one minute; `minute` is Unix time // 60."""
        return f"{self.stats}:{minute}"

    def cron_timer(self, schedule: str) -> str:
        """A schedule's name among the timers. No key."""
        return f"cron:{schedule}"

    def ended_channel(self, client: str) -> str:
        """Pub/sub channel on which one client hears of ended jobs."""
        return self.done_channel_prefix + client


def type_of_key(name: bytes) -> str | None:
    """The Redis type that a key of a queue must have, by its name without the prefix; None when
    taskq never writes such a key.
    """
    family, colon, rest = name.partition(b":")
    kind = TYPES.get((family + colon).decode("ascii", "replace"))
    if colon and (not rest or (family == b"stats" and not _MINUTE.fullmatch(name))):
        return None
    return kind


class SharedKeys:
    """The keys that belong to no single queue."""

    __slots__ = ("namespace", "queues", "worker_prefix", "workers")

    def __init__(self, namespace: str) -> None:
        self.namespace = check_name(namespace, "namespace")
        self.queues = f"{namespace}:queues"
        self.workers = f"{namespace}:workers"
        self.worker_prefix = f"{namespace}:worker:"

    def worker(self, worker: str) -> str:
        return self.worker_prefix + worker
