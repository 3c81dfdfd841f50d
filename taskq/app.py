"""`TaskQ`: the one object an application makes. Registers tasks, sends calls, gives handles.

Nothing connects before the first call. Where Redis is: the URL given, else TASKQ_REDIS_URL or
taskq.toml, else a local Redis, else the embedded server; decided at the first call, so that
importing a module of tasks is free of side effects.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, Unpack, cast

from taskq import embedded
from taskq.address import Address, is_embedded, resolve
from taskq.client import Client, Limits
from taskq.client_sync import SyncClient
from taskq.commands import CREATED, Confirm, NewJob, Sent, time_at
from taskq.handle import Job
from taskq.job import JobInfo
from taskq.keys import check_name, check_place
from taskq.looking import Looking
from taskq.options import NOTHING, Options, OptionWords, checked_for_call
from taskq.prepare import Preparing
from taskq.registry import find_task
from taskq.schedules import Schedules
from taskq.settings import Settings
from taskq.steering import Steering
from taskq.stores import open_store, open_sync_store
from taskq.task import Signature, Task
from taskq.url import Tls

log = logging.getLogger("taskq.enqueue")

R = TypeVar("R")


class TaskQ(Looking, Steering, Preparing):
    """A set of tasks and the door to their queues.

    `url`: `redis://`, `rediss://`, `unix://` or `host:port`; None leaves it to the settings. Other
    keyword arguments are settings (docs/settings.md), which win over environment and file.
    """

    def __init__(self, url: str | None = None, **settings: object) -> None:
        self._given = {**settings, "redis_url": url} if url is not None else dict(settings)
        if url is not None and not is_embedded(url):
            Address.parse(url)
        super().__init__()
        self.schedules = Schedules(self)
        """Look at schedules and change them while workers run."""
        self._lock = threading.RLock()
        self._settings: Settings | None = None
        self._address: Address | None = None
        self._client: Client | None = None
        self._sync_client: SyncClient | None = None

    # Settings and connections

    @property
    def settings(self) -> Settings:
        """The settings in force. Raises ConfigError, naming the place of a bad one."""
        found = self._settings
        if found is not None:
            return found
        with self._lock:
            if self._settings is None:
                self._settings = Settings.load(self._given)
            return self._settings

    def configure(self, settings: Settings) -> None:
        """Use these settings instead; for programs that load them themselves, before the first
        call.
        """
        with self._lock:
            self._settings = settings

    @property
    def address(self) -> Address:
        """Where Redis is. Found once; may start the embedded server."""
        with self._lock:
            if self._address is None:
                settings = self.settings
                found = resolve(
                    settings.redis_url,
                    production=settings.env == "production",
                    start_embedded=lambda: (
                        embedded.ensure(settings.embedded_dir, settings.redis_server).url
                    ),
                )
                self._address = with_tls(found.address, settings)
            return self._address

    @property
    def client(self) -> Client:
        """The async client; made at the first use. Serves one event loop at a time."""
        found = self._client
        if found is not None:
            return found
        with self._lock:
            if self._client is None:
                settings = self.settings
                store = open_store(
                    self.address,
                    connect_timeout=settings.connect_timeout,
                    socket_timeout=settings.socket_timeout,
                )
                limits = limits_of(settings, self.partitions)
                self._client = Client(store, self.codec, settings.namespace, limits)
            return self._client

    @property
    def sync_client(self) -> SyncClient:
        """The blocking client; made at the first use."""
        found = self._sync_client
        if found is not None:
            return found
        with self._lock:
            if self._sync_client is None:
                settings = self.settings
                store = open_sync_store(
                    self.address,
                    connect_timeout=settings.connect_timeout,
                    socket_timeout=settings.socket_timeout,
                )
                limits = limits_of(settings, self.partitions)
                self._sync_client = SyncClient(store, self.codec, settings.namespace, limits)
            return self._sync_client

    async def __aenter__(self) -> TaskQ:
        await asyncio.to_thread(lambda: self.address)
        await self.client.store.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let what is being sent arrive, then close the connections. The app may be used again."""
        if self._client is not None:
            await self._client.close()
        self.close_sync()

    def close_sync(self) -> None:
        """Close the blocking client's connections."""
        if self._sync_client is not None:
            self._sync_client.close()

    # Sending

    def named(self, name: str) -> Task[..., Any] | NamedTask:
        """A task by name: the registered one, or one whose code lives elsewhere."""
        return self.tasks.get(name) or NamedTask(self, check_name(name, "task name"))

    async def enqueue(self, task: str, *args: Any, **kwargs: Any) -> Job[Any]:
        """Ask for a task to be run, by name; options through `app.named(name).options(...)`.

        Raises UnknownTask when the app has tasks and none of that name; `app.named(name)` sends
        those of other programs.
        """
        return await self._by_name(task).enqueue(*args, **kwargs)

    def enqueue_sync(self, task: str, *args: Any, **kwargs: Any) -> Job[Any]:
        """As `enqueue`, blocking."""
        return self._by_name(task).enqueue_sync(*args, **kwargs)

    def _by_name(self, name: str) -> Task[..., Any] | NamedTask:
        if self.tasks:
            return find_task(self, name)
        return NamedTask(self, check_name(name, "task name"))

    async def send(self, call: Signature[R]) -> Job[R]:
        """Enqueue one call. Raises JobConflict, QueueFull, TaskStruck, DeadlineUnreachable,
        CodecError, StoreError; then nothing is enqueued.
        """
        queue, job = self.prepare(call)
        if self._address is None:
            await asyncio.to_thread(lambda: self.address)
        if self.limits.pending:
            await self.write_pending(queue)
        return self._handle(queue, job, call, await self.client.send(queue, job))

    def send_sync(self, call: Signature[R]) -> Job[R]:
        """As `send`, blocking."""
        queue, job = self.prepare(call)
        if self.limits.pending:
            self.write_pending_sync(queue)
        odd = self.sync_client.send_many(queue, [job])
        return self._handle(queue, job, call, odd.get(job.id, CREATED))

    def _handle(self, queue: str, job: NewJob, call: Signature[Any], sent: Sent) -> Job[Any]:
        if sent is CREATED:
            return Job(self, job.id, queue=queue, task=job.task, known=True)
        predicted = None
        if sent.start_ms is not None:
            predicted = time_at(sent.start_ms)
            deadline = job.deadline_ms(sent.now_ms)
            if deadline is not None and sent.start_ms > deadline:
                log.warning(
                    "job %s (%s) will start in about %.1f s, after its deadline in %.1f s",
                    job.id,
                    job.task,
                    max(0, sent.start_ms - sent.now_ms) / 1000,
                    (deadline - sent.now_ms) / 1000,
                )
        # An id of our own making is only known when a lost reply made us send it twice.
        duplicate = bool(sent.kept) or (sent.known and call.options.id is not None)
        return Job(
            self,
            sent.kept or job.id,
            queue=queue,
            task=job.task,
            duplicate=duplicate,
            known=True,
            predicted_start=predicted,
        )

    async def enqueue_many(self, calls: Iterable[Signature[R]]) -> list[Job[R]]:
        """Enqueue many calls in few round trips; handles in the same order.

        All are checked before the first is sent. Up to 200 calls of one queue (of one partition,
        where it has some) are enqueued all or none.
        """
        listed = list(calls)
        prepared = [self.prepare(call) for call in listed]
        if prepared and self._address is None:
            await asyncio.to_thread(lambda: self.address)
        groups = by_queue(prepared)
        for queue in groups if self.limits.pending else ():
            await self.write_pending(queue)
        odd = dict(zip(groups, await self.client.send_groups(groups), strict=True))
        return self._handles(listed, prepared, odd)

    def enqueue_many_sync(self, calls: Iterable[Signature[R]]) -> list[Job[R]]:
        """As `enqueue_many`, blocking."""
        listed = list(calls)
        prepared = [self.prepare(call) for call in listed]
        groups = by_queue(prepared)
        for queue in groups if self.limits.pending else ():
            self.write_pending_sync(queue)
        odd = {queue: self.sync_client.send_many(queue, jobs) for queue, jobs in groups.items()}
        return self._handles(listed, prepared, odd)

    def _handles(
        self,
        calls: Sequence[Signature[Any]],
        prepared: Sequence[tuple[str, NewJob]],
        odd: Mapping[str, Mapping[str, Sent]],
    ) -> list[Job[Any]]:
        return [
            self._handle(queue, job, call, odd[queue].get(job.id, CREATED))
            for call, (queue, job) in zip(calls, prepared, strict=True)
        ]

    # Asking

    def job(self, job_id: str, *, queue: str = "default") -> Job[Any]:
        """A handle for a job whose id you kept. Asks nothing yet. `queue` may be the queue's name
        or, as `Job.queue` has it, a partition's.
        """
        place = self._place(check_place(queue), check_name(job_id, "job id"))
        return Job(self, job_id, queue=place)

    async def result(self, job: Job[R], timeout: float | None = None) -> R:
        """A job's return value; see Job.result."""
        value = await self.client.result(job.queue, job.id, timeout, job.known)
        return cast(R, value)

    def result_sync(self, job: Job[R], timeout: float | None = None) -> R:
        """As `result`, blocking."""
        return cast(R, self.sync_client.result(job.queue, job.id, timeout, job.known))

    async def results(self, jobs: Iterable[Job[R]], timeout: float | None = None) -> list[R]:
        """The return values of many jobs, waited for together; the first error is raised."""
        waits = [asyncio.ensure_future(self.result(job, timeout)) for job in jobs]
        try:
            return list(await asyncio.gather(*waits))
        finally:
            for wait in waits:
                wait.cancel()

    async def infos(self, jobs: Iterable[Job[Any]]) -> list[JobInfo | None]:
        """What Redis knows of many jobs, asked together; None where the record has expired."""
        listed = list(jobs)
        groups: dict[str, list[str]] = {}
        for job in listed:
            groups.setdefault(job.queue, []).append(job.id)
        found: dict[tuple[str, str], JobInfo | None] = {}
        for queue, ids in groups.items():
            for start in range(0, len(ids), 1000):
                part = ids[start : start + 1000]
                infos = await self.client.infos(queue, part)
                found |= {(queue, job_id): info for job_id, info in zip(part, infos, strict=True)}
        return [found[job.queue, job.id] for job in listed]

    async def info(self, queue: str, job_id: str) -> JobInfo:
        """What Redis knows of a job. Raises JobNotFound."""
        return await self.client.info(queue, job_id)

    def info_sync(self, queue: str, job_id: str) -> JobInfo:
        """As `info`, blocking."""
        return self.sync_client.info(queue, job_id)

    async def cancel(self, queue: str, job_id: str) -> bool:
        """Stop a job; see Job.cancel."""
        return await self.client.cancel(queue, job_id)

    def cancel_sync(self, queue: str, job_id: str) -> bool:
        """As `cancel`, blocking."""
        return self.sync_client.cancel(queue, job_id)

    async def retry(self, queue: str, job_id: str) -> None:
        """Revive a job; see Job.retry."""
        await self.client.retry(queue, job_id)

    def retry_sync(self, queue: str, job_id: str) -> None:
        """As `retry`, blocking."""
        self.sync_client.retry(queue, job_id)


