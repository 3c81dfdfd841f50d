"""What `taskq doctor` looks at: one small check after the other, each an ok, a warning or a failure
with its remedy.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection
from typing import Any, NamedTuple

from taskq import commands
from taskq.audit import Audit, audit_all
from taskq.cli.screen import size, span
from taskq.errors import StoreError, StoreRefused, StoreUnavailable
from taskq.inspect import Inspector
from taskq.partitioned import counts_served, left_apart
from taskq.rights import check_rights, writing
from taskq.served import advice, unserved
from taskq.settings import Settings
from taskq.store import Store
from taskq.views import QueueView, WorkerView

PINGS = 15
#: A median round trip above this slows every worker down, s.
SLOW = 0.02
#: Clocks may differ by so much before deadlines given as times go wrong, s.
SKEW = 2.0


class Check(NamedTuple):
    """One finding. `level`: ok, warn or fail; `remedy` '' when nothing is to be done."""

    name: str
    level: str
    text: str
    remedy: str = ""


async def diagnose(
    store: Store, settings: Settings, where: str, source: str, only: Collection[str] = ()
) -> list[Check]:
    """All checks but the audits; of these queues, or of all. Raises StoreError when the server
    cannot be used at all.
    """
    await store.connect()
    checks = [Check("reach", "ok", f"Redis answers at {where}")]
    servers = await store.each()
    for server in servers:
        found = await _server(server, settings)
        if len(servers) > 1:
            name = f"{server.address.host}:{server.address.port}"
            found = [check._replace(text=f"{name}: {check.text}") for check in found]
        checks += found
    if source == "embedded":
        remedy = "for production set TASKQ_REDIS_URL and TASKQ_ENV=production"
        checks.append(
            Check("embedded", "warn", "the embedded server is in use, fine for development", remedy)
        )
    checks.append(await _rights(store, settings.namespace, only))
    checks += await _queues(Inspector(store, settings.namespace), only)
    return checks


async def _rights(store: Store, namespace: str, only: Collection[str]) -> Check:
    """May this user run everything, on every queue?"""
    inspector = Inspector(store, namespace)
    names = only or await inspector.queue_names() or ["default"]
    for name in names:
        try:
            await check_rights(store, inspector.keys(name), *writing(store.scripts))
        except StoreRefused as error:
            remedy = "fine for looking; who acts as this user needs the rule"
            return Check("rights", "warn", str(error), remedy)
    return Check("rights", "ok", "this Redis user may run every script on every queue")


async def audits_of(store: Store, namespace: str, only: Collection[str] = ()) -> list[Audit]:
    """An audit of each of these queues, or of all."""
    inspector = Inspector(store, namespace)
    names = only or await inspector.queue_names()
    return [await audit_all(store, inspector.keys(name)) for name in names]


async def _server(store: Store, settings: Settings) -> list[Check]:
    """What one server says of itself."""
    checks = [await _latency(store)]
    info = await _info(store)
    checks += [_version(info), _policy(info), _persistence(info), _memory(info)]
    if settings.durability == "replicated":
        checks.append(_replicas(info, settings.replicas))
    checks.append(await _clock(store))
    checks.append(await _scripts(store))
    return checks


def _replicas(info: dict[str, str], wanted: int) -> Check:
    lines = [value for name, value in info.items() if name.startswith("slave") and "=" in value]
    online = sum("state=online" in line for line in lines)
    text = f"{online} replicas are online, durability=replicated wants {wanted}"
    if online < wanted:
        return Check("replicas", "fail", text, "no enqueue returns: start replicas")
    return Check("replicas", "ok", text)


async def _ask(store: Store, *words: str) -> Any:
    return await store.run(commands.plain(*words, parse=lambda reply: reply))


async def _latency(store: Store) -> Check:
    times = []
    for _ in range(PINGS):
        began = time.perf_counter()
        await _ask(store, "PING")
        times.append(time.perf_counter() - began)
    median = statistics.median(times)
    text = f"a round trip takes {median * 1000:.2f} ms"
    if median > SLOW:
        return Check(
            "latency", "warn", text, "run workers near the server, or find out what slows it down"
        )
    return Check("latency", "ok", text)


async def _info(store: Store) -> dict[str, str]:
    try:
        reply = await _ask(store, "INFO")
    except StoreUnavailable:
        raise
    except StoreError:
        return {}
    lines = reply.decode("utf-8", "replace").splitlines() if isinstance(reply, bytes) else []
    return dict(line.partition(":")[::2] for line in lines if ":" in line)


def _version(info: dict[str, str]) -> Check:
    if "valkey_version" in info:
        return Check("version", "ok", f"Valkey {info['valkey_version']}")
    if "redis_version" in info:
        return Check("version", "ok", f"Redis {info['redis_version']}")
    return Check("version", "warn", "INFO tells no version", "allow this user the INFO command")


def _policy(info: dict[str, str]) -> Check:
    policy = info.get("maxmemory_policy", "")
    if policy in ("", "noeviction"):
        return Check("eviction", "ok" if policy else "warn", policy or "unknown")
    remedy = "CONFIG SET maxmemory-policy noeviction, and in redis.conf"
    return Check("eviction", "fail", f"maxmemory-policy {policy} may drop jobs", remedy)


def _persistence(info: dict[str, str]) -> Check:
    if info.get("aof_enabled") == "1":
        if info.get("aof_last_write_status", "ok") != "ok":
            return Check(
                "persistence",
                "fail",
                "the last AOF write failed",
                "look at the server's disk and log",
            )
        return Check("persistence", "ok", "AOF is on")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return Check(
            "persistence", "fail", "the last snapshot failed", "look at the server's disk and log"
        )
    remedy = "CONFIG SET appendonly yes, and in redis.conf"
    return Check(
        "persistence", "warn", "AOF is off: a crash of the server loses recent jobs", remedy
    )


def _memory(info: dict[str, str]) -> Check:
    try:
        used, most = int(info["used_memory"]), int(info.get("maxmemory", "0"))
    except (KeyError, ValueError):
        return Check("memory", "warn", "unknown", "allow this user the INFO command")
    if not most:
        return Check("memory", "ok", f"{size(used)} used, no limit set")
    text = f"{size(used)} of {size(most)} used"
    if used > 0.95 * most:
        return Check(
            "memory",
            "fail",
            text,
            "enqueue will be refused: raise maxmemory, or purge what has ended",
        )
    if used > 0.8 * most:
        return Check("memory", "warn", text, "raise maxmemory, or run more workers")
    return Check("memory", "ok", text)


async def _clock(store: Store) -> Check:
    before = time.time()
    seconds, micros = await _ask(store, "TIME")
    skew = int(seconds) + int(micros) / 1e6 - (before + time.time()) / 2
    text = f"this machine's clock and the server's differ by {span(abs(skew))}"
    if abs(skew) > SKEW:
        return Check(
            "clock", "warn", text, "run NTP on both: times given as at= and deadline= are off by it"
        )
    return Check("clock", "ok", text)


async def _scripts(store: Store) -> Check:
    names = store.scripts.names()
    for name in names:
        try:
            await _ask(store, "SCRIPT", "LOAD", store.scripts.get(name).source)
        except StoreUnavailable:
            raise
        except StoreError as error:
            return Check(
                "scripts", "fail", f"{name} cannot be loaded: {error}", "allow this user @scripting"
            )
    return Check("scripts", "ok", f"all {len(names)} scripts load")


async def _views(
    inspector: Inspector, names: Collection[str]
) -> tuple[list[QueueView], list[Check]]:
    """The queues that can be looked at, and a check for each that cannot: the audit says why."""
    views, checks = [], []
    for name in names:
        try:
            views.append(await inspector.queue(name))
        except StoreUnavailable:
            raise
        except StoreError as error:
            remedy = f"see its audit, and `taskq doctor --repair -q {name}`"
            checks.append(Check("queue", "fail", f"{name}: {error}", remedy))
    return views, checks


async def _queues(inspector: Inspector, only: Collection[str]) -> list[Check]:
    queues, broken = await _views(inspector, only or await inspector.queue_names())
    workers = await inspector.workers()
    alive = sum(worker.alive for worker in workers)
    checks = [
        Check(
            "workers",
            "ok" if alive else "warn",
            f"{alive} alive",
            "" if alive else "run `taskq worker APP`",
        ),
        *broken,
    ]
    for worker in workers:
        if not worker.alive:
            text = f"{worker.id} on {worker.host} (pid {worker.pid}) has no heartbeat"
            checks.append(
                Check(
                    "worker", "warn", text, "see whether its process lives; its jobs are taken back"
                )
            )
        elif worker.loop_lag > 1:
            text = f"{worker.id}: its event loop was blocked for {span(worker.loop_lag)}"
            checks.append(
                Check("worker", "warn", text, "a coroutine task blocks: make it a plain function")
            )
    for view in queues:
        checks += _queue(view)
    for found in unserved(queues, workers):
        text = f"queue {found.queue}: {found.jobs} ready jobs cannot run"
        checks.append(Check("unserved", "fail", text, advice(found)))
    return checks + _partitions(queues, workers)


def _partitions(queues: list[QueueView], workers: list[WorkerView]) -> list[Check]:
    checks = []
    for apart in left_apart(queues, workers):
        text = f"{apart.partition}: {apart.jobs} jobs are in a partition that no worker serves"
        remedy = f"`taskq worker APP -q {apart.partition}` until it is empty, or serve more"
        checks.append(Check("partition", "fail", text, remedy))
    for queue, counts in sorted(counts_served(workers).items()):
        if len(counts) > 1:
            text = f"workers see {' or '.join(map(str, sorted(counts)))} partitions of {queue}"
            remedy = "finish the deploy: every program must say the same partitions="
            checks.append(Check("partition", "warn", text, remedy))
    return checks


def _queue(view: QueueView) -> list[Check]:
    checks = []
    for worker, (count, life) in sorted(view.holders.items()):
        if life != "alive" and count:
            text = f"queue {view.name}: {worker} is {life} and holds {count} jobs"
            checks.append(
                Check(
                    "holder",
                    "warn",
                    text,
                    "any worker on this queue takes them back within about 12 s",
                )
            )
    if view.paused_at is not None:
        checks.append(
            Check("queue", "warn", f"{view.name} is paused", f"`taskq queue resume {view.name}`")
        )
    if view.jobs["dead"]:
        text = f"{view.name} has {view.jobs['dead']} dead jobs"
        checks.append(
            Check("queue", "warn", text, f"`taskq job ls --state dead --queue {view.name}`")
        )
    if not checks:
        checks.append(
            Check(
                "queue",
                "ok",
                f"{view.name}: {view.jobs['ready']} ready, {view.jobs['running']} running",
            )
        )
    return checks