class NamedTask:
    """A task known by name only: arguments are checked by the worker that has its code."""

    def __init__(self, app: TaskQ, name: str, options: Options = NOTHING) -> None:
        self._app = app
        self.name = name
        self._options = options

    def options(self, **words: Unpack[OptionWords]) -> NamedTask:
        """This task with options for the calls that follow."""
        return NamedTask(self._app, self.name, self._options.merged(checked_for_call(words)))

    def s(self, *args: Any, **kwargs: Any) -> Signature[Any]:
        """A call, to be sent later."""
        return Signature(self.name, args, kwargs, options=self._options)

    async def enqueue(self, *args: Any, **kwargs: Any) -> Job[Any]:
        """Ask for this call to be run."""
        return await self._app.send(self.s(*args, **kwargs))

    def enqueue_sync(self, *args: Any, **kwargs: Any) -> Job[Any]:
        """As `enqueue`, blocking."""
        return self._app.send_sync(self.s(*args, **kwargs))


def by_queue(prepared: Iterable[tuple[str, NewJob]]) -> dict[str, list[NewJob]]:
    """Jobs grouped by queue, order kept."""
    groups: dict[str, list[NewJob]] = {}
    for queue, job in prepared:
        groups.setdefault(queue, []).append(job)
    return groups


def with_tls(address: Address, settings: Settings) -> Address:
    """The address with certificate files from the settings, where its URL names none; TLS only."""
    if not address.secure:
        return address
    tls = address.tls or Tls()
    return replace(
        address,
        tls=replace(
            tls,
            ca_file=tls.ca_file or settings.tls_ca,
            cert_file=tls.cert_file or settings.tls_cert,
            key_file=tls.key_file or settings.tls_key,
        ),
    )


def limits_of(settings: Settings, partitions: Mapping[str, int]) -> Limits:
    """What a client needs of the settings, and of the queues that have `partitions`."""
    return Limits(
        max_jobs=settings.max_jobs,
        max_payload=settings.max_payload,
        keep_ms=round(settings.result_ttl * 1000),
        confirm=Confirm(settings.replicas, settings.replica_timeout)
        if settings.durability == "replicated"
        else None,
        partitions=partitions,
        full_timeout=settings.full_timeout,
    )
